# What is done in the Linux guest before any scenario: the host puts this file and the program `hand` into the guest and
# has it read by a shell.
chmod +x /run/hand
mkfifo /run/slots
exec /run/hand

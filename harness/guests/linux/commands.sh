# What is done in the Linux guest before any scenario: the host puts this file and the program `hand` into the guest and
# has it read by a shell.
chmod +x /run/hand
# The kernel says of whatever hangs that it does, in seconds.
for limit in kernel/watchdog_thresh=1 kernel/hung_task_timeout_secs=1; do
	echo "${limit#*=}" >"/proc/sys/${limit%=*}"
done 2>/dev/null
echo 3 2>/dev/null >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
mkfifo /run/slots
exec /run/hand

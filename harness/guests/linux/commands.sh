# What is done in the Linux guest before any scenario. The host puts this file and the program `hand` into the guest
# and has it read by a shell.

# settle: leaves nothing in memory that need not be restored.
settle() {
	local key free
	echo 3 >/proc/sys/vm/drop_caches
	while read -r key free _; do
		[ "$key" = MemFree: ] && dd if=/dev/zero of=/run/zeros bs=1M count=$((free / 1024 - 6)) 2>/dev/null
	done </proc/meminfo
	rm -f /run/zeros /run/hand
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	echo "<6>MISFIRE: done ok settle" >/dev/kmsg
}

case $1 in
settle) settle ;;
*)
	chmod +x /run/hand
	mkfifo /run/calls /run/slots
	exec /run/hand
	;;
esac

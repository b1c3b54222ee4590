# What the host tells the Linux guest to do, as functions. The host puts this file into the guest before
# any scenario, has a shell read it, and writes calls to the pipe that the shell reads. The functions
# answer with lines of the kernel's log, which can't be torn apart by what the kernel says at the same
# time. A program that is started takes milliseconds where instructions are emulated, so what a shell
# can do itself it does.

say() { echo "<6>MISFIRE: $*" >/dev/kmsg; }

# function_of DEV: sets `function` to the PCI function in the slot of device DEV.
function_of() {
	local path
	for path in "/sys/bus/pci/devices/0000:00:1$1.0"/0000:*; do
		if [ -e "$path/vendor" ]; then
			function=$path
			return 0
		fi
	done
	return 1
}

# virtio_of: sets `virtio` to the virtio device of `function`.
virtio_of() {
	for virtio in "$function"/virtio*; do
		[ -e "$virtio/features" ] && return 0
	done
	return 1
}

# refused: whether the kernel has said that a driver did not take `function`.
refused() {
	dmesg | grep -q "${function##*/}.*failed with error"
}

# start DEV QUEUES: waits until a driver has taken the device or refused it, and says which.
start() {
	local dev=$1 tries=0 vendor device mode used=0 queues=0 granted=0 line name message driver=none
	until function_of "$dev"; do usleep 2000; done
	# A write here waits for a probe that runs. Before it runs nothing shows that it will.
	until echo >"$function/driver_override" && [ -e "$function/driver" ]; do
		tries=$((tries + 1))
		if [ $tries -gt 60 ] || refused; then
			say "dev $dev failed status=0x1 no-driver"
			return 1
		fi
		usleep 5000
	done
	if ! virtio_of || [ ! -e "$virtio/driver" ]; then
		say "dev $dev failed status=0x2 probe-failed"
		return 1
	fi
	name=${virtio##*/}
	for message in "$function"/msi_irqs/*; do
		[ -e "$message" ] && granted=$((granted + 1))
	done
	mode=polled
	while read -r line; do
		case $line in
		*MSI*" $name-config") mode=msix used=$((used + 1)) ;;
		*MSI*" $name-virtqueues") mode=msix-shared used=$((used + 1)) queues=$2 ;;
		*MSI*" $name-"*) mode=msix used=$((used + 1)) queues=$((queues + 1)) ;;
		*IO-APIC*" $name" | *IO-APIC*" $name,"* | *IO-APIC*", $name"*) mode=intx ;;
		esac
	done </proc/interrupts
	case $mode in intx | polled) queues=$2 ;; esac
	[ "$queues" = "$2" ] || [ $used != 2 ] || [ $queues != 0 ] || mode=msix-shared
	for driver in /sys/bus/virtio/drivers/*/"$name"; do
		driver=${driver%/*}
	done
	read -r vendor <"$function/vendor"
	read -r device <"$function/device"
	[ -e "/run/config.$dev" ] || config "$dev" >"/run/config.$dev"
	say "dev $dev ${function##*/} ${vendor#0x}:${device#0x} ${driver##*/}"
	say "dev $dev started mode=$mode granted=$granted used=$used queues=$queues"
}

# disk_of DEV: sets `disk` and `sectors` to the block device of device DEV. A SCSI disk may still be on its
# way.
disk_of() {
	local path tries=0
	function_of "$1" || return 1
	while [ $tries -lt 400 ]; do
		for path in "$function"/virtio*/block/* "$function"/virtio*/host*/target*/*/block/*; do
			if [ -e "$path/size" ] && [ -b "/dev/${path##*/}" ]; then
				disk=/dev/${path##*/}
				read -r sectors <"$path/size"
				return 0
			fi
		done
		tries=$((tries + 1))
		usleep 5000
	done
	return 1
}

# config DEV: prints what a driver shows of a device's configuration.
config() {
	local file value
	function_of "$1" || return 0
	for file in "$function"/virtio*/block/*/size "$function"/virtio*/host*/target*/*/block/*/size \
		"$function"/virtio*/net/*/operstate; do
		[ -e "$file" ] && read -r value <"$file" && echo "$value"
	done
	return 0
}

# wait_config DEV: waits until a driver shows something else of a device's configuration than the last
# time, at first than when it had started.
wait_config() {
	local before now
	read -r before <"/run/config.$1"
	until config "$1" >/run/config.now && read -r now </run/config.now && [ "$now" != "$before" ]; do
		usleep 5000
	done
	echo "$now" >"/run/config.$1"
	say "done ok wait-config dev=$1 shows=$now"
}

# through FIRST BLOCKS SIZE COMMAND…: calls COMMAND with a byte offset, a number of requests and their size, as
# often as it takes until there were BLOCKS of them: behind the last sector it goes on at sector FIRST.
through() {
	local first=$1 left=$2 size=$3 fit now
	shift 3
	fit=$(((sectors - first) * 512 / size))
	[ $fit -gt 0 ] || return 1
	# No more than the pattern has.
	[ $((fit * size)) -le 2097152 ] || fit=$((2097152 / size))
	while [ "$left" -gt 0 ]; do
		now=$left
		[ "$now" -gt "$fit" ] && now=$fit
		"$@" $((first * 512)) "$now" "$size" || return 1
		left=$((left - now))
	done
}

read_blocks() { dd if="$disk" of=/run/read bs="$3" count="$2" skip="$1" iflag=direct,skip_bytes 2>/dev/null; }
write_blocks() { dd if=/run/pattern of="$disk" bs="$3" count="$2" seek="$1" oflag=direct,seek_bytes conv=notrunc 2>/dev/null; }
verify_blocks() { write_blocks "$@" && read_blocks "$@" && cmp -s -n $(($2 * $3)) /run/pattern /run/read; }
flush_blocks() {
	local i=0
	while [ $i -lt "$2" ]; do
		fsync "$disk" || return 1
		i=$((i + 1))
	done
}
discard_blocks() { blkdiscard -o "$1" -l $(($2 * $3)) "$disk" 2>/dev/null; }
mixed_blocks() { write_blocks "$@" && read_blocks "$@"; }

# load_disk KIND DEV BLOCKS SIZE FIRST: requests to a disk.
load_disk() {
	local result="failed load reason=io"
	if disk_of "$2" && through "$5" "$3" "$4" "$1_blocks"; then
		result="ok load"
	fi
	interrupts "$2"
	say "done $result op=$1 dev=$2 blocks=$3"
}

# interrupts DEV: what the kernel counted, for the log.
interrupts() {
	local line name
	function_of "$1" && virtio_of || return
	name=${virtio##*/}
	while read -r line; do
		case $line in
		*" $name-"* | *" $name" | *" $name,"*) echo "<7>interrupts: $line" >/dev/kmsg ;;
		esac
	done </proc/interrupts
}

# load_entropy DEV BYTES SIZE: reads from the generator of random numbers.
load_entropy() {
	if dd if=/dev/hwrng of=/run/read bs="$3" count=$((($2 + $3 - 1) / $3)) iflag=fullblock 2>/dev/null; then
		say "done ok load op=entropy dev=$1 bytes=$2"
	else
		say "done failed load reason=io op=entropy dev=$1"
	fi
	interrupts "$1"
}

# unbind DEV, bind DEV: takes the driver away and gives it back.
unbind() { function_of "$1" && echo "${function##*/}" >/sys/bus/pci/drivers/virtio-pci/unbind; }
bind() { function_of "$1" && echo "${function##*/}" >/sys/bus/pci/drivers/virtio-pci/bind; }

# device VERB DEV QUEUES: what a manager of devices does with one.
device() {
	local result="failed device reason=refused"
	case $1 in
	stop) unbind "$2" ;;
	start) bind "$2" && start "$2" "$3" ;;
	restart) unbind "$2" && bind "$2" && start "$2" "$3" ;;
	esac && result="ok device"
	say "done $result op=$1 dev=$2"
}

# leave DEVICES: takes the driver from each of so many devices, and ends the machine: it is not
# started again after a reset.
leave() {
	local dev=0
	while [ $dev -lt "$1" ]; do
		unbind $dev 2>/dev/null
		dev=$((dev + 1))
	done
	say "done ok exit"
	say "exit"
	echo b >/proc/sysrq-trigger
}

# settle: leaves nothing in memory that need not be restored.
settle() {
	local key free
	echo 3 >/proc/sys/vm/drop_caches
	while read -r key free _; do
		[ "$key" = MemFree: ] && dd if=/dev/zero of=/run/zeros bs=1M count=$((free / 1024 - 12)) 2>/dev/null
	done </proc/meminfo
	rm -f /run/zeros
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	say "done ok settle"
}

# Two megabytes in which no two sectors are the same.
seq 1000000 1262143 >/run/pattern
mkfifo /run/calls
# Both ends are held, so that it never ends and who writes never waits.
exec 4<>/run/calls
say "done ok commands"
while read -r call <&4; do
	eval "$call"
done

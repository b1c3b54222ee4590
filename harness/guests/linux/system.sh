# What is done before commands.sh in a system that was not made by us, on a disk of its own.

# Takes a module out of the kernel, after those that use it.
unload() {
	[ -e "/sys/module/$1/initstate" ] || return 0
	for user in "/sys/module/$1/holders/"*; do
		[ ! -e "$user" ] || unload "${user##*/}"
	done
	rmmod "$1"
}

# Says that a module of the user's own can't be had, which ends everything.
refused() {
	echo "<3>MISFIRE: error $1" >/dev/kmsg
}

# Puts a module of the user's own in the place of the system's. What it needs is there already, or the system's.
own() {
	module=$1
	shift
	for needed; do
		modprobe "$needed"
	done
	if [ -e "/sys/module/$module" ] && [ ! -e "/sys/module/$module/initstate" ]; then
		refused "$module is built into the kernel: no module can take its place"
		return
	fi
	why=$(unload "$module" 2>&1)
	if [ -e "/sys/module/$module" ]; then
		refused "the kernel keeps its own $module: $why"
		return
	fi
	why=$(insmod "/run/$module.ko" 2>&1) ||
		refused "the kernel refuses $module.ko: $why; $(dmesg | grep -v '^ ' | tail -n 2 | tr '\n' ';')"
	rm "/run/$module.ko"
}

{
	# The commands come on the console, and the answers in the kernel's log.
	! command -v systemctl || systemctl mask --runtime --now serial-getty@ttyS0.service
	echo N >/sys/module/printk/parameters/time
	echo on >/proc/sys/kernel/printk_devkmsg
	echo 8 >/proc/sys/kernel/printk
	mount -o remount,exec /run
	if [ -e /run/modules ]; then
		while read -r module needs; do
			# shellcheck disable=SC2086 # they are several
			own "$module" $needs </dev/null
		done </run/modules
	fi
	# A device is looked for when it comes, and not when somebody has found its driver.
	for module in virtio_pci virtio_blk virtio_net virtio_scsi sd_mod virtio_console virtio_rng pvpanic_pci; do
		modprobe $module
	done
} >/dev/null 2>&1

# What is done before commands.sh in a system that was not made by us, on a disk of its own.
{
	# The commands come on the console, and the answers in the kernel's log.
	! command -v systemctl || systemctl mask --runtime --now serial-getty@ttyS0.service
	echo N >/sys/module/printk/parameters/time
	echo on >/proc/sys/kernel/printk_devkmsg
	echo 8 >/proc/sys/kernel/printk
	mount -o remount,exec /run
	# A device is looked for when it comes, and not when somebody has found its driver.
	for module in virtio_pci virtio_blk virtio_net virtio_scsi sd_mod virtio_console virtio_rng pvpanic_pci; do
		modprobe $module
	done
} >/dev/null 2>&1

//! What a SCSI host offers: its features and its configuration.

use virtio_bindings::virtio_scsi as scsi;

use crate::shape::Shape;
use crate::spec::ScsiConfig;

/// The most segments of data that a driver may put into one command.
const MAX_SEGMENTS: u32 = 1022;
/// The most sectors that a driver should move at once: 4 MiB.
const MAX_SECTORS: u64 = super::disk::MAX_BLOCKS as u64;
/// The most commands that a driver may have under way on one unit.
const COMMANDS_PER_LUN: u16 = 128;

/// The bits of the SCSI host's own features.
pub fn features() -> impl Iterator<Item = u32> {
    [scsi::VIRTIO_SCSI_F_HOTPLUG, scsi::VIRTIO_SCSI_F_CHANGE].into_iter()
}

/// The value of a field.
pub fn value(field: ScsiConfig, shape: &Shape) -> u64 {
    match field {
        ScsiConfig::NumQueues => shape.queues.saturating_sub(2).into(),
        // A request and its response take one descriptor each.
        ScsiConfig::SegMax => {
            u64::from(shape.queue_size.smallest().saturating_sub(2).max(1)).min(MAX_SEGMENTS.into())
        }
        ScsiConfig::MaxSectors => MAX_SECTORS,
        ScsiConfig::CmdPerLun => shape.queue_size.smallest().min(COMMANDS_PER_LUN).into(),
        ScsiConfig::EventInfoSize => super::event::EVENT_BYTES as u64,
        ScsiConfig::SenseSize | ScsiConfig::CdbSize => field.reset(),
        // One target.
        ScsiConfig::MaxChannel | ScsiConfig::MaxTarget => 0,
        ScsiConfig::MaxLun => u64::from(shape.units.saturating_sub(1)),
    }
}

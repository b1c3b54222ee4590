//! What a block device offers: its features and its configuration.

use virtio_bindings::virtio_blk as blk;

use crate::shape::Shape;
use crate::spec::{BlkConfig, SECTOR_BYTES};

/// The most data segments that a driver may put into one request.
const MAX_SEGMENTS: u32 = 1022;
/// The most ranges in one discard or write-zeroes request.
pub(super) const MAX_RANGES: u32 = 8;
/// The most sectors in one of these ranges: 16 MiB.
pub(super) const MAX_RANGE_SECTORS: u32 = 1 << 15;

const HEADS: u8 = 16;
const SECTORS_A_TRACK: u8 = 63;

/// The bits of the block device's own features.
pub fn features(shape: &Shape) -> impl Iterator<Item = u32> {
    let many = (shape.queues > 1).then_some(blk::VIRTIO_BLK_F_MQ);
    [
        blk::VIRTIO_BLK_F_SEG_MAX,
        blk::VIRTIO_BLK_F_GEOMETRY,
        blk::VIRTIO_BLK_F_BLK_SIZE,
        blk::VIRTIO_BLK_F_FLUSH,
        blk::VIRTIO_BLK_F_TOPOLOGY,
        blk::VIRTIO_BLK_F_DISCARD,
        blk::VIRTIO_BLK_F_WRITE_ZEROES,
    ]
    .into_iter()
    .chain(many)
}

/// The value of a field, for a disk of `sectors` sectors of 512 bytes.
pub fn value(field: BlkConfig, shape: &Shape, sectors: u64) -> u64 {
    let track = u64::from(HEADS) * u64::from(SECTORS_A_TRACK);
    match field {
        BlkConfig::Capacity => sectors,
        BlkConfig::SegMax => u64::from(shape.queue_size.smallest().saturating_sub(2).max(1))
            .min(u64::from(MAX_SEGMENTS)),
        BlkConfig::GeometryCylinders => (sectors / track).clamp(1, u64::from(u16::MAX)),
        BlkConfig::GeometryHeads => u64::from(HEADS),
        BlkConfig::GeometrySectors => u64::from(SECTORS_A_TRACK),
        BlkConfig::BlkSize => SECTOR_BYTES,
        BlkConfig::MinIoSize => 1,
        BlkConfig::NumQueues => u64::from(shape.queues),
        BlkConfig::MaxDiscardSectors | BlkConfig::MaxWriteZeroesSectors => {
            u64::from(MAX_RANGE_SECTORS)
        }
        BlkConfig::MaxDiscardSeg | BlkConfig::MaxWriteZeroesSeg => u64::from(MAX_RANGES),
        BlkConfig::DiscardSectorAlignment | BlkConfig::WriteZeroesMayUnmap => 1,
        BlkConfig::SizeMax
        | BlkConfig::PhysicalBlockExp
        | BlkConfig::AlignmentOffset
        | BlkConfig::OptIoSize
        | BlkConfig::Writeback => 0,
    }
}

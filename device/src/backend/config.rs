//! What a block device offers: its features and its configuration.

use virtio_bindings::{virtio_blk as blk, virtio_config as common, virtio_ring as vring};

use crate::shape::Shape;
use crate::spec::{BlkConfig, SECTOR_BYTES, feature_bit};

/// Size of the block device's configuration in bytes.
pub const CONFIG_BYTES: usize = BlkConfig::SIZE as usize;

/// The most data segments that a driver may put into one request.
const MAX_SEGMENTS: u32 = 1022;
/// The most ranges in one discard or write-zeroes request.
pub(super) const MAX_RANGES: u32 = 8;
/// The most sectors in one of these ranges: 16 MiB.
pub(super) const MAX_RANGE_SECTORS: u32 = 1 << 15;

const HEADS: u8 = 16;
const SECTORS_A_TRACK: u8 = 63;

/// The virtio features that a block device of this shape offers.
pub fn device_features(shape: &Shape) -> u64 {
    let offered = [
        vring::VIRTIO_RING_F_INDIRECT_DESC,
        vring::VIRTIO_RING_F_EVENT_IDX,
        common::VIRTIO_F_VERSION_1,
        blk::VIRTIO_BLK_F_SEG_MAX,
        blk::VIRTIO_BLK_F_GEOMETRY,
        blk::VIRTIO_BLK_F_BLK_SIZE,
        blk::VIRTIO_BLK_F_FLUSH,
        blk::VIRTIO_BLK_F_TOPOLOGY,
        blk::VIRTIO_BLK_F_DISCARD,
        blk::VIRTIO_BLK_F_WRITE_ZEROES,
    ];
    let in_order = common::VIRTIO_F_IN_ORDER;
    let asked = shape.asks_for(in_order as u8).then_some(in_order);
    let many = (shape.queues > 1).then_some(blk::VIRTIO_BLK_F_MQ);
    let withheld = shape
        .without
        .iter()
        .filter_map(|name| feature_bit(name).or_else(|| name.parse().ok()))
        .filter(|bit| *bit < 64)
        .fold(0, |bits, bit| bits | 1 << bit);
    offered
        .into_iter()
        .chain(many)
        .chain(asked)
        .fold(0, |bits, bit| bits | 1 << bit)
        & !withheld
}

/// The bytes of `struct virtio_blk_config` (5.2.4). Fields without their feature are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration([u8; CONFIG_BYTES]);

impl Configuration {
    /// The configuration of a disk of `sectors` sectors of 512 bytes.
    pub fn new(shape: &Shape, sectors: u64) -> Self {
        let features = device_features(shape);
        let mut configuration = Self([0; CONFIG_BYTES]);
        for field in BlkConfig::ALL {
            if field.gate().is_none_or(|bit| features >> bit & 1 == 1) {
                configuration.put(*field, value(*field, shape, sectors));
            }
        }
        configuration
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8; CONFIG_BYTES] {
        &self.0
    }

    /// Size of the disk in sectors of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.get(BlkConfig::Capacity)
    }

    /// The value of one field.
    pub fn get(&self, field: BlkConfig) -> u64 {
        let at = field.offset() as usize;
        let mut value = [0; 8];
        let width = usize::from(field.width());
        value[..width].copy_from_slice(&self.0[at..at + width]);
        u64::from_le_bytes(value)
    }

    /// Changes one field, as far as its width goes.
    pub fn put(&mut self, field: BlkConfig, value: u64) {
        let at = field.offset() as usize;
        let width = usize::from(field.width());
        self.0[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }

    /// Changes the bytes from `offset` on; what lies beyond the end is dropped.
    pub fn overwrite(&mut self, offset: u16, bytes: &[u8]) {
        let from = usize::from(offset).min(CONFIG_BYTES);
        let length = bytes.len().min(CONFIG_BYTES - from);
        self.0[from..from + length].copy_from_slice(&bytes[..length]);
    }

    /// `size` bytes from `offset` on; there are zeros beyond the end.
    pub fn window(&self, offset: u32, size: u32) -> Vec<u8> {
        (u64::from(offset)..u64::from(offset) + u64::from(size.min(CONFIG_WINDOW)))
            .map(|at| {
                usize::try_from(at)
                    .ok()
                    .and_then(|at| self.0.get(at).copied())
                    .unwrap_or(0)
            })
            .collect()
    }
}

/// The largest part of configuration space that is handed out at once, in bytes.
const CONFIG_WINDOW: u32 = 0x1000;

fn value(field: BlkConfig, shape: &Shape, sectors: u64) -> u64 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Kind;

    #[test]
    fn the_capacity_is_the_first_field() {
        let configuration = Configuration::new(&Shape::new(Kind::Block), 0x1234);
        assert_eq!(configuration.bytes()[..8], [0x34, 0x12, 0, 0, 0, 0, 0, 0]);
        assert_eq!(configuration.sectors(), 0x1234);
    }

    #[test]
    fn a_field_without_its_feature_is_zero() {
        let mut shape = Shape::new(Kind::Block);
        assert_eq!(Configuration::new(&shape, 1).get(BlkConfig::NumQueues), 0);
        shape.queues = 4;
        assert_eq!(Configuration::new(&shape, 1).get(BlkConfig::NumQueues), 4);
        shape.without = vec!["MQ".into(), "DISCARD".into()];
        let configuration = Configuration::new(&shape, 1);
        assert_eq!(configuration.get(BlkConfig::NumQueues), 0);
        assert_eq!(configuration.get(BlkConfig::MaxDiscardSeg), 0);
        assert_ne!(configuration.get(BlkConfig::MaxWriteZeroesSeg), 0);
    }

    #[test]
    fn a_withheld_feature_is_not_offered_by_name_or_by_number() {
        let mut shape = Shape::new(Kind::Block);
        let all = device_features(&shape);
        shape.without = vec!["EVENT_IDX".into(), "28".into(), "127".into()];
        assert_eq!(all & !device_features(&shape), 1 << 29 | 1 << 28);
    }

    #[test]
    fn any_window_can_be_read_and_any_bytes_written() {
        let mut configuration = Configuration::new(&Shape::new(Kind::Block), 1);
        assert_eq!(configuration.window(0x38, 8), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(configuration.window(u32::MAX, 4), [0; 4]);
        assert_eq!(configuration.window(0, u32::MAX).len(), 0x1000);
        configuration.overwrite(0x3b, &[9; 40]);
        configuration.overwrite(u16::MAX, &[9; 40]);
        assert_eq!(configuration.bytes()[0x3a..], [0, 9]);
    }
}

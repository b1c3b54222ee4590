//! The block device's configuration.

use super::registers;

/// Size in bytes of the unit in which capacity and request addresses are counted (5.2.4).
pub const SECTOR_BYTES: u64 = 512;

registers! {
    /// `struct virtio_blk_config` (5.2.4), as far as `max_write_zeroes_seg` and its flag.
    pub enum BlkConfig, size 0x3c {
        0x00: u64 ro device => Capacity "capacity",
        0x08: u32 ro device => SizeMax "size_max",
        0x0c: u32 ro device => SegMax "seg_max",
        0x10: u16 ro device => GeometryCylinders "geometry.cylinders",
        0x12: u8  ro device => GeometryHeads "geometry.heads",
        0x13: u8  ro device => GeometrySectors "geometry.sectors",
        0x14: u32 ro device => BlkSize "blk_size",
        0x18: u8  ro device => PhysicalBlockExp "topology.physical_block_exp",
        0x19: u8  ro device => AlignmentOffset "topology.alignment_offset",
        0x1a: u16 ro device => MinIoSize "topology.min_io_size",
        0x1c: u32 ro device => OptIoSize "topology.opt_io_size",
        0x20: u8  rw device => Writeback "writeback",
        0x22: u16 ro device => NumQueues "num_queues",
        0x24: u32 ro device => MaxDiscardSectors "max_discard_sectors",
        0x28: u32 ro device => MaxDiscardSeg "max_discard_seg",
        0x2c: u32 ro device => DiscardSectorAlignment "discard_sector_alignment",
        0x30: u32 ro device => MaxWriteZeroesSectors "max_write_zeroes_sectors",
        0x34: u32 ro device => MaxWriteZeroesSeg "max_write_zeroes_seg",
        0x38: u8  ro device => WriteZeroesMayUnmap "write_zeroes_may_unmap",
    }
}

impl BlkConfig {
    /// The feature that is needed for the field to exist (5.2.4).
    pub const fn gates(self) -> &'static [u8] {
        match self {
            Self::Capacity => &[],
            Self::SizeMax => &[1],
            Self::SegMax => &[2],
            Self::GeometryCylinders | Self::GeometryHeads | Self::GeometrySectors => &[4],
            Self::BlkSize => &[6],
            Self::PhysicalBlockExp | Self::AlignmentOffset | Self::MinIoSize | Self::OptIoSize => {
                &[10]
            }
            Self::Writeback => &[11],
            Self::NumQueues => &[12],
            Self::MaxDiscardSectors | Self::MaxDiscardSeg | Self::DiscardSectorAlignment => &[13],
            Self::MaxWriteZeroesSectors | Self::MaxWriteZeroesSeg | Self::WriteZeroesMayUnmap => {
                &[14]
            }
        }
    }
}

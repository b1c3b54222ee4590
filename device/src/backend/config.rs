//! What a device offers: its features and its configuration.

use virtio_bindings::{virtio_config as common, virtio_ring as vring};

use super::{block, console, net, scsi};
use crate::shape::{Kind, Shape};
use crate::spec::{
    BlkConfig, ConfigField, ConsoleConfig, DeviceType, NetConfig, Rights, ScsiConfig,
};

/// Size of the largest configuration of a device, in bytes.
pub const CONFIG_BYTES: usize = 0x3c;

const _: () = assert!(
    DeviceType::BLOCK.config_bytes as usize <= CONFIG_BYTES
        && DeviceType::NET.config_bytes as usize <= CONFIG_BYTES
        && DeviceType::CONSOLE.config_bytes as usize <= CONFIG_BYTES
        && DeviceType::SCSI.config_bytes as usize <= CONFIG_BYTES
);

/// The virtio features that a device of this shape offers.
pub fn device_features(shape: &Shape) -> u64 {
    let all = |bits: &mut dyn Iterator<Item = u32>| bits.fold(0, |bits, bit| bits | 1 << bit);
    let common = [
        vring::VIRTIO_RING_F_INDIRECT_DESC,
        vring::VIRTIO_RING_F_EVENT_IDX,
        common::VIRTIO_F_VERSION_1,
    ];
    let asked = [common::VIRTIO_F_IN_ORDER, common::VIRTIO_F_RING_PACKED]
        .into_iter()
        .filter(|bit| shape.asks_for(*bit as u8));
    let own = match shape.kind {
        Kind::Block => all(&mut block::features(shape)),
        Kind::Net => all(&mut net::features(shape)),
        Kind::Console => all(&mut console::features(shape)),
        Kind::Scsi => all(&mut scsi::features()),
        Kind::Rng | Kind::PortCard => 0,
    };
    let mut offered =
        (all(&mut common.into_iter().chain(asked)) | own) & !(shape.withheld() as u64);
    // What stands on a feature that is withheld is not offered either (2.2.1).
    for feature in shape.kind.device_type().iter().flat_map(|d| d.features()) {
        let has = |bit: &u8| offered >> bit & 1 == 1;
        if !feature.requires.iter().all(has)
            || !feature.one_of.is_empty() && !feature.one_of.iter().any(has)
        {
            offered &= !1u64.checked_shl(feature.bit.into()).unwrap_or(0);
        }
    }
    offered
}

/// The bytes of a device's configuration. Fields without their feature are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    bytes: [u8; CONFIG_BYTES],
    length: usize,
}

impl Configuration {
    /// The configuration of a device of this shape, with a disk of `sectors` sectors of 512 bytes.
    pub fn new(shape: &Shape, sectors: u64) -> Self {
        let features = device_features(shape).into();
        let mut configuration = Self {
            bytes: [0; CONFIG_BYTES],
            length: shape.kind.config_bytes() as usize,
        };
        let mut fill = |field: ConfigField, value: u64| {
            if field.exists(features) {
                configuration.put(field, value);
            }
        };
        match shape.kind {
            Kind::Block => {
                for field in BlkConfig::ALL {
                    fill(field.field(), block::value(*field, shape, sectors));
                }
            }
            Kind::Net => {
                for field in NetConfig::ALL {
                    fill(field.field(), net::value(*field, shape));
                }
            }
            Kind::Console => {
                for field in ConsoleConfig::ALL {
                    fill(field.field(), console::value(*field, shape));
                }
            }
            Kind::Scsi => {
                for field in ScsiConfig::ALL {
                    fill(field.field(), scsi::value(*field, shape));
                }
            }
            Kind::Rng | Kind::PortCard => {}
        }
        configuration
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Size of a block device's disk in sectors.
    pub fn sectors(&self) -> u64 {
        self.get(BlkConfig::Capacity)
    }

    /// The value of one field.
    pub fn get(&self, field: impl Into<ConfigField>) -> u64 {
        let field = field.into();
        let at = usize::from(field.offset);
        let mut value = [0; 8];
        let width = usize::from(field.width);
        value[..width].copy_from_slice(&self.bytes[at..at + width]);
        u64::from_le_bytes(value)
    }

    /// Changes one field, as far as its width goes.
    pub fn put(&mut self, field: impl Into<ConfigField>, value: u64) {
        let field = field.into();
        let at = usize::from(field.offset);
        let width = usize::from(field.width);
        self.bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }

    /// Changes the bytes from `offset` on; what lies beyond the end is dropped.
    pub fn overwrite(&mut self, offset: u16, bytes: &[u8]) {
        let from = usize::from(offset).min(self.length);
        let length = bytes.len().min(self.length - from);
        self.bytes[from..from + length].copy_from_slice(&bytes[..length]);
    }

    /// The bytes in which `other` differs, from the first to the last, and their offset.
    pub fn change(&self, other: &Self) -> Option<(u16, Vec<u8>)> {
        let differs = |at: &usize| self.bytes.get(*at) != other.bytes.get(*at);
        let first = (0..self.length).find(differs)?;
        let last = (0..self.length).rfind(differs)?;
        Some((first as u16, other.bytes[first..=last].to_vec()))
    }

    /// Changes those of the bytes from `offset` on that the driver may write and read back.
    pub fn write(&mut self, device: &DeviceType, offset: u32, bytes: &[u8]) {
        for (at, byte) in (u64::from(offset)..).zip(bytes).take(self.length) {
            let field = u16::try_from(at).ok().and_then(|at| device.config_at(at));
            if field.is_some_and(|f| f.rights == Rights::rw) {
                self.overwrite(at as u16, &[*byte]);
            }
        }
    }

    /// `size` bytes from `offset` on; there are zeros beyond the end.
    pub fn window(&self, offset: u32, size: u32) -> Vec<u8> {
        (u64::from(offset)..u64::from(offset) + u64::from(size.min(CONFIG_WINDOW)))
            .map(|at| {
                usize::try_from(at)
                    .ok()
                    .and_then(|at| self.bytes().get(at).copied())
                    .unwrap_or(0)
            })
            .collect()
    }
}

/// The largest part of configuration space that is handed out at once, in bytes.
const CONFIG_WINDOW: u32 = 0x1000;

#[cfg(test)]
mod tests {
    use super::*;

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

//! What the specification says of each type of virtio device.

use virtio_bindings::virtio_ids;

use super::{BlkConfig, ConfigField, ConsoleConfig, Feature, NetConfig, ScsiConfig};

/// A type of virtio device (5).
#[derive(Debug)]
pub struct DeviceType {
    /// Its device ID.
    pub id: u16,
    /// The PCI device id of a transitional device (4.1.2.1).
    pub transitional: u16,
    /// The section that describes it.
    pub section: &'static str,
    /// The name of its configuration structure.
    pub structure: &'static str,
    /// PCI class and sub-class (PCI Code and ID Assignment 1.11, 1), as `class_code` holds them.
    pub class: u16,
    /// Its features, beside those of every device.
    pub features: &'static [Feature],
    /// Bits that only legacy drivers, or a later version, give a meaning.
    pub also_defined: &'static [u8],
    /// The fields of its configuration, in order of offset.
    pub config: &'static [ConfigField],
    /// Size of its configuration in bytes; 0: it has none.
    pub config_bytes: u16,
}

impl DeviceType {
    /// The network device.
    pub const NET: Self = Self {
        id: virtio_ids::VIRTIO_ID_NET as u16,
        transitional: 0x1000,
        section: "5.1",
        structure: "virtio_net_config",
        class: 0x0200,
        features: Feature::NET,
        also_defined: &[6, 41, 42, 50],
        config: NetConfig::FIELDS,
        config_bytes: NetConfig::SIZE as u16,
    };

    /// The block device.
    pub const BLOCK: Self = Self {
        id: virtio_ids::VIRTIO_ID_BLOCK as u16,
        transitional: 0x1001,
        section: "5.2",
        structure: "virtio_blk_config",
        class: 0x0180,
        features: Feature::BLOCK,
        also_defined: &[0, 7, 15, 16, 17],
        config: BlkConfig::FIELDS,
        config_bytes: BlkConfig::SIZE as u16,
    };

    /// The console.
    pub const CONSOLE: Self = Self {
        id: virtio_ids::VIRTIO_ID_CONSOLE as u16,
        transitional: 0x1003,
        section: "5.3",
        structure: "virtio_console_config",
        class: 0x0780,
        features: Feature::CONSOLE,
        also_defined: &[],
        config: ConsoleConfig::FIELDS,
        config_bytes: ConsoleConfig::SIZE as u16,
    };

    /// The entropy device.
    pub const ENTROPY: Self = Self {
        id: virtio_ids::VIRTIO_ID_RNG as u16,
        transitional: 0x1005,
        section: "5.4",
        structure: "device configuration",
        class: 0x00ff,
        features: &[],
        also_defined: &[],
        config: &[],
        config_bytes: 0,
    };

    /// The SCSI host.
    pub const SCSI: Self = Self {
        id: virtio_ids::VIRTIO_ID_SCSI as u16,
        transitional: 0x1004,
        section: "5.6",
        structure: "virtio_scsi_config",
        class: 0x0100,
        features: Feature::SCSI,
        also_defined: &[],
        config: ScsiConfig::FIELDS,
        config_bytes: ScsiConfig::SIZE as u16,
    };

    /// Every feature that has a meaning for the device.
    pub fn features(&self) -> impl Iterator<Item = &'static Feature> {
        Feature::COMMON.iter().chain(self.features)
    }

    /// The name of feature `bit`.
    pub fn feature_name(&self, bit: u8) -> Option<&'static str> {
        self.features().find(|f| f.bit == bit).map(|f| f.name)
    }

    /// The bit of the feature called `name`.
    pub fn feature_bit(&self, name: &str) -> Option<u8> {
        self.features().find(|f| f.name == name).map(|f| f.bit)
    }

    /// The configuration field that contains the byte at `offset`.
    pub fn config_at(&self, offset: u16) -> Option<&'static ConfigField> {
        self.config
            .iter()
            .find(|f| (f.offset..f.offset + u16::from(f.width)).contains(&offset))
    }

    /// The configuration field of that name.
    pub fn config_named(&self, name: &str) -> Option<&'static ConfigField> {
        self.config.iter().find(|f| f.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&DeviceType; 5] = [
        &DeviceType::NET,
        &DeviceType::BLOCK,
        &DeviceType::CONSOLE,
        &DeviceType::ENTROPY,
        &DeviceType::SCSI,
    ];

    #[test]
    fn no_two_features_of_a_device_share_a_bit_or_a_name() {
        for device in ALL {
            for (n, one) in device.features().enumerate() {
                for other in device.features().skip(n + 1) {
                    assert_ne!(one.bit, other.bit, "{} {}", one.name, other.name);
                    assert_ne!(one.name, other.name);
                }
            }
        }
    }

    #[test]
    fn what_a_feature_or_field_stands_on_is_a_feature_of_the_device() {
        for device in ALL {
            let known = |bit: &u8| device.feature_name(*bit).is_some();
            for feature in device.features() {
                assert!(feature.requires.iter().all(known), "{}", feature.name);
                assert!(feature.one_of.iter().all(known), "{}", feature.name);
            }
            for field in device.config {
                assert!(field.gates.iter().all(known), "{}", field.name);
            }
        }
    }

    #[test]
    fn a_field_is_found_by_each_of_its_bytes_and_by_its_name() {
        for device in ALL {
            for field in device.config {
                for byte in 0..u16::from(field.width) {
                    assert_eq!(device.config_at(field.offset + byte), Some(field));
                }
                assert_eq!(device.config_named(field.name), Some(field));
            }
        }
    }
}

//! Feature bits.

use virtio_bindings::{virtio_blk, virtio_config, virtio_ring};

/// A feature bit with its name and what it stands on.
pub struct Feature {
    /// Bit number, 0 to 127.
    pub bit: u8,
    /// The specification's name, without the prefix of the device type.
    pub name: &'static str,
    /// The features it requires.
    pub requires: &'static [u8],
}

const fn feature(bit: u32, name: &'static str, requires: &'static [u8]) -> Feature {
    Feature {
        bit: bit as u8,
        name,
        requires,
    }
}

impl Feature {
    /// The device-independent features (chapter 6).
    pub const COMMON: &'static [Feature] = &[
        feature(
            virtio_ring::VIRTIO_RING_F_INDIRECT_DESC,
            "INDIRECT_DESC",
            &[],
        ),
        feature(virtio_ring::VIRTIO_RING_F_EVENT_IDX, "EVENT_IDX", &[]),
        feature(virtio_config::VIRTIO_F_VERSION_1, "VERSION_1", &[]),
        feature(
            virtio_config::VIRTIO_F_ACCESS_PLATFORM,
            "ACCESS_PLATFORM",
            &[],
        ),
        feature(virtio_config::VIRTIO_F_RING_PACKED, "RING_PACKED", &[]),
        feature(virtio_config::VIRTIO_F_IN_ORDER, "IN_ORDER", &[]),
        feature(
            virtio_config::VIRTIO_F_ORDER_PLATFORM,
            "ORDER_PLATFORM",
            &[],
        ),
        feature(virtio_config::VIRTIO_F_SR_IOV, "SR_IOV", &[]),
        feature(
            virtio_config::VIRTIO_F_NOTIFICATION_DATA,
            "NOTIFICATION_DATA",
            &[],
        ),
        feature(
            virtio_config::VIRTIO_F_NOTIF_CONFIG_DATA,
            "NOTIF_CONFIG_DATA",
            &[],
        ),
        feature(virtio_config::VIRTIO_F_RING_RESET, "RING_RESET", &[]),
        feature(virtio_config::VIRTIO_F_ADMIN_VQ, "ADMIN_VQ", &[]),
    ];

    /// The features that the transport gives a device, whatever the device is: 6 names them, 4.1
    /// tells what they do to the registers of a PCI function.
    pub const OF_FUNCTION: &'static [u8] = &[
        virtio_config::VIRTIO_F_NOTIFICATION_DATA as u8,
        virtio_config::VIRTIO_F_NOTIF_CONFIG_DATA as u8,
        virtio_config::VIRTIO_F_RING_RESET as u8,
    ];

    /// The features of the block device (5.2.3).
    pub const BLOCK: &'static [Feature] = &[
        feature(virtio_blk::VIRTIO_BLK_F_SIZE_MAX, "SIZE_MAX", &[]),
        feature(virtio_blk::VIRTIO_BLK_F_SEG_MAX, "SEG_MAX", &[]),
        feature(virtio_blk::VIRTIO_BLK_F_GEOMETRY, "GEOMETRY", &[]),
        feature(virtio_blk::VIRTIO_BLK_F_RO, "RO", &[]),
        feature(virtio_blk::VIRTIO_BLK_F_BLK_SIZE, "BLK_SIZE", &[]),
        feature(virtio_blk::VIRTIO_BLK_F_FLUSH, "FLUSH", &[]),
        feature(virtio_blk::VIRTIO_BLK_F_TOPOLOGY, "TOPOLOGY", &[]),
        feature(virtio_blk::VIRTIO_BLK_F_CONFIG_WCE, "CONFIG_WCE", &[]),
        feature(virtio_blk::VIRTIO_BLK_F_MQ, "MQ", &[]),
        feature(virtio_blk::VIRTIO_BLK_F_DISCARD, "DISCARD", &[]),
        feature(virtio_blk::VIRTIO_BLK_F_WRITE_ZEROES, "WRITE_ZEROES", &[]),
    ];
}

/// The name of feature `bit` of a block device, or of any device.
pub fn feature_name(bit: u8) -> Option<&'static str> {
    Feature::COMMON
        .iter()
        .chain(Feature::BLOCK)
        .find(|f| f.bit == bit)
        .map(|f| f.name)
}

/// The bit of the feature called `name`.
pub fn feature_bit(name: &str) -> Option<u8> {
    Feature::COMMON
        .iter()
        .chain(Feature::BLOCK)
        .find(|f| f.name == name)
        .map(|f| f.bit)
}

/// Whether a device that offers `offered` lets a driver set FEATURES_OK with `accepted`: a subset,
/// and VERSION_1 among it (2.2.2, 6.1).
pub const fn features_ok(offered: u128, accepted: u128) -> bool {
    let version_1 = 1 << virtio_config::VIRTIO_F_VERSION_1;
    accepted & !offered == 0 && (offered & version_1 == 0 || accepted & version_1 != 0)
}

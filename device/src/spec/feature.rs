//! Feature bits.

use virtio_bindings::{virtio_blk, virtio_config, virtio_net, virtio_ring, virtio_scsi};

/// A feature bit with its name and what it stands on.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Bit number, 0 to 127.
    pub bit: u8,
    /// The specification's name, without the prefix of the device type.
    pub name: &'static str,
    /// The features it requires.
    pub requires: &'static [u8],
    /// The features of which it requires one; empty: none.
    pub one_of: &'static [u8],
}

/// VIRTIO_F_SUSPEND: the driver may suspend the device by its status (virtio 1.4, 3.4).
pub const SUSPEND: u32 = 43;

const fn feature(bit: u32, name: &'static str, requires: &'static [u8]) -> Feature {
    Feature {
        bit: bit as u8,
        name,
        requires,
        one_of: &[],
    }
}

const fn feature_of(bit: u32, name: &'static str, one_of: &'static [u8]) -> Feature {
    Feature {
        bit: bit as u8,
        name,
        requires: &[],
        one_of,
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
        feature(SUSPEND, "SUSPEND", &[]),
    ];

    /// The features that the transport gives a device, whatever the device is: 6 names them, 4.1
    /// tells what they do to the registers of a PCI function.
    pub const OF_FUNCTION: &'static [u8] = &[
        virtio_config::VIRTIO_F_NOTIFICATION_DATA as u8,
        virtio_config::VIRTIO_F_NOTIF_CONFIG_DATA as u8,
        virtio_config::VIRTIO_F_RING_RESET as u8,
        SUSPEND as u8,
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

    /// The features of the network device (5.1.3).
    pub const NET: &'static [Feature] = &[
        feature(virtio_net::VIRTIO_NET_F_CSUM, "CSUM", &[]),
        feature(virtio_net::VIRTIO_NET_F_GUEST_CSUM, "GUEST_CSUM", &[]),
        feature(
            virtio_net::VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
            "CTRL_GUEST_OFFLOADS",
            &[],
        ),
        feature(virtio_net::VIRTIO_NET_F_MTU, "MTU", &[]),
        feature(virtio_net::VIRTIO_NET_F_MAC, "MAC", &[]),
        feature(virtio_net::VIRTIO_NET_F_GUEST_TSO4, "GUEST_TSO4", &[1]),
        feature(virtio_net::VIRTIO_NET_F_GUEST_TSO6, "GUEST_TSO6", &[1]),
        feature_of(virtio_net::VIRTIO_NET_F_GUEST_ECN, "GUEST_ECN", &[7, 8]),
        feature(virtio_net::VIRTIO_NET_F_GUEST_UFO, "GUEST_UFO", &[1]),
        feature(virtio_net::VIRTIO_NET_F_HOST_TSO4, "HOST_TSO4", &[0]),
        feature(virtio_net::VIRTIO_NET_F_HOST_TSO6, "HOST_TSO6", &[0]),
        feature_of(virtio_net::VIRTIO_NET_F_HOST_ECN, "HOST_ECN", &[11, 12]),
        feature(virtio_net::VIRTIO_NET_F_HOST_UFO, "HOST_UFO", &[0]),
        feature(virtio_net::VIRTIO_NET_F_MRG_RXBUF, "MRG_RXBUF", &[]),
        feature(virtio_net::VIRTIO_NET_F_STATUS, "STATUS", &[]),
        feature(virtio_net::VIRTIO_NET_F_CTRL_VQ, "CTRL_VQ", &[]),
        feature(virtio_net::VIRTIO_NET_F_CTRL_RX, "CTRL_RX", &[17]),
        feature(virtio_net::VIRTIO_NET_F_CTRL_VLAN, "CTRL_VLAN", &[17]),
        feature(virtio_net::VIRTIO_NET_F_CTRL_RX_EXTRA, "CTRL_RX_EXTRA", &[]),
        feature(
            virtio_net::VIRTIO_NET_F_GUEST_ANNOUNCE,
            "GUEST_ANNOUNCE",
            &[17],
        ),
        feature(virtio_net::VIRTIO_NET_F_MQ, "MQ", &[17]),
        feature(
            virtio_net::VIRTIO_NET_F_CTRL_MAC_ADDR,
            "CTRL_MAC_ADDR",
            &[17],
        ),
        Feature {
            bit: 51,
            name: "HASH_TUNNEL",
            requires: &[17],
            one_of: &[57, 60],
        },
        feature(virtio_net::VIRTIO_NET_F_VQ_NOTF_COAL, "VQ_NOTF_COAL", &[17]),
        feature(virtio_net::VIRTIO_NET_F_NOTF_COAL, "NOTF_COAL", &[17]),
        feature(virtio_net::VIRTIO_NET_F_GUEST_USO4, "GUEST_USO4", &[1]),
        feature(virtio_net::VIRTIO_NET_F_GUEST_USO6, "GUEST_USO6", &[1]),
        feature(virtio_net::VIRTIO_NET_F_HOST_USO, "HOST_USO", &[0]),
        feature(virtio_net::VIRTIO_NET_F_HASH_REPORT, "HASH_REPORT", &[]),
        feature(virtio_net::VIRTIO_NET_F_GUEST_HDRLEN, "GUEST_HDRLEN", &[]),
        feature(virtio_net::VIRTIO_NET_F_RSS, "RSS", &[17]),
        feature_of(virtio_net::VIRTIO_NET_F_RSC_EXT, "RSC_EXT", &[11, 12]),
        feature(virtio_net::VIRTIO_NET_F_STANDBY, "STANDBY", &[]),
        feature(virtio_net::VIRTIO_NET_F_SPEED_DUPLEX, "SPEED_DUPLEX", &[]),
    ];

    /// The features of the console (5.3.3).
    pub const CONSOLE: &'static [Feature] = &[
        feature(0, "SIZE", &[]),
        feature(1, "MULTIPORT", &[]),
        feature(2, "EMERG_WRITE", &[]),
    ];

    /// The features of the SCSI host (5.6.3).
    pub const SCSI: &'static [Feature] = &[
        feature(virtio_scsi::VIRTIO_SCSI_F_INOUT, "INOUT", &[]),
        feature(virtio_scsi::VIRTIO_SCSI_F_HOTPLUG, "HOTPLUG", &[]),
        feature(virtio_scsi::VIRTIO_SCSI_F_CHANGE, "CHANGE", &[]),
        feature(virtio_scsi::VIRTIO_SCSI_F_T10_PI, "T10_PI", &[]),
    ];
}

/// The name of the device-independent feature `bit`; [`DeviceType::feature_name`] knows the others.
///
/// [`DeviceType::feature_name`]: super::DeviceType::feature_name
pub fn feature_name(bit: u8) -> Option<&'static str> {
    Feature::COMMON
        .iter()
        .find(|f| f.bit == bit)
        .map(|f| f.name)
}

/// The bit of the device-independent feature called `name`; [`DeviceType::feature_bit`] knows the
/// others.
///
/// [`DeviceType::feature_bit`]: super::DeviceType::feature_bit
pub fn feature_bit(name: &str) -> Option<u8> {
    Feature::COMMON
        .iter()
        .find(|f| f.name == name)
        .map(|f| f.bit)
}

/// Whether a device that offers `offered` lets a driver set FEATURES_OK with `accepted`: a subset,
/// and VERSION_1 among it (2.2.2, 6.1).
pub const fn features_ok(offered: u128, accepted: u128) -> bool {
    let version_1 = 1 << virtio_config::VIRTIO_F_VERSION_1;
    accepted & !offered == 0 && (offered & version_1 == 0 || accepted & version_1 != 0)
}

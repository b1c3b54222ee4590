//! The kinds of devices.

use serde::{Deserialize, Serialize};

use crate::spec::DeviceType;

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// virtio-blk.
    Block,
    /// virtio-net, with a peer that sends every frame back.
    Net,
    /// virtio-console, which sends back what it is told.
    Console,
    /// virtio-rng.
    Rng,
    /// virtio-scsi, with one disk.
    Scsi,
    /// A plain PCI endpoint with a message for each of its ports.
    PortCard,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Block,
        Self::Net,
        Self::Console,
        Self::Rng,
        Self::Scsi,
        Self::PortCard,
    ];

    /// How messages call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Block => "block device",
            Self::Net => "network device",
            Self::Console => "console",
            Self::Rng => "entropy device",
            Self::Scsi => "SCSI host",
            Self::PortCard => "port-card",
        }
    }

    /// What the virtio specification says of it; `None`: it is not virtio.
    pub const fn device_type(self) -> Option<&'static DeviceType> {
        match self {
            Self::Block => Some(&DeviceType::BLOCK),
            Self::Net => Some(&DeviceType::NET),
            Self::Console => Some(&DeviceType::CONSOLE),
            Self::Rng => Some(&DeviceType::ENTROPY),
            Self::Scsi => Some(&DeviceType::SCSI),
            Self::PortCard => None,
        }
    }

    /// Whether it is a virtio device.
    pub const fn is_virtio(self) -> bool {
        self.device_type().is_some()
    }

    /// Size of its device configuration in bytes.
    pub const fn config_bytes(self) -> u16 {
        match self.device_type() {
            Some(device) => device.config_bytes,
            None => 0,
        }
    }

    /// The bit of the feature that this kind of device calls `name`.
    pub fn feature_bit(self, name: &str) -> Option<u8> {
        self.device_type()?.feature_bit(name)
    }

    /// The name of feature `bit` of this kind of device.
    pub fn feature_name(self, bit: u8) -> Option<&'static str> {
        self.device_type()?.feature_name(bit)
    }

    /// Virtqueues when nothing is said: network device and SCSI host have a control queue.
    pub const fn default_queues(self) -> u16 {
        match self {
            Self::Block | Self::Rng | Self::PortCard => 1,
            Self::Console => 2,
            Self::Net | Self::Scsi => 3,
        }
    }

    /// Whether there is a disk behind it.
    pub const fn has_disk(self) -> bool {
        matches!(self, Self::Block | Self::Scsi)
    }

    /// Keys of a `[device]` table that mean nothing to this kind.
    pub const fn foreign_keys(self) -> &'static [&'static str] {
        match self {
            Self::Block => &["ports", "units", "mac", "mtu", "cols", "rows"],
            Self::Scsi => &["ports", "mac", "mtu", "cols", "rows"],
            Self::Net => &["ports", "capacity", "units", "file", "cols", "rows"],
            Self::Console => &["ports", "capacity", "units", "file", "mac", "mtu"],
            Self::Rng => &[
                "ports", "capacity", "units", "file", "mac", "mtu", "cols", "rows",
            ],
            Self::PortCard => &[
                "queues",
                "queue-size",
                "capacity",
                "units",
                "file",
                "mac",
                "mtu",
                "cols",
                "rows",
                "without",
                "with",
                "backend",
                "virtio",
                "notify-mult",
                "notify-off",
                "caps",
                "devcfg-len",
                "vendor-cap",
                "features-decoy",
                "strict",
            ],
        }
    }

    /// Whether a device of this kind can have so many queues; if not, which numbers it can have.
    pub(super) fn check_queues(self, queues: u16) -> Result<(), &'static str> {
        let (fits, expected) = match self {
            Self::Block | Self::PortCard => (true, ""),
            Self::Rng => (queues == 1, "1 (virtio 1.3, 5.4.2)"),
            Self::Net => (
                queues == 2 || !queues.is_multiple_of(2) && queues >= 3,
                "2, or an odd number from 3 on: pairs of receive and transmit queues, and the control queue (virtio 1.3, 5.1.2)",
            ),
            Self::Console => (
                queues.is_multiple_of(2),
                "2, or an even number from 4 on: two for each port, and two control queues (virtio 1.3, 5.3.2)",
            ),
            Self::Scsi => (
                queues >= 3,
                "3 or more: the control queue, the event queue and request queues (virtio 1.3, 5.6.2)",
            ),
        };
        if fits { Ok(()) } else { Err(expected) }
    }
}

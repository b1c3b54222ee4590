//! What a device is: its kind, its size, how it is attached.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::spec::{Feature, MacAddress, feature_bit};

mod check;
mod kind;
mod presented;

pub use check::ShapeError;
pub use kind::Kind;
pub use presented::{
    Caps, Interface, MAX_DEVCFG_LEN, MAX_NOTIFY_MULT, MAX_NOTIFY_OFF, MAX_SIBLINGS, NotifyOrder,
    Oddity, QueueSizes, Siblings, Subsystem,
};

/// The most queues a device can have: a vhost-user kick names its queue in eight bits.
pub const MAX_QUEUES: u16 = 256;
/// The most queues that our own backend serves.
pub const MAX_OWN_QUEUES: u16 = 64;
/// The largest queue (2.7).
pub const MAX_QUEUE_SIZE: u16 = 32768;

/// The features that a device offers only when `with` names them.
pub const WITH: &[&str] = &[
    "IN_ORDER",
    "NOTIFICATION_DATA",
    "NOTIF_CONFIG_DATA",
    "RING_PACKED",
    "RING_RESET",
    "SUSPEND",
];

/// A `[device]` table as it is written, and as a trace records it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", remote = "Self")]
pub struct Shape {
    /// What it is.
    pub kind: Kind,
    /// How it is attached to the machine.
    #[serde(default)]
    pub attach: Attach,
    /// Number of virtqueues, of every purpose; for port-card unused. Default: as few as the kind has.
    #[serde(default = "by_kind", deserialize_with = "said")]
    pub queues: u16,
    /// Elements of each queue, a power of two.
    #[serde(default)]
    pub queue_size: QueueSizes,
    /// Entries of the MSI-X table, 1 to 2048; 0: no MSI-X capability. Default: queues + 1 (port-card: 0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msix: Option<u16>,
    /// Messages of the MSI capability: 1, 2, 4, 8, 16 or 32; 0: no MSI capability.
    #[serde(default)]
    pub msi: u16,
    /// Whether the MSI capability has a 64-bit address.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub msi_64: bool,
    /// Whether the messages of the MSI capability can be masked one by one.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub msi_masking: bool,
    /// Whether there is an INTx pin.
    #[serde(default = "yes")]
    pub pin: bool,
    /// Number of ports of a port-card.
    #[serde(default = "four")]
    pub ports: u16,
    /// Size of the disk in sectors of 512 bytes.
    #[serde(default = "default_capacity")]
    pub capacity: u64,
    /// Disks of a SCSI host: units 0 to this of target 0, each of that size. 1 to 8.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub units: u8,
    /// A file behind the disk; memory when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<std::path::PathBuf>,
    /// Address of a network device. Default: `52:54:00:4d:46:<device>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Largest packet of a network device, in bytes without the Ethernet header.
    #[serde(default = "default_mtu", skip_serializing_if = "is_default_mtu")]
    pub mtu: u16,
    /// Width of a console in characters.
    #[serde(default = "default_cols", skip_serializing_if = "is_default_cols")]
    pub cols: u16,
    /// Height of a console in characters.
    #[serde(default = "default_rows", skip_serializing_if = "is_default_rows")]
    pub rows: u16,
    /// Features that are withheld, by name or bit number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Features that are offered on request only, by name: see [`WITH`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// A vhost-user backend that is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<ForeignBackend>,
    /// The interface that drivers find.
    #[serde(default, skip_serializing_if = "unsaid")]
    pub virtio: Interface,
    /// `notify_off_multiplier`: 0, or a power of two from 2 to 4096 (4.1.4.4).
    #[serde(default = "four_wide", skip_serializing_if = "is_four")]
    pub notify_mult: u32,
    /// `queue_notify_off` of each queue.
    #[serde(default, skip_serializing_if = "unsaid")]
    pub notify_off: NotifyOrder,
    /// How the virtio capabilities are presented.
    #[serde(default, skip_serializing_if = "unsaid")]
    pub caps: Caps,
    /// Length of the device configuration structure, bytes. Default: 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devcfg_len: Option<u16>,
    /// The PCI revision id (4.1.2). Default: 1, and 0 for a device with the legacy interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u8>,
    /// The ids of the board. Default: those of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subsystem: Option<Subsystem>,
    /// A vendor data capability with this vendor id (4.1.4.8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_cap: Option<u16>,
    /// Feature bits that are offered and mean nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features_decoy: Vec<u8>,
    /// Whether queues and vectors can't be set up before FEATURES_OK.
    #[serde(default, skip_serializing_if = "unsaid")]
    pub strict: bool,
    /// Passive functions on the same bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub siblings: Option<Siblings>,
}

/// A vhost-user backend served by somebody else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignBackend {
    /// The path of its socket.
    pub socket: std::path::PathBuf,
}

/// How a device is attached to the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// Our own function behind `vfio-user-pci`.
    #[default]
    VfioUser,
    /// Our backend behind QEMU's own transport.
    VhostUser,
}

/// In place of a number of queues: as many as the kind has when nothing is said.
fn by_kind() -> u16 {
    u16::MAX
}
fn said<'de, D: Deserializer<'de>>(input: D) -> Result<u16, D::Error> {
    match u16::deserialize(input)? {
        u16::MAX => Err(de::Error::custom(format_args!(
            "queues = {}: expected {MAX_QUEUES} at most",
            u16::MAX
        ))),
        queues => Ok(queues),
    }
}
fn default_mtu() -> u16 {
    1500
}
fn is_default_mtu(mtu: &u16) -> bool {
    *mtu == default_mtu()
}
fn default_cols() -> u16 {
    80
}
fn is_default_cols(cols: &u16) -> bool {
    *cols == default_cols()
}
fn default_rows() -> u16 {
    25
}
fn is_default_rows(rows: &u16) -> bool {
    *rows == default_rows()
}
fn four() -> u16 {
    4
}
fn yes() -> bool {
    true
}
fn is_yes(value: &bool) -> bool {
    *value
}
fn four_wide() -> u32 {
    4
}
fn is_four(value: &u32) -> bool {
    *value == four_wide()
}
fn unsaid<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
fn one() -> u8 {
    1
}
fn is_one(units: &u8) -> bool {
    *units == one()
}
fn default_capacity() -> u64 {
    2048
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let mut shape = Self::deserialize(input)?;
        if shape.queues == by_kind() {
            shape.queues = shape.kind.default_queues();
        }
        Ok(shape)
    }
}

impl Shape {
    /// A device of this kind, everything else as it is when nothing is said.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            attach: Attach::default(),
            queues: kind.default_queues(),
            queue_size: QueueSizes::default(),
            msix: None,
            msi: 0,
            msi_64: true,
            msi_masking: true,
            pin: true,
            ports: four(),
            capacity: default_capacity(),
            units: one(),
            file: None,
            mac: None,
            mtu: default_mtu(),
            cols: default_cols(),
            rows: default_rows(),
            without: Vec::new(),
            with: Vec::new(),
            backend: None,
            virtio: Interface::default(),
            notify_mult: four_wide(),
            notify_off: NotifyOrder::default(),
            caps: Caps::default(),
            devcfg_len: None,
            revision: None,
            subsystem: None,
            vendor_cap: None,
            features_decoy: Vec::new(),
            strict: false,
            siblings: None,
        }
    }

    /// Entries of the MSI-X table; 0 when there is no capability.
    pub fn table_size(&self) -> u16 {
        self.msix.unwrap_or(if self.kind.is_virtio() {
            self.queues.saturating_add(1)
        } else {
            0
        })
    }

    /// Whether a feature that is offered on request only was asked for.
    pub fn asks_for(&self, bit: u8) -> bool {
        self.with.iter().any(|name| feature_bit(name) == Some(bit))
    }

    /// The features on request that the function itself adds to those of its backend.
    pub fn transport_features(&self) -> u128 {
        Feature::OF_FUNCTION
            .iter()
            .filter(|bit| self.asks_for(**bit))
            .fold(0, |bits, bit| bits | 1 << bit)
    }

    /// The bit of a feature by name or number.
    fn feature(&self, name: &str) -> Option<u8> {
        let bit = self.kind.feature_bit(name);
        bit.or_else(|| name.parse().ok()).filter(|bit| *bit <= 127)
    }

    /// The features that are withheld.
    pub fn withheld(&self) -> u128 {
        self.without
            .iter()
            .filter_map(|name| self.feature(name))
            .fold(0, |bits, bit| bits | 1 << bit)
    }

    /// Pairs of queues of a network device.
    pub const fn pairs(&self) -> u16 {
        if self.queues < 3 {
            1
        } else {
            (self.queues - 1) / 2
        }
    }

    /// Ports of a console.
    pub const fn console_ports(&self) -> u16 {
        if self.queues < 4 {
            1
        } else {
            (self.queues - 2) / 2
        }
    }
}

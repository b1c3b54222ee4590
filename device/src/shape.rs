//! What a device is: its kind, its size, how it is attached.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::spec::{
    DeviceType, Feature, MacAddress, PortCard, feature_bit, msi_control, msix_control,
};
mod presented;

pub use presented::{
    Caps, Interface, MAX_DEVCFG_LEN, MAX_NOTIFY_MULT, MAX_NOTIFY_OFF, MAX_SIBLINGS, NotifyOrder,
    Oddity, QueueSizes, Siblings, Subsystem,
};

/// The most queues a device can have: a vhost-user kick names its queue in eight bits.
pub const MAX_QUEUES: u16 = 256;
/// The most queues that our own backend serves.
pub const MAX_OWN_QUEUES: u16 = 64;
/// Elements of the queue of QEMU's own vhost-user entropy device.
const QEMU_RNG_SIZE: u16 = 4;
/// The smallest MTU (5.1.4.1).
const MIN_MTU: u16 = 68;
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
            Self::Block | Self::Scsi => &["ports", "mac", "mtu", "cols", "rows"],
            Self::Net => &["ports", "capacity", "file", "cols", "rows"],
            Self::Console => &["ports", "capacity", "file", "mac", "mtu"],
            Self::Rng => &["ports", "capacity", "file", "mac", "mtu", "cols", "rows"],
            Self::PortCard => &[
                "queues",
                "queue-size",
                "capacity",
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
    fn check_queues(self, queues: u16) -> Result<(), &'static str> {
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

/// A value of a `[device]` table that can't be served. `key` names the line at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ShapeError {
    /// The key whose value is wrong.
    pub key: &'static str,
    /// What is wrong, and what was expected.
    pub message: String,
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

    /// Checks every value against what can be served.
    ///
    /// # Errors
    /// The first value that is out of range, with the range.
    pub fn check(&self) -> Result<(), ShapeError> {
        let fail = |key, message| Err(ShapeError { key, message });
        let most = match &self.backend {
            None if self.kind.is_virtio() => MAX_OWN_QUEUES,
            _ => MAX_QUEUES,
        };
        if !(1..=most).contains(&self.queues) {
            return fail(
                "queues",
                format!("queues = {}: expected 1 to {most}", self.queues),
            );
        }
        if let Err(expected) = self.kind.check_queues(self.queues) {
            let message = format!(
                "queues = {}: {} {} has {expected}",
                self.queues,
                if self.kind == Kind::Rng { "an" } else { "a" },
                self.kind.word()
            );
            return fail("queues", message);
        }
        self.check_presented()?;
        let table = self.table_size();
        if table > msix_control::MAX_TABLE {
            return fail(
                "msix",
                format!(
                    "msix = {table:#x}: expected 0 (no capability) or 1 to 2048 entries (PCI 3.0, 6.8.2.3)"
                ),
            );
        }
        if self.msi != 0 && (!self.msi.is_power_of_two() || self.msi > msi_control::MAX_MESSAGES) {
            return fail(
                "msi",
                format!(
                    "msi = {}: expected 0, 1, 2, 4, 8, 16 or 32 messages (PCI 3.0, 6.8.1.3)",
                    self.msi
                ),
            );
        }
        if self.kind == Kind::PortCard && !(1..=PortCard::MAX_PORTS).contains(&self.ports) {
            return fail(
                "ports",
                format!(
                    "ports = {}: expected 1 to {}",
                    self.ports,
                    PortCard::MAX_PORTS
                ),
            );
        }
        if self.attach == Attach::VhostUser {
            let why = match self.kind {
                Kind::Block | Kind::Rng | Kind::Scsi => None,
                Kind::Net => Some("QEMU keeps the control queue of a network device to itself"),
                Kind::Console => {
                    Some("QEMU has no vhost-user console with a vector for each queue")
                }
                Kind::PortCard => Some("a port-card is not virtio"),
            };
            if let Some(why) = why {
                let message = format!("attach = \"vhost-user\": {why}; use \"vfio-user\"");
                return fail("attach", message);
            }
            if self.msi != 0 {
                return fail(
                    "msi",
                    "msi: QEMU's virtio-pci has no MSI capability; use attach = \"vfio-user\""
                        .into(),
                );
            }
            if self.kind == Kind::Rng && self.queue_size.smallest() < QEMU_RNG_SIZE {
                let message = format!(
                    "queue-size: QEMU's own entropy device has {QEMU_RNG_SIZE} elements; leave it out"
                );
                return fail("queue-size", message);
            }
            if self.backend.is_some() {
                return fail(
                    "backend",
                    "backend: QEMU would speak to it without us; use attach = \"vfio-user\"".into(),
                );
            }
            if !self.pin {
                return fail(
                    "pin",
                    "pin = false: QEMU's virtio-pci always has a pin; use attach = \"vfio-user\""
                        .into(),
                );
            }
        }
        if self.capacity == 0 || self.capacity > (1 << 41) {
            return fail(
                "capacity",
                format!(
                    "capacity = {}: expected 1 to 2^41 sectors of 512 bytes",
                    self.capacity
                ),
            );
        }
        if self.mtu < MIN_MTU {
            return fail(
                "mtu",
                format!(
                    "mtu = {}: expected {MIN_MTU} to 65535 (virtio 1.3, 5.1.4.1)",
                    self.mtu
                ),
            );
        }
        for name in &self.without {
            if self.feature(name).is_none() {
                return fail(
                    "without",
                    format!(
                        "`{name}` is not a feature of a {}: expected a name such as EVENT_IDX, or a bit number up to 127",
                        self.kind.word()
                    ),
                );
            }
        }
        self.check_with()
    }

    fn check_with(&self) -> Result<(), ShapeError> {
        for name in &self.with {
            let Some(bit) = feature_bit(name).filter(|_| WITH.contains(&name.as_str())) else {
                let message = format!(
                    "`{name}` is not offered on request: expected one of {}",
                    WITH.join(", ")
                );
                return Err(ShapeError {
                    key: "with",
                    message,
                });
            };
            let message = if self.attach == Attach::VhostUser && Feature::OF_FUNCTION.contains(&bit)
            {
                "is QEMU's to offer; use attach = \"vfio-user\""
            } else if self.backend.is_some() && !Feature::OF_FUNCTION.contains(&bit) {
                "is the backend's to offer, and it is not ours"
            } else {
                continue;
            };
            return Err(ShapeError {
                key: "with",
                message: format!("`{name}` {message}"),
            });
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Shape, String> {
        let shape: Shape = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        shape
            .check()
            .map_err(|e| format!("{}: {}", e.key, e.message))?;
        Ok(shape)
    }

    #[test]
    fn each_kind_has_as_few_queues_as_it_can_and_a_vector_for_each() {
        for kind in Kind::ALL.iter().filter(|kind| kind.is_virtio()) {
            let shape = Shape::new(*kind);
            assert_eq!(shape.check(), Ok(()));
            assert_eq!(shape.table_size(), kind.default_queues() + 1);
            let written = toml::to_string(&shape).unwrap();
            assert_eq!(toml::from_str::<Shape>(&written).unwrap(), shape);
        }
        let net = checked("kind = 'net'").unwrap();
        assert_eq!((net.queues, net.pairs()), (3, 1));
        assert_eq!(checked("kind = 'net'\nqueues = 7").unwrap().pairs(), 3);
        let console = checked("kind = 'console'\nqueues = 8").unwrap();
        assert_eq!(console.console_ports(), 3);
    }

    #[test]
    fn what_a_kind_can_not_have_is_refused_with_what_it_can() {
        for (text, words) in [
            (
                "kind = 'net'\nqueues = 4",
                "queues: queues = 4: a network device has 2, or an odd",
            ),
            ("kind = 'net'\nqueues = 1", "2, or an odd"),
            ("kind = 'console'\nqueues = 3", "2, or an even"),
            ("kind = 'rng'\nqueues = 2", "an entropy device has 1"),
            ("kind = 'scsi'\nqueues = 2", "3 or more"),
            ("kind = 'scsi'\nqueues = 65", "expected 1 to 64"),
            ("kind = 'block'\nqueues = 0", "expected 1 to 64"),
            ("kind = 'block'\nqueues = 65535", "expected 256 at most"),
            ("kind = 'net'\nmtu = 67", "68 to 65535"),
            (
                "kind = 'net'\nmac = '01:00:00:00:00:00'",
                "address of a station",
            ),
            (
                "kind = 'scsi'\nwithout = ['MQ']",
                "`MQ` is not a feature of a SCSI host",
            ),
            ("kind = 'net'\nattach = 'vhost-user'", "control queue"),
            (
                "kind = 'console'\nattach = 'vhost-user'",
                "vector for each queue",
            ),
            (
                "kind = 'rng'\nattach = 'vhost-user'\nqueue-size = 2",
                "4 elements",
            ),
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        for text in [
            "kind = 'rng'\nattach = 'vhost-user'",
            "kind = 'scsi'\nattach = 'vhost-user'",
        ] {
            assert!(checked(text).is_ok(), "{text}");
        }
    }
}

//! How a function presents itself: sizes, places and capabilities that a device is free to choose,
//! and that a driver has to read instead of to assume.

use serde::{Deserialize, Serialize};

mod written;

use super::{Attach, Kind, MAX_QUEUE_SIZE, Shape, ShapeError};
use crate::spec::{
    CONFIG_BYTES, ExpressCap, LEGACY_FEATURES, MsiCap, MsixCap, PciHeader, PowerCap,
    VENDOR_DATA_BYTES, VIRTIO_CAP64_BYTES, VIRTIO_VENDOR, VirtioCapField,
};

/// A feature bit that is a decoy, since the function has no SR-IOV capability (6.1).
const SR_IOV: u8 = 37;

/// Room for capabilities: what the header leaves of configuration space.
const CAPABILITY_BYTES: u64 = CONFIG_BYTES - PciHeader::SIZE;

/// The largest `notify_off_multiplier` that is served: a page for each queue.
pub const MAX_NOTIFY_MULT: u32 = 4096;
/// The largest `queue_notify_off` that is served.
pub const MAX_NOTIFY_OFF: u16 = 1023;
/// The largest device configuration structure: no device type has a larger one (4.1.4).
pub const MAX_DEVCFG_LEN: u16 = 4096;
/// The most sibling functions: the slots of the bus below the devices'.
pub const MAX_SIBLINGS: u8 = 8;

/// The elements of each queue: one number for all, or a list for queues 0, 1, …, whose last number
/// is also that of the queues behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSizes(Vec<u16>);

impl Default for QueueSizes {
    fn default() -> Self {
        128.into()
    }
}

impl From<u16> for QueueSizes {
    fn from(size: u16) -> Self {
        Self(vec![size])
    }
}

impl From<Vec<u16>> for QueueSizes {
    fn from(sizes: Vec<u16>) -> Self {
        Self(sizes)
    }
}

impl QueueSizes {
    /// The elements of queue `q`.
    pub fn of(&self, q: u16) -> u16 {
        let size = self.0.get(usize::from(q)).or(self.0.last());
        size.copied().unwrap_or(0)
    }

    /// The elements of the largest queue.
    pub fn largest(&self) -> u16 {
        self.0.iter().copied().max().unwrap_or(0)
    }

    /// The elements of the smallest queue.
    pub fn smallest(&self) -> u16 {
        self.0.iter().copied().min().unwrap_or(0)
    }

    /// The numbers as written.
    pub fn written(&self) -> &[u16] {
        &self.0
    }
}

/// Which `queue_notify_off` each queue has (4.1.4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NotifyOrder {
    /// Its index.
    #[default]
    Identity,
    /// The last queue's is 0.
    Reverse,
    /// These, by queue.
    Each(Vec<u16>),
}

impl NotifyOrder {
    /// `queue_notify_off` of queue `q` of `queues`.
    pub fn of(&self, q: u16, queues: u16) -> u16 {
        match self {
            Self::Identity => q,
            Self::Reverse => queues.saturating_sub(1).saturating_sub(q),
            Self::Each(offs) => offs.get(usize::from(q)).copied().unwrap_or(0),
        }
    }
}

/// What is odd about the virtio capabilities (4.1.4.1). All of it is legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Oddity {
    /// Common configuration, ISR status and notifications a second time, behind the first and in
    /// BAR 1; both work.
    Dup,
    /// Capabilities with a reserved `cfg_type` before the others.
    ReservedType,
    /// Capabilities with a reserved `bar` before the others.
    ReservedBar,
    /// Structures of a megabyte each.
    Huge,
    /// A `cap_len` of eight bytes more than needed.
    Long,
    /// The structures in BAR 4, 64 bits wide.
    Bar4Wide,
    /// A shared memory region that no driver has asked for.
    SharedMemory,
    /// No virtio capability at all.
    None,
}

impl Oddity {
    /// Every oddity with its name.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Dup, "dup"),
        (Self::ReservedType, "reserved-type"),
        (Self::ReservedBar, "reserved-bar"),
        (Self::Huge, "huge"),
        (Self::Long, "long"),
        (Self::Bar4Wide, "bar4-64"),
        (Self::SharedMemory, "shared-memory"),
        (Self::None, "none"),
    ];
}

/// How the capabilities are presented: `"normal"`, one oddity, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps(Vec<Oddity>);

impl Caps {
    /// With these oddities.
    pub fn odd(oddities: &[Oddity]) -> Self {
        Self(oddities.to_vec())
    }

    /// Whether the capabilities are odd in this way.
    pub fn has(&self, oddity: Oddity) -> bool {
        self.0.contains(&oddity)
    }
}

/// How drivers reach a virtio device's registers (4.1.4.10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interface {
    /// By the structures that the capabilities describe.
    #[default]
    Modern,
    /// By those, or by the legacy registers in the I/O ports of BAR 0.
    Transitional,
    /// By the legacy registers only.
    Legacy,
}

/// The ids of the board (PCI 3.0, 6.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subsystem {
    /// Subsystem vendor id.
    pub vendor: u16,
    /// Subsystem id.
    pub id: u16,
}

/// Passive functions beside the device, there to use up the system's vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Siblings {
    /// How many.
    pub n: u8,
    /// Entries of the MSI-X table of each.
    pub msix: u16,
}

macro_rules! check {
    ($right:expr, $key:expr, $($message:tt)*) => {
        if !$right {
            return Err(ShapeError { key: $key, message: format!($($message)*) });
        }
    };
}

impl Shape {
    /// Length of the device configuration structure, bytes.
    pub fn devcfg_bytes(&self) -> u64 {
        let usual = if self.kind.config_bytes() == 0 {
            0
        } else {
            0x100
        };
        self.devcfg_len.map_or(usual, u64::from)
    }

    /// Bytes of configuration space that the capabilities take.
    pub fn capability_bytes(&self) -> u64 {
        let long = if self.caps.has(Oddity::Long) { 8 } else { 0 };
        let plain = VirtioCapField::CapExtra.offset() + long;
        let extended = VirtioCapField::SIZE + long;
        let mut bytes = PowerCap::SIZE + ExpressCap::SIZE;
        if self.msi != 0 {
            bytes += MsiCap::bytes(self.msi_64, self.msi_masking).next_multiple_of(4);
        }
        if self.table_size() != 0 {
            bytes += MsixCap::SIZE;
        }
        if !self.has_structures() {
            return bytes;
        }
        let has_config = self.devcfg_bytes() != 0;
        bytes += if has_config { 3 } else { 2 } * plain + 2 * extended;
        for (oddity, more) in [
            (Oddity::Dup, 2 * plain + extended),
            (Oddity::ReservedType, plain),
            (Oddity::ReservedBar, plain),
            (Oddity::SharedMemory, VIRTIO_CAP64_BYTES + long),
        ] {
            bytes += if self.caps.has(oddity) { more } else { 0 };
        }
        if self.vendor_cap.is_some() {
            bytes += VENDOR_DATA_BYTES;
        }
        bytes
    }

    /// The PCI revision id.
    pub fn revision_id(&self) -> u8 {
        self.revision.unwrap_or(u8::from(!self.has_legacy()))
    }

    /// Whether there are the legacy registers, in the I/O ports of BAR 0.
    pub fn has_legacy(&self) -> bool {
        self.kind.is_virtio() && self.virtio != Interface::Modern
    }

    /// Whether there are virtio structures that capabilities describe.
    pub fn has_structures(&self) -> bool {
        self.kind.is_virtio() && self.virtio != Interface::Legacy && !self.caps.has(Oddity::None)
    }

    /// Checks the keys about how the function presents itself.
    pub(super) fn check_presented(&self) -> Result<(), ShapeError> {
        for size in self.queue_size.written() {
            check!(
                size.is_power_of_two() && *size <= MAX_QUEUE_SIZE,
                "queue-size",
                "queue-size = {size}: expected a power of two up to {MAX_QUEUE_SIZE} (virtio 1.3, 2.7)"
            );
        }
        let sizes = self.queue_size.written().len();
        check!(
            (1..=usize::from(self.queues.max(1))).contains(&sizes),
            "queue-size",
            "queue-size: {sizes} numbers for {} queues",
            self.queues
        );
        let mult = self.notify_mult;
        check!(
            mult == 0 || (mult.is_power_of_two() && (2..=MAX_NOTIFY_MULT).contains(&mult)),
            "notify-mult",
            "notify-mult = {mult}: expected 0, or a power of two from 2 to {MAX_NOTIFY_MULT} (virtio 1.3, 4.1.4.4.1)"
        );
        if let NotifyOrder::Each(offs) = &self.notify_off {
            check!(
                offs.len() == usize::from(self.queues),
                "notify-off",
                "notify-off: {} numbers for {} queues",
                offs.len(),
                self.queues
            );
            for off in offs {
                check!(
                    *off <= MAX_NOTIFY_OFF,
                    "notify-off",
                    "notify-off = {off}: expected 0 to {MAX_NOTIFY_OFF}"
                );
            }
        }
        check!(
            !self.caps.has(Oddity::None) || self.caps.0.len() == 1,
            "caps",
            "caps: \"none\" goes with no other"
        );
        let used = self.capability_bytes();
        check!(
            used <= CAPABILITY_BYTES,
            "caps",
            "the capabilities of this device take {used} bytes, and configuration space has {CAPABILITY_BYTES} for them"
        );
        if let Some(len) = self.devcfg_len {
            let least = self.kind.config_bytes();
            check!(
                (least..=MAX_DEVCFG_LEN).contains(&len),
                "devcfg-len",
                "devcfg-len = {len}: expected {least} to {MAX_DEVCFG_LEN} bytes for a {}",
                self.kind.word()
            );
        }
        if let Some(vendor) = self.vendor_cap {
            check!(
                vendor != VIRTIO_VENDOR,
                "vendor-cap",
                "vendor-cap = {vendor:#x}: any vendor id but that of virtio (virtio 1.3, 4.1.4.8.1)"
            );
        }
        for bit in &self.features_decoy {
            check!(
                *bit <= 127 && (self.kind.feature_name(*bit).is_none() || *bit == SR_IOV),
                "features-decoy",
                "features-decoy = {bit}: expected the number of a bit up to 127 that means nothing to this device"
            );
        }
        if let Some(Siblings { n, msix }) = self.siblings {
            check!(
                (1..=MAX_SIBLINGS).contains(&n),
                "siblings",
                "siblings.n = {n}: expected 1 to {MAX_SIBLINGS}"
            );
            check!(
                (1..=2048).contains(&msix),
                "siblings",
                "siblings.msix = {msix}: expected 1 to 2048 entries (PCI 3.0, 6.8.2.3)"
            );
        }
        self.check_legacy()?;
        self.check_foreign_transport()
    }

    /// A device with the legacy interface looks like those of before virtio 1.0 (4.1.2.3), and one that
    /// has nothing else knows nothing newer.
    fn check_legacy(&self) -> Result<(), ShapeError> {
        if !self.has_legacy() {
            return Ok(());
        }
        check!(
            self.revision_id() == 0,
            "revision",
            "revision = {}: a device with the legacy interface has 0 (virtio 1.3, 4.1.2.3)",
            self.revision_id()
        );
        let id = self.kind.device_type().map_or(0, |device| device.id);
        check!(
            self.subsystem.is_none_or(|board| board.id == id),
            "subsystem",
            "subsystem.id: of a {} with the legacy interface it is {id} (virtio 1.3, 4.1.2.3)",
            self.kind.word()
        );
        for bit in &self.features_decoy {
            check!(
                LEGACY_FEATURES.iter().all(|(known, _)| known != bit),
                "features-decoy",
                "features-decoy = {bit}: the bit has a meaning with the legacy interface (virtio 1.3, 6.3)"
            );
        }
        if self.virtio == Interface::Transitional {
            check!(
                !self.caps.has(Oddity::None),
                "caps",
                "caps = \"none\": a transitional device has both interfaces; use virtio = \"legacy\""
            );
            return Ok(());
        }
        let plain = Self::new(self.kind);
        for (key, said) in [
            ("with", !self.with.is_empty()),
            ("notify-mult", self.notify_mult != plain.notify_mult),
            ("notify-off", self.notify_off != plain.notify_off),
            ("caps", self.caps != plain.caps),
            ("vendor-cap", self.vendor_cap.is_some()),
            ("strict", self.strict),
            (
                "features-decoy",
                self.features_decoy.iter().any(|bit| *bit > 31),
            ),
        ] {
            check!(
                !said,
                key,
                "{key}: virtio = \"legacy\" has no capabilities, no FEATURES_OK and no feature bit above 31; use \"transitional\""
            );
        }
        Ok(())
    }

    /// Behind QEMU's transport nothing of this can be chosen.
    fn check_foreign_transport(&self) -> Result<(), ShapeError> {
        if self.attach == Attach::VfioUser {
            return Ok(());
        }
        check!(
            self.kind != Kind::Rng || self.virtio == Interface::Modern,
            "virtio",
            "virtio: QEMU's vhost-user entropy device has no legacy interface; use attach = \"vfio-user\""
        );
        let plain = Self::new(Kind::Block);
        for (key, said) in [
            ("queue-size", self.queue_size.written().len() > 1),
            ("notify-mult", self.notify_mult != plain.notify_mult),
            ("notify-off", self.notify_off != plain.notify_off),
            ("caps", self.caps != plain.caps),
            ("devcfg-len", self.devcfg_len.is_some()),
            ("revision", self.revision != plain.revision),
            ("subsystem", self.subsystem.is_some()),
            ("vendor-cap", self.vendor_cap.is_some()),
            ("features-decoy", !self.features_decoy.is_empty()),
            ("strict", self.strict),
        ] {
            if said {
                return Err(ShapeError {
                    key,
                    message: format!(
                        "{key}: QEMU's virtio-pci decides that; use attach = \"vfio-user\""
                    ),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Shape, String> {
        let shape: Shape = toml::from_str(&format!("kind = \"block\"\n{text}"))
            .map_err(|e| e.message().to_owned())?;
        shape
            .check()
            .map_err(|e| format!("{}: {}", e.key, e.message))?;
        Ok(shape)
    }

    #[test]
    fn a_value_is_written_as_it_was_read_and_not_at_all_when_nothing_was_said() {
        for text in [
            "queue-size = 64",
            "queues = 2\nqueue-size = [8, 16]",
            "notify-mult = 0\nnotify-off = \"reverse\"",
            "queues = 2\nnotify-off = [3, 1]",
            "caps = \"bar4-64\"",
            "caps = [\"long\", \"reserved-bar\"]",
            "revision = 0\nsubsystem = { vendor = 1, id = 2 }\nvendor-cap = 5",
            "virtio = \"transitional\"\nwith = [\"RING_PACKED\"]\ncaps = \"dup\"",
            "virtio = \"legacy\"\nrevision = 0\nsubsystem = { vendor = 1, id = 2 }",
            "features-decoy = [25, 127]\nstrict = true\nsiblings = { n = 2, msix = 64 }",
        ] {
            let shape = checked(text).unwrap();
            let written = serde_json::to_string(&shape).unwrap();
            assert_eq!(
                serde_json::from_str::<Shape>(&written).unwrap(),
                shape,
                "{written}"
            );
        }
        let plain = serde_json::to_string(&checked("").unwrap()).unwrap();
        for key in [
            "notify", "caps", "revision", "strict", "siblings", "virtio", "msi-",
        ] {
            assert!(!plain.contains(key), "{plain}");
        }
    }

    #[test]
    fn a_value_that_can_not_be_served_is_refused_with_what_can() {
        for (text, words) in [
            (
                "queue-size = 0",
                "queue-size: queue-size = 0: expected a power of two up to 32768",
            ),
            ("queue-size = [8, 9]\nqueues = 2", "queue-size = 9"),
            ("queue-size = [8, 8]", "2 numbers for 1 queues"),
            ("queue-size = 70000", "expected a number from 1 to 32768"),
            (
                "queue-size = \"large\"",
                "expected a number from 1 to 32768",
            ),
            (
                "notify-mult = 3",
                "expected 0, or a power of two from 2 to 4096",
            ),
            (
                "notify-mult = 8192",
                "expected 0, or a power of two from 2 to 4096",
            ),
            (
                "notify-off = \"sideways\"",
                "expected \"identity\", \"reverse\" or a list",
            ),
            ("notify-off = [0, 1]", "2 numbers for 1 queues"),
            ("notify-off = [1024]", "expected 0 to 1023"),
            (
                "caps = \"strange\"",
                "unknown caps `strange`: expected normal, dup",
            ),
            ("caps = [\"none\", \"dup\"]", "goes with no other"),
            (
                "caps = [\"dup\", \"long\", \"reserved-type\"]",
                "configuration space has 192",
            ),
            (
                "devcfg-len = 16",
                "expected 60 to 4096 bytes for a block device",
            ),
            ("vendor-cap = 0x1af4", "any vendor id but that of virtio"),
            ("features-decoy = [32]", "means nothing to this device"),
            ("features-decoy = [128]", "up to 127"),
            ("siblings = { n = 9, msix = 1 }", "expected 1 to 8"),
            ("siblings = { n = 1, msix = 0 }", "expected 1 to 2048"),
            (
                "virtio = \"transitional\"\nrevision = 1",
                "revision = 1: a device with the legacy interface has 0",
            ),
            (
                "virtio = \"transitional\"\nsubsystem = { vendor = 1, id = 9 }",
                "subsystem.id: of a block device with the legacy interface it is 2",
            ),
            (
                "virtio = \"transitional\"\nfeatures-decoy = [30]",
                "the bit has a meaning with the legacy interface",
            ),
            (
                "virtio = \"transitional\"\ncaps = \"none\"",
                "use virtio = \"legacy\"",
            ),
            (
                "virtio = \"legacy\"\nwith = [\"RING_PACKED\"]",
                "with: virtio = \"legacy\" has no capabilities",
            ),
            ("virtio = \"legacy\"\nstrict = true", "strict: virtio"),
            (
                "virtio = \"legacy\"\nfeatures-decoy = [45]",
                "no feature bit above 31",
            ),
            (
                "attach = \"vhost-user\"\nvirtio = \"transitional\"\nrevision = 0",
                "revision: QEMU's virtio-pci decides",
            ),
            (
                "attach = \"vhost-user\"\nrevision = 0",
                "revision: QEMU's virtio-pci decides",
            ),
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

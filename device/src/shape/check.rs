//! Whether a shape can be served.

use super::{Attach, Kind, MAX_OWN_QUEUES, MAX_QUEUES, Shape, WITH};
use crate::spec::{Feature, PortCard, feature_bit, msi_control, msix_control};

/// Elements of the queue of QEMU's own vhost-user entropy device.
const QEMU_RNG_SIZE: u16 = 4;
/// The smallest MTU (5.1.4.1).
const MIN_MTU: u16 = 68;

/// The most disks of a SCSI host, and their size in sectors when there are several.
const MAX_UNITS: u8 = 8;
const MAX_CAPACITY_OF_UNITS: u64 = 1 << 31;

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
        if !(1..=MAX_UNITS).contains(&self.units) {
            let message = format!("units = {}: expected 1 to {MAX_UNITS}", self.units);
            return fail("units", message);
        }
        if self.units > 1 && (self.file.is_some() || self.capacity > MAX_CAPACITY_OF_UNITS) {
            let message = format!(
                "units = {}: several disks are in memory, and have {MAX_CAPACITY_OF_UNITS} sectors at most",
                self.units
            );
            return fail("units", message);
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
            ("kind = 'scsi'\nunits = 9", "1 to 8"),
            ("kind = 'scsi'\nunits = 2\nfile = 'a'", "in memory"),
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

//! The device status field.

use serde::{Deserialize, Serialize};

/// The device status field (2.1), bits as the specification numbers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Status(pub u8);

impl Status {
    /// The guest has found the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// The guest knows how to drive the device.
    pub const DRIVER: u8 = 2;
    /// The driver is set up and ready.
    pub const DRIVER_OK: u8 = 4;
    /// Feature negotiation is complete.
    pub const FEATURES_OK: u8 = 8;
    /// The driver has suspended the device (virtio 1.4, 2.1; only with VIRTIO_F_SUSPEND).
    pub const SUSPEND: u8 = 16;
    /// The device has met an error from which it can't recover.
    pub const NEEDS_RESET: u8 = 64;
    /// The guest has given up on the device.
    pub const FAILED: u8 = 128;

    /// Each bit with its name, lowest first.
    pub const NAMES: &'static [(u8, &'static str)] = &[
        (Self::ACKNOWLEDGE, "ACK"),
        (Self::DRIVER, "DRIVER"),
        (Self::DRIVER_OK, "DRIVER_OK"),
        (Self::FEATURES_OK, "FEATURES_OK"),
        (Self::SUSPEND, "SUSPEND"),
        (Self::NEEDS_RESET, "NEEDS_RESET"),
        (Self::FAILED, "FAILED"),
    ];

    /// Whether all of `bits` are set.
    pub const fn has(self, bits: u8) -> bool {
        self.0 & bits == bits
    }

    /// DRIVER_OK set, and neither NEEDS_RESET nor FAILED.
    pub const fn is_live(self) -> bool {
        self.has(Self::DRIVER_OK) && self.0 & (Self::NEEDS_RESET | Self::FAILED) == 0
    }

    /// What the status becomes when the driver writes `val`, not 0, into the legacy register. What the
    /// device sets stays, and a device that was suspended does not run: these registers know no suspend.
    pub const fn legacy_written(self, val: u8) -> Self {
        let own = Self::NEEDS_RESET | Self::SUSPEND;
        let stopped = if self.has(Self::SUSPEND) {
            Self::DRIVER_OK
        } else {
            0
        };
        Self(val & !(own | stopped) | self.0 & own)
    }

    /// What the status becomes, as to SUSPEND, when the driver writes `new`: DRIVER_OK goes while the
    /// device is suspended, and its return resumes (virtio 1.4, 3.4). `agreed`: VIRTIO_F_SUSPEND was.
    pub const fn suspended_by(self, new: Self, agreed: bool) -> Self {
        let plain = new.0 & !Self::SUSPEND;
        if self.has(Self::SUSPEND) {
            if new.has(Self::DRIVER_OK) {
                Self(plain)
            } else {
                Self(plain | Self::SUSPEND)
            }
        } else if new.has(Self::SUSPEND) && self.has(Self::DRIVER_OK) && agreed {
            Self(plain & !Self::DRIVER_OK | Self::SUSPEND)
        } else {
            Self(plain)
        }
    }

    /// The bit of that name.
    pub fn bit_named(name: &str) -> Option<u8> {
        let name = if name == "ACKNOWLEDGE" { "ACK" } else { name };
        Self::NAMES
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(b, _)| *b)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        let mut rest = self.0;
        let mut first = true;
        for (bit, name) in Self::NAMES {
            if rest & bit != 0 {
                rest &= !bit;
                write!(f, "{}{name}", if first { "" } else { "|" })?;
                first = false;
            }
        }
        if rest != 0 {
            write!(f, "{}{rest:#x}", if first { "" } else { "|" })?;
        }
        Ok(())
    }
}

//! Devices that come and go.

use misfire_device::shape::{Attach, Shape};

use super::{Wrong, wrong};

/// What happens to a device's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plug {
    /// The guest is asked to let the device go.
    Orderly,
    /// The device is pulled out.
    Surprise,
    /// The device is put in again.
    Replug,
}

impl Plug {
    /// What a step's `host` asks for.
    pub fn of_command(command: &str) -> Option<Self> {
        let words: Vec<&str> = command.split_whitespace().collect();
        Some(match words.as_slice() {
            ["unplug"] => Self::Orderly,
            ["unplug", "surprise"] => Self::Surprise,
            ["replug"] => Self::Replug,
            _ => return None,
        })
    }

    /// What a fault of this name asks for.
    pub fn of_fault(name: &str) -> Option<Self> {
        Some(match name {
            "unplug.orderly" => Self::Orderly,
            "unplug.surprise" => Self::Surprise,
            "replug" => Self::Replug,
            _ => return None,
        })
    }

    /// Refuses what can't be done to this device.
    pub(super) fn check(self, shape: &Shape) -> Result<(), Wrong> {
        if self == Self::Surprise && shape.attach == Attach::VhostUser {
            return wrong(
                "host",
                "`unplug surprise` is impossible with attach = \"vhost-user\": the function is QEMU's, and answers to the end",
            );
        }
        Ok(())
    }
}

//! A guest of whatever kind, as the steps of a scenario use it.

use std::time::Instant;

use super::firmware::Firmware;
use super::linux::Linux;
use super::reference::Reference;
use super::windows::Windows;
use crate::machine::{Machine, MachineError, Next};

/// A machine with a guest in it. Whatever the kind, what the harness has to know comes as
/// [`MachineLine`](crate::log::MachineLine)s among the lines of [`Guest::next`].
#[derive(Debug)]
pub enum Guest {
    /// The reference guest.
    Reference(Reference),
    /// A Linux of a distribution.
    Linux(Linux),
    /// A firmware with a driver of its own.
    Firmware(Firmware),
    /// A Windows.
    Windows(Box<Windows>),
}

/// What happens to a device's slot, as a guest is told that does not watch its slots itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The button was pressed, or the device was pulled out.
    LetGo {
        /// The device stays in QEMU's slot, without power.
        kept: bool,
        /// It was pulled out.
        surprise: bool,
    },
    /// The device is in its slot again.
    PutIn,
}

impl Guest {
    /// The machine, for its control channel.
    pub fn machine(&mut self) -> &mut Machine {
        match self {
            Self::Reference(guest) => guest.machine(),
            Self::Linux(guest) => guest.machine(),
            Self::Firmware(guest) => guest.machine(),
            Self::Windows(guest) => guest.machine(),
        }
    }

    /// Gives the guest a command, such as `load read dev=0 blocks=64`; its answer is a line.
    pub async fn say(&mut self, command: &str) {
        match self {
            Self::Reference(guest) => guest.machine().say(command).await,
            Self::Linux(guest) => guest.say(command).await,
            Self::Firmware(guest) => guest.say(command).await,
            Self::Windows(guest) => guest.say(command),
        }
    }

    /// Whether it watches its slots itself, as a guest does that has a driver for their ports.
    pub fn watches_slots(&self) -> bool {
        match self {
            Self::Reference(_) | Self::Firmware(_) => true,
            Self::Linux(_) | Self::Windows(_) => false,
        }
    }

    /// Whether it switches the slots of its devices, or has that done for it: then a device that is let go
    /// has no power afterwards. A Windows is not left to it, since QEMU would not survive it
    /// (decision 0010).
    pub fn switches_slots(&self) -> bool {
        !matches!(self, Self::Windows(_))
    }

    /// Whether it leaves the machine to us when it has said that it leaves.
    pub fn waits_for_end(&self) -> bool {
        matches!(self, Self::Linux(_))
    }

    /// Tells a guest that does not watch its slots what happens to one. It says when it has seen to it.
    pub fn slot(&mut self, dev: u8, happens: Slot) {
        match self {
            Self::Reference(_) | Self::Firmware(_) => {}
            Self::Linux(guest) => guest.slot(dev, happens),
            Self::Windows(guest) => guest.slot(dev, happens),
        }
    }

    /// The next line of the guest, until `deadline`; `awaited` says what for, in errors.
    ///
    /// # Errors
    /// When QEMU fails; see [`Machine::next`].
    pub async fn next(&mut self, awaited: &str, deadline: Instant) -> Result<Next, MachineError> {
        match self {
            Self::Reference(guest) => guest.machine().next(awaited, deadline).await,
            Self::Linux(guest) => guest.next(awaited, deadline).await,
            Self::Firmware(guest) => guest.next(awaited, deadline).await,
            Self::Windows(guest) => guest.next(awaited, deadline).await,
        }
    }

    /// Finds out what is wrong with a guest that crashed or does not answer, where that can be found out.
    /// What was found is in the journal; whether the guest can be told more.
    pub async fn examine(&mut self) -> bool {
        match self {
            Self::Windows(guest) => guest.examine().await.lives,
            Self::Reference(_) | Self::Linux(_) | Self::Firmware(_) => true,
        }
    }

    /// How a person can look at the guest, where one can.
    pub async fn show(&mut self) -> Option<String> {
        match self {
            Self::Windows(guest) => Some(guest.show().await),
            Self::Reference(_) | Self::Linux(_) | Self::Firmware(_) => None,
        }
    }

    /// Ends the machine, by force if it is still there.
    ///
    /// # Errors
    /// When the operating system can't tell how it ended.
    pub async fn end(self) -> Result<(), MachineError> {
        match self {
            Self::Reference(guest) => guest.end().await,
            Self::Linux(guest) => guest.end().await,
            Self::Firmware(guest) => guest.end().await,
            Self::Windows(guest) => guest.end().await,
        }
    }
}

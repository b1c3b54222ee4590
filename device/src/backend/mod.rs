//! The correct virtio devices: rings, and what each kind of device does with their chains.
//!
//! Nothing here knows of sockets, threads or clocks. Guest memory and the disk are borrowed for one
//! request at a time, and whatever a driver puts into a ring is an answer or a broken queue, never
//! an error of ours.

mod block;
mod chain;
mod config;
mod console;
mod descriptor;
mod device;
mod entropy;
mod lane;
mod ledger;
mod net;
mod packed;
mod ring;
mod scsi;
mod signaller;
mod storage;
mod walk;

#[cfg(test)]
mod guest;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kinds;
#[cfg(test)]
mod one;
#[cfg(test)]
mod packed_driver;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod watching;

pub use block::{Block, Command, Done, Request};
pub use chain::{Chain, NoStatus};
pub use config::{CONFIG_BYTES, Configuration, device_features};
pub use console::Console;
pub use device::{Device, Look, Memory, Offer};
pub use entropy::Entropy;
pub use ledger::Ledger;
pub use net::{Net, default_mac};
pub use packed::Packed;
pub use ring::{BrokenRing, is_drained, needs_interrupt, peek, settle, take, write_used};
pub use scsi::Scsi;
pub use signaller::Signaller;
pub use storage::Storage;
pub use walk::RingFeatures;

use crate::trace::{Input, What};

/// Hears what the backend does: chains fetched and used, notifications, vhost-user messages.
///
/// It is called from the backend's threads, with none of its locks held.
pub trait Observer: Send + Sync {
    /// Something happened, or (for `Complete`) is about to. `Used` is observed only by an observer
    /// that raises interrupts itself.
    fn observe(&self, input: Input);

    /// A ring is about to be worked on, or was; `look` reads its state for a device number.
    fn ring(&self, look: &dyn Fn(u8) -> Option<What>) {
        let _ = look;
    }

    /// Something was found out about a ring that [`with_ledger`](Self::with_ledger) told of.
    fn note(&self, what: What) {
        let _ = what;
    }

    /// Lets `act` have the ledger of the device's rings, with which nobody else acts meanwhile.
    /// Returns whether there is one: an observer without it does not care for rings. `act` must not
    /// observe anything.
    fn with_ledger(&self, act: &mut dyn FnMut(&mut Ledger)) -> bool {
        let _ = act;
        false
    }

    /// Whether the observer itself has the used rings written, when and as it likes, for each `Complete`
    /// that it hears.
    fn writes_used(&self) -> bool {
        false
    }

    /// Whether the observer itself raises the interrupt of a queue when it hears `Used`.
    fn raises_interrupts(&self) -> bool {
        false
    }
}

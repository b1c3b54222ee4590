//! What a verb is made of: the hooks through which it reaches what a device hears and shows.

use std::fmt;

use dyn_clone::DynClone;

use super::bench::{Bench, Fate, Scene};
use super::predicate::Facts;
use super::trigger::{Carrier, Occasion};
use crate::endpoint::Nanos;
use crate::trace::{Access, Cause, Device, Legality};

/// An armed verb.
pub trait Act: DynClone + fmt::Debug + Send + Sync {
    /// Its class, as things are.
    fn class(&self, world: &Device) -> Legality;

    /// What it touches: a cause such as `q1` or `cfg`, `status`, `isr`, `device`.
    fn object(&self, occasion: &Occasion<'_>) -> String;

    /// Whether it can act now. A match at which it can't is no match.
    fn applies(&self, _occasion: &Occasion<'_>, _scene: &Scene<'_>) -> bool {
        true
    }

    /// It fires.
    fn fire(&mut self, _occasion: &Occasion<'_>, _bench: &mut Bench<'_>) {}

    /// The driver writes a register. Returns false if the device is not to hear of it.
    fn rewrite(&mut self, _access: &mut Access, _firing: Firing, _world: &Device) -> bool {
        true
    }

    /// The driver reads a register, and is about to be shown this value. `facts.val` is the value
    /// that the device meant.
    fn show(&mut self, _access: &Access, _value: &mut u64, _firing: Firing, _facts: &Facts<'_>) {}

    /// An interrupt is due, whether or not it is the trigger.
    fn due(&mut self, _interrupt: Due, _fate: &mut Fate, _firing: Firing, _scene: &Scene<'_>) {}

    /// Whether this command of the host lets come what it keeps.
    fn released_by(&self, _command: &str) -> bool {
        false
    }

    /// The device is reset.
    fn reset(&mut self) {}

    /// The device is reset. `lasting`: the fault has a lifetime of its own (`until`), which is not over.
    fn forget(&mut self, _lasting: bool) {
        self.reset();
    }
}

dyn_clone::clone_trait_object!(Act);

/// An interrupt that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The event.
    pub cause: Cause,
    /// The message; none for the line, and where the transport is not ours.
    pub entry: Option<u16>,
    /// What carries it.
    pub carrier: Carrier,
    /// The time.
    pub now: Nanos,
}

/// Whether the fault fires now, and whether what an earlier firing set up goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing {
    /// It fires at this access.
    pub now: bool,
    /// Its lifetime is not over.
    pub goes_on: bool,
}

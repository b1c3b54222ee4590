//! What a verb is made of: the hooks through which it reaches what a device hears and shows.

use std::fmt;

use dyn_clone::DynClone;

use super::bench::{Bench, Scene};
use super::predicate::Facts;
use super::trigger::Occasion;
use crate::trace::{Access, Device, Legality};

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

    /// The device is reset.
    fn reset(&mut self) {}
}

dyn_clone::clone_trait_object!(Act);

/// Whether the fault fires now, and whether what an earlier firing set up goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing {
    /// It fires at this access.
    pub now: bool,
    /// Its lifetime is not over.
    pub goes_on: bool,
}

//! Functions beside the devices under test: they have drivers of somebody else, which are there only
//! to hold interrupts.

use super::bus::Slot;
use super::policy::{self, Grant, Inf, Kind, Os};
use super::vectors::Vectors;
use crate::dbg_print;
use crate::hal::pci::Function;

/// Hands the function what it asks for, as to any other, and lets it keep that. Nothing where there
/// is no function.
pub fn settle(function: Function, vectors: &mut Vectors) {
    if function.identity().is_none() {
        return;
    }
    let capabilities = Slot::new(function).capabilities();
    let kind = if capabilities.msix > 0 {
        Kind::Msix
    } else {
        Kind::Msi
    };
    let wanted = policy::requirements(capabilities, Inf::default());
    let granted = policy::assign(&wanted, kind, Os::default(), Grant::All, vectors);
    dbg_print!(
        "PNP: the function in slot {} asks for {} messages and gets {}",
        function.slot(),
        capabilities.msix.max(capabilities.msi),
        granted.map_or(0, |granted| granted.granted())
    );
}

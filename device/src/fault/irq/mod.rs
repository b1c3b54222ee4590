//! Interrupts, as messages, as the line, and as calls of the backend.

mod delay;
mod drop;
mod dup;
mod misroute;
mod spurious;

pub(super) use delay::VERB as DELAY;
pub(super) use drop::VERB as DROP;
pub(super) use dup::VERB as DUP;
pub(super) use misroute::VERB as MISROUTE;
pub(super) use spurious::VERB as SPURIOUS;

use super::trigger::{Carrier, Occasion};

/// The event of the interrupt at hand.
fn object(occasion: &Occasion<'_>) -> String {
    match occasion {
        Occasion::Irq { cause, .. } => cause.to_string(),
        _ => "device".to_owned(),
    }
}

fn carrier(occasion: &Occasion<'_>) -> Option<Carrier> {
    match occasion {
        Occasion::Irq { carrier, .. } => Some(*carrier),
        _ => None,
    }
}

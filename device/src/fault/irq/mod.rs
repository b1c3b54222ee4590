//! Interrupts, as messages, as the line, and as calls of the backend.

mod delay;
mod drop;
mod dup;
mod early;
mod gather;
mod misroute;
mod spurious;

pub(super) use delay::VERB as DELAY;
pub(super) use drop::VERB as DROP;
pub(super) use dup::VERB as DUP;
pub(super) use early::VERB as EARLY;
pub(super) use gather::{COALESCE, SIMUL};
pub(super) use misroute::VERB as MISROUTE;
pub(super) use spurious::VERB as SPURIOUS;

use super::args::Args;
use super::catalogue::Arg;
use super::error::FaultError;
use super::trigger::{Carrier, Occasion};
use crate::endpoint::Nanos;

/// Messages that come back to back are one interrupt to the local APIC, which keeps only one of a
/// vector waiting.
const GAP: Arg = Arg {
    name: "gap",
    kind: "time",
    default: Some("1ms"),
    words: "from one message to the next; with \"0s\" they come back to back, and the processor's local APIC may take several for one",
};

/// The argument `gap`, in nanoseconds.
fn gap(args: &Args<'_>) -> Result<Nanos, FaultError> {
    const USUAL: Nanos = 1_000_000;
    Ok(args.time(GAP.name)?.unwrap_or(USUAL))
}

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

//! The ISR status, and the line.

mod add;
mod asserted;
mod intx_drop;
mod intx_peer;
mod intx_stuck;
mod msix;
mod override_;
mod stale;

pub(super) use add::VERB as ADD;
pub(super) use intx_drop::VERB as INTX_DROP;
pub(super) use intx_peer::VERB as INTX_PEER;
pub(super) use intx_stuck::VERB as INTX_STUCK;
pub(super) use msix::VERB as MSIX;
pub(super) use override_::VERB as OVERRIDE;
pub(super) use stale::VERB as STALE;

use super::trigger::{Carrier, Occasion};

fn carrier(occasion: &Occasion<'_>) -> Option<Carrier> {
    match occasion {
        Occasion::Irq { carrier, .. } => Some(*carrier),
        _ => None,
    }
}

//! The driver rules: what a driver must do, told from what a trace shows that it did.
//!
//! A [`Rule`] is an id, a level, a sentence, its source, and a small state machine over events.
//! [`judge`] runs all of them over a trace. Nothing here opens, waits, logs or reads a clock: the
//! same trace gives the same judgements.
//!
//! Proofs are by order, not by time, so that a loaded machine gives the same outcome as an idle
//! one: where the rule's idea is "within a time", the machine waits for the end of the epoch (the
//! next reset), of the trace, or for the guest to say that something failed.

mod acc;
mod cap;
mod catalogue;
mod cfg;
mod chains;
mod epoch;
mod feat;
mod init;
mod isr;
mod judge;
mod leg;
mod logged;
mod machine;
mod msix;
mod msix_use;
mod nr;
mod ntf;
mod ntf_data;
mod ntf_packed;
mod ntf_unwanted;
mod pci;
mod pkd;
mod q;
mod qrst;
mod registry;
mod rings;
mod rob;
mod rst;
mod spl;
mod spl_used;
mod state;
mod survive;
mod sus;
mod track;
mod unobserved;
mod win_msi;
mod win_ndis;
mod win_pnp;
mod win_shape;
mod win_spt;
mod win_use;

#[cfg(test)]
pub(crate) mod testing;

pub use catalogue::{Explained, explain};
pub use judge::{
    Context, FIRMWARE, GUEST, IDLE_FIRMWARE, Judgement, LEAVE, Outcome, Severity, judge, tenure,
};
pub use registry::{FAMILIES, Family, Level, Rule, Sight, rule, rules};

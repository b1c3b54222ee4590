//! The ISR status.

mod msix;
mod stale;

pub(super) use msix::VERB as MSIX;
pub(super) use stale::VERB as STALE;

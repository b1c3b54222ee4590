//! Device configuration.

mod change;
mod churn;
mod freeze;

pub(super) use change::VERB as CHANGE;
pub(super) use churn::VERB as CHURN;
pub(super) use freeze::VERB as FREEZE;

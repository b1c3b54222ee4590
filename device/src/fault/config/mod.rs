//! Device configuration.

mod change;

pub(super) use change::VERB as CHANGE;

//! Resets that take their time.

mod hang;
mod slow;

pub(super) use hang::VERB as HANG;
pub(super) use slow::VERB as SLOW;

//! Resets that take their time, or leave something behind.

mod hang;
mod partial;
mod slow;

pub(super) use hang::VERB as HANG;
pub(super) use partial::VERB as PARTIAL;
pub(super) use slow::VERB as SLOW;

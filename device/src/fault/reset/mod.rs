//! Resets that take their time, or leave something behind: of the device, and of one queue.

mod hang;
mod length;
mod partial;
mod queue;
mod queue_hang;
mod queue_slow;
mod slow;

pub(super) use hang::VERB as HANG;
pub(super) use partial::VERB as PARTIAL;
pub(super) use queue_hang::VERB as QUEUE_HANG;
pub(super) use queue_slow::VERB as QUEUE_SLOW;
pub(super) use slow::VERB as SLOW;

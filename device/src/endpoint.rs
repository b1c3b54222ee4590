//! The shape of everything that can stand between a port and a device.

use crate::trace::{Access, Effects, Input, Op, Space};

/// Nanoseconds on the monotonic clock of the journal.
pub type Nanos = u64;

/// A device as a state machine: something reaches it, it brings something about.
///
/// No step opens, waits, logs or reads a clock, and none can fail or panic whatever the guest does.
pub trait Endpoint {
    /// Takes one input at time `now`.
    fn step(&mut self, now: Nanos, input: &Input) -> Effects;

    /// Names the register that an access of the guest reaches, and the queue it concerns.
    fn name(&self, op: Op, space: Space, off: u64, width: u8, val: Option<u64>) -> Access;
}

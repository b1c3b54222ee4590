//! What a kind of device adds to what all virtio devices have.

use super::base::{Base, Tally};
use crate::driver::Settings;
use crate::driver::args::Args;
use crate::nt::status::NtStatus;
use alloc::string::String;
use alloc::vec::Vec;

/// A queue that a driver wants to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its number.
    pub index: u16,
    /// Requests that are to be on it at once.
    pub depth: u16,
}

/// A kind of device: the features it wants, its configuration, its queues, its loads. Queues are
/// named by their place in the list that `set_up` returned.
pub trait Function {
    /// Features that the driver accepts when they are offered, beside those of the transport.
    const FEATURES: u64;
    /// Features, each with those that it requires: without them it is not accepted.
    const REQUIRES: &'static [(u64, u64)] = &[];

    /// The function of one device.
    fn new(settings: Settings) -> Self;

    /// After FEATURES_OK: reads the configuration that the features allow, and says which queues
    /// are to be used.
    ///
    /// # Errors
    /// The device can't be used.
    fn set_up(&mut self, base: &mut Base) -> Result<Vec<Wanted>, NtStatus>;

    /// Right before DRIVER_OK.
    fn before_live(&mut self, _base: &mut Base) {}

    /// Right after DRIVER_OK: gives the device what it has to have before it can begin.
    fn went_live(&mut self, _base: &mut Base) {}

    /// After the interrupts' work, while the device is live: takes what came back unasked.
    fn serve(&mut self, _base: &mut Base) {}

    /// Something is late, and the device has not used it. `false`: the device is to be reset.
    fn timed_out(&mut self, _base: &mut Base, _place: usize, _slot: usize) -> bool {
        false
    }

    /// When `go_on` wants to be called again at the latest, beside the requests' time limits, in
    /// microseconds since boot.
    fn deadline(&self) -> u64 {
        u64::MAX
    }

    /// After a change of the configuration: reads it again. The result is what `wait-config` says.
    fn config_changed(&mut self, base: &mut Base) -> String;

    /// Whether nothing is under way that the start or a change has led to.
    fn is_settled(&self) -> bool {
        true
    }

    /// Begins a load.
    ///
    /// # Errors
    /// A word for what is wrong with the arguments.
    fn begin(&mut self, base: &mut Base, args: &Args) -> Result<(), &'static str>;

    /// Goes on with the load: takes what is done and, unless there is a reason to end it, asks for
    /// more. Whether the load is over.
    fn go_on(&mut self, base: &mut Base, tally: &mut Tally) -> bool;

    /// What the load that runs counts.
    fn counted(&self) -> &'static str;

    /// `key=value` for the `state` command.
    fn state(&self) -> String;
}

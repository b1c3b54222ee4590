//! The way of a Windows from its boot to its last workload, stage by stage: what happens and times go
//! in, what is to be done comes out. Nothing here opens, waits or reads a clock.

mod device;
mod order;
mod script;
mod slots;
mod way;
mod work;

pub use order::{Answer, Do, Ended, Job, Lane, Limits, Order, Place, Stage, StageError, Time};
pub use way::Course;

#[cfg(test)]
mod tests;

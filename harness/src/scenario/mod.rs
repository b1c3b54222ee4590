//! The scenario file: what it may hold, what it means, and where they are found.
//!
//! Reading has two stages. A [`file::ScenarioFile`] is what was written; a [`Scenario`] is what it
//! means, and all its values are valid. A file gives one scenario, and one more for each
//! `[[variant]]`. Whatever is wrong is a [`Problem`], which names the file, the line and what was
//! expected.

mod check;
mod expect;
pub mod file;
mod guest;
mod library;
mod matrix;
/// The reference guest's own list.
#[path = "../../guests/reference/src/driver/mistake/list/mod.rs"]
mod mistakes;
mod schema;
mod step;

use misfire_device::file::{document, problem};

pub use check::{Scenario, Vocabulary, read};
pub use expect::{Expect, Expectations, Interrupts, Io, Known, Outcome};
pub use guest::{GuestParameters, MOST_PROCESSORS, Parameters};
pub use library::{Library, Partition, PartitionError, find_root};
pub use misfire_device::file::{DeviceUnderTest, Problem, Problems, nearest};
pub use mistakes::{MOST as MOST_MISTAKES, Mistake, mistakes};
pub use schema::schema;
pub use step::{Action, Counted, Load, Plug, Ports, Step, Wait, parse_duration};

//! What a driver's INF says, against the device and the operating system that it is for. Nothing is
//! started: the file alone tells whether the driver would be chosen, and how many messages Plug and
//! Play may hand out.

mod check;
mod driver;
mod file;
mod ids;
mod parameters;
mod text;

#[cfg(test)]
mod tests;

pub use check::{Device, Finding, Report, Severity, check};
pub use driver::{Architecture, Driver, Entry, Interrupts, Model};
pub use file::{Inf, Line};
pub use ids::hardware_ids;
pub use parameters::{Data, Parameter, Parameters};
pub use text::decode;

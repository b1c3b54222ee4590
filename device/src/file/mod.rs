//! Files that describe devices: a device file, and the part of a scenario that is the same.
//!
//! Reading has two stages: what was written ([`DeviceFile`]) and what it means
//! ([`DeviceUnderTest`]), all of whose values are valid. Whatever is wrong is a [`Problem`], which
//! names the file, the line and what was expected.

mod device;
pub mod document;
pub mod problem;

pub use device::{DeviceFile, DeviceUnderTest, MAX_DEVICES, devices, load, read};
pub use document::{At, Document, Source};
pub use problem::{Problem, Problems, nearest};

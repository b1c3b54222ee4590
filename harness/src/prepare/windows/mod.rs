//! A Windows guest: installed from its ISO without a question, or an image that is there already, with the
//! settings that tests of drivers need.
//!
//! The settings are those of `harness/guests/windows/setup/`. None of it has been run on a Windows yet: what it
//! was tested with, and what a first run has to settle, is in `docs/windows.md`.

mod answer;
mod argv;
mod boot;
mod check;
mod course;
mod disk;
mod error;
mod files;
mod iso;
mod key;
mod marker;
mod medium;
mod pace;
mod record;
mod release;
mod request;
mod stick;

pub use check::{Checked, GuestOnDisk};
pub use course::windows;
pub use error::WindowsError;
pub use iso::{Image, Iso};
pub use marker::Marker;
pub use pace::Pace;
pub use record::{Record, Stage};
pub use release::Release;
pub use request::{Firmware, Source, WindowsRequest};

#[cfg(test)]
mod tests;

//! `[windows]` of a guest file: what it says ([`WindowsFile`]), the machine that it describes ([`Windows`]),
//! and what is done in it before the devices come.

mod image;
mod jobs;
mod section;

pub use image::Windows;
pub use jobs::WindowsFileError;
pub use section::{LimitsFile, LogFile, WindowsFile};

#[cfg(test)]
mod tests;

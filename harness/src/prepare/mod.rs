//! Making guests that can be booted out of what others packaged: `misfire prepare`.
//!
//! [`linux()`] unpacks a distribution's kernel and what an initial RAM disk needs, without root, into a
//! [`Store`], where a run finds it by name. [`OwnParts`] are what a guest file puts in their place.
//! [`windows()`] installs a Windows from the user's ISO.

mod error;
mod initramfs;
mod linux;
mod modules;
mod own;
mod packages;
mod store;
mod windows;

pub use error::PrepareError;
pub(crate) use initramfs::empty_archive;
pub use linux::{LinuxRequest, linux};
pub(crate) use own::late_doubts;
pub use own::{LateModule, Own, OwnParts};
pub use store::{Prepared, Store};
pub use windows::{
    Checked, Firmware, GuestOnDisk, Image, Iso, Marker, Pace, Record, Release, Source, Stage,
    WindowsError, WindowsRequest, windows,
};

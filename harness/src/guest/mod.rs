//! Guests: how to boot, talk to and read each.

pub mod agent;
mod any;
mod direct;
pub mod file;
mod firmware;
mod heard;
pub mod linux;
mod nt;
mod reference;
mod warm;
pub mod windows;

pub use any::{Guest, Slot};
pub use file::{GuestFile, guest_schema};
pub use firmware::{Firmware, FirmwareFile, FirmwareImage, OVMF, SEABIOS};
pub use heard::{Heard, Silence};
pub use nt::{NT, NtDriver, STANDING};
pub use reference::{MEMORY_MIB, Ready, Reference};

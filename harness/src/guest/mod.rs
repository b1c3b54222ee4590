//! Guests: how to boot, talk to and read each.

mod any;
mod direct;
mod heard;
mod reference;

pub use any::Guest;
pub use heard::{Heard, Silence};
pub use reference::{MEMORY_MIB, Ready, Reference};

//! Guests: how to boot, talk to and read each.

mod direct;
mod heard;
mod reference;

pub use heard::{Heard, Silence};
pub use reference::{MEMORY_MIB, Ready, Reference};

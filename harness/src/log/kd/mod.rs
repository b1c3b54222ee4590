//! The kernel debugger of Windows over a serial line, from the debugger's side: bytes in, bytes and
//! events out. It prints what drivers print, knows which images are loaded, tells crashes, and answers
//! everything at once, so that the target never waits.
//!
//! The protocol is that of `bcdedit /debug on` with `dbgsettings serial`.

mod bugcheck;
mod client;
pub mod frame;
mod lines;
mod link;
mod modules;
pub mod packet;
mod stop;

#[cfg(test)]
mod tests;

pub use bugcheck::Bugcheck;
pub use client::{Client, Event, OnBugcheck};
pub use link::{Heard, Link, Time};
pub use modules::{Module, Modules};

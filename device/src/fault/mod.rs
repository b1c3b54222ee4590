//! Misbehaviours, and the one place where they meet a device.
//!
//! A fault is *when* ([`on`](FaultFile::on), [`where`](FaultFile::condition), [`nth`](FaultFile::nth),
//! [`per`](FaultFile::per)), *what* ([`do`](FaultFile::verb), [`args`](FaultFile::args)) and *for how
//! long* ([`until`](FaultFile::until)). An [`Injector`] stands between a port and a correct device and
//! changes what the device hears, or what it shows; the device knows nothing of it.

mod error;
mod file;
mod host;
mod injector;

pub use error::FaultError;
pub use file::{Fault, FaultFile};
pub use host::device_input;
pub use injector::{Injector, Outcome};

//! Misbehaviours, and the one place where they meet a device.
//!
//! A fault is *when* ([`on`](FaultFile::on), [`where`](FaultFile::condition), [`nth`](FaultFile::nth),
//! [`per`](FaultFile::per)), *what* ([`do`](FaultFile::verb), [`args`](FaultFile::args)) and *for how
//! long* ([`until`](FaultFile::until)). An [`Injector`] stands between a port and a correct device and
//! changes what the device hears, or what it shows; the device knows nothing of it.

#![forbid(unsafe_code)]

mod act;
mod args;
mod bench;
mod catalogue;
mod error;
mod file;
mod host;
mod injector;
#[cfg(test)]
mod legacy_tests;
mod line;
pub mod predicate;
mod schedule;
mod table;
#[cfg(test)]
mod testing;
mod trigger;

mod config;
mod device;
mod irq;
mod isr;
mod msix;
mod power;
mod reg;
mod reset;
mod ring;
mod slot;
mod status;
mod vector;

pub use catalogue::{Arg, CATALOGUE, Needs, Verb};
pub use error::FaultError;
pub use file::{Fault, FaultFile, check_references};
pub use host::{config_words, device_input};
pub use injector::{Injector, MAX_FIRINGS, MAX_HEARD, MAX_SHOWN, Outcome};
pub use predicate::{Facts, Name, Predicate};
pub use schedule::{Nth, Per, Until};
pub use table::{Apart, Cell, IMPOSSIBLE, OTHERWISE, Standing, TABLE, standing};
pub use trigger::{On, Source, Trigger};

#[cfg(test)]
mod tests;

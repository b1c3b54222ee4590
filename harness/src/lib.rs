//! Misfire's harness: it boots a guest in QEMU with a misbehaving device attached, watches both
//! sides, and says which rules the driver under test kept and which it broke.
//!
//! Direction of use: [`scenario`], [`inf`], [`log`], [`rules`], [`transcript`], [`snapshot`],
//! [`verdict`], [`proof`] and [`report`] know nothing of machines; [`machine`] and [`guest`] know
//! nothing of scenarios; [`run`]
//! joins them, and [`cli`] is what is typed.

// The schema of scenario files is one piece.
#![recursion_limit = "256"]

pub mod catalogue;
pub mod cli;
pub mod doctor;
pub mod guest;
pub mod image;
pub mod inf;
pub mod log;
pub mod machine;
pub mod prepare;
pub mod proof;
pub mod report;
pub mod rules;
pub mod run;
pub mod scenario;
pub mod snapshot;
pub mod transcript;
pub mod verdict;

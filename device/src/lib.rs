//! Misfire's device: a correct PCI function and virtio backend, the faults around them, and the
//! ports through which a virtual machine reaches them.
//!
//! Direction of use: [`spec`] → [`trace`] → [`function`], `backend` → [`fault`] → [`port`].

pub mod backend;
pub mod command;
pub mod endpoint;
pub mod fault;
pub mod file;
pub mod function;
pub mod port;
pub mod shape;
pub mod spec;
pub mod trace;

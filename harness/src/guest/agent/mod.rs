//! QEMU's guest agent over a serial port that may have carried anything before: the agent was not there yet, or in
//! the middle of an answer when the machine's state was kept. One client for every system.
//!
//! [`Talk`] is what is said and what is heard, [`Agent`] waits for it. Where there is none but a PowerShell that reads
//! commands from the port, that one is made an agent of first ([`Agent::or_powershell`]).

mod client;
mod deeds;
mod error;
mod lines;
mod prompt;
mod talk;

pub use client::{Agent, Limit};
pub use error::AgentError;
pub(crate) use prompt::{Prompt, Step};
pub use qapi::qga;
pub use talk::{Failure, Heard, Talk};

#[cfg(test)]
mod tests;

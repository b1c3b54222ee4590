//! A Windows: a driver where it is meant to run.
//!
//! Its kernel is heard through its debugger (COM1), which a task of ours answers at once; it is told what
//! to do through QEMU's guest agent (COM2). [`course`] says what comes when, here it is done. Devices
//! are put in when it is ready; a guest that was installed once is restored from then on.
//!
//! Everything here was tried with a stand-in, and with no Windows yet.

mod boot;
pub mod course;
mod error;
mod evidence;
mod file;
mod hearing;
mod orders;
mod warm;
pub mod words;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use misfire_device::port::Journal;
use tokio::sync::mpsc;

pub use boot::Setting;
use course::{Answer, Course, Lane, Time};
pub use error::WindowsError;
use evidence::Signs;
pub use evidence::{Evidence, Examined};
pub use file::{LimitsFile, LogFile, Windows as Image, WindowsFile, WindowsFileError};
use orders::Given;

use super::Slot;
use super::warm::Kept;
use crate::log::driver::Patterns;
use crate::machine::{Machine, MachineError};

/// Where the harness's files are in the guest, and its script there.
const FOLDER: &str = "C:\\misfire";
const SCRIPT_AT: &str = "C:\\misfire\\misfire.ps1";
const SCRIPT: &str = include_str!("../../../guests/windows/misfire.ps1");
const SCRIPT_ARGS: [&str; 5] = [
    "-NoProfile",
    "-NonInteractive",
    "-ExecutionPolicy",
    "Bypass",
    "-File",
];

/// A machine with a Windows in it.
pub struct Windows {
    machine: Machine,
    journal: Arc<Journal>,
    course: Course,
    begin: Instant,
    orders: mpsc::UnboundedSender<Given>,
    answers: mpsc::UnboundedReceiver<(Lane, Answer)>,
    lines: VecDeque<String>,
    evidence: Option<PathBuf>,
    dump: bool,
    patterns: Arc<Patterns>,
    nodes: Vec<Option<String>>,
    /// That it crashed is known.
    crashed: bool,
    /// The debugger has not told of it, and until when its stop code is waited for.
    panicked: Option<(Instant, Option<[u64; 5]>)>,
    /// How the guest itself has told the host of it.
    signs: Signs,
    /// It has told its debugger that it starts again, and has not crashed.
    restarts: bool,
    /// How many times longer it may take to answer than one under KVM.
    pace: u32,
    /// Nobody speaks to the agent any more.
    deaf: bool,
    /// The machine is at its end.
    left: Option<i32>,
    /// What it was restored from, whose disk it uses.
    _state: Option<Kept<PathBuf>>,
}

impl std::fmt::Debug for Windows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windows")
            .field("machine", &self.machine)
            .field("course", &self.course)
            .finish_non_exhaustive()
    }
}

impl Windows {
    /// The machine, for its control channel.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Gives the guest a command as the reference guest's console takes it.
    pub fn say(&mut self, command: &str) {
        self.course.say(command);
    }

    /// Tells the guest what happens to the slot of a device, whatever it is doing.
    pub fn slot(&mut self, dev: u8, happens: Slot) {
        let now = self.now();
        self.course.slot(now, dev.into(), happens);
    }

    fn now(&self) -> Time {
        self.begin.elapsed()
    }

    /// Ends the machine, by force if it is still there.
    ///
    /// # Errors
    /// When the operating system can't tell how it ended.
    pub async fn end(self) -> Result<(), MachineError> {
        self.machine.end().await.map(|_| ())
    }
}

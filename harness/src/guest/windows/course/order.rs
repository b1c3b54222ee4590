//! What a course says is to be done, and what it is told of.

use std::time::Duration;

use super::super::super::agent::AgentError;

/// Time since the machine was started.
pub type Time = Duration;

/// A part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Until the kernel speaks to its debugger.
    Boot,
    /// Until the agent answers.
    Ready,
    /// The driver package is installed, and settings are made.
    Install,
    /// It is started again, because something that was installed asks for it.
    Restart,
    /// The devices are put in.
    Plug,
    /// Their nodes are looked at until a driver has started them, or has not.
    Device,
    /// It takes commands.
    Work,
}

impl Stage {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Ready => "ready",
            Self::Install => "install",
            Self::Restart => "restart",
            Self::Plug => "plug",
            Self::Device => "device",
            Self::Work => "work",
        }
    }
}

/// How long each stage may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// [`Stage::Boot`].
    pub boot: Time,
    /// [`Stage::Ready`].
    pub ready: Time,
    /// Each program of [`Stage::Install`].
    pub install: Time,
    /// [`Stage::Restart`].
    pub restart: Time,
    /// [`Stage::Device`], for each device.
    pub device: Time,
    /// Each command of [`Stage::Work`].
    pub work: Time,
}

/// A stage can't be got through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stage `{}`: {why}", stage.name())]
pub struct StageError {
    /// Which.
    pub stage: Stage,
    /// Why not.
    pub why: String,
}

/// A program that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: u32,
    /// What it printed.
    pub output: String,
    /// What it printed about errors.
    pub errors: String,
}

/// What the agent came back with.
#[derive(Debug)]
pub enum Answer {
    /// A greeting: which agent it is, in words.
    Greeted(Result<String, AgentError>),
    /// A file, or a program whose end nobody sees.
    Done(Result<(), AgentError>),
    /// The last bytes of a file.
    Read(Result<Vec<u8>, AgentError>),
    /// A program.
    Ran(Result<Ended, AgentError>),
}

/// Who has the agent do something: what one does takes its time, and the other does not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The way to the devices, and commands: one after the other.
    Commands,
    /// What happens to slots meanwhile.
    Slots,
}

/// What the agent is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// To answer.
    Greet,
    /// To write a file.
    Write {
        /// Where.
        path: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// To read the end of a file.
    Read {
        /// Where.
        path: String,
    },
    /// To start a program whose end nobody sees.
    Start {
        /// Its name.
        program: String,
        /// Its arguments.
        args: Vec<String>,
    },
    /// To run a program to its end.
    Run {
        /// Its name.
        program: String,
        /// Its arguments.
        args: Vec<String>,
    },
}

/// One thing of an installation, in words and in deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it does, for errors.
    pub what: String,
    /// How it is done.
    pub order: Order,
    /// Whether it takes effect only when the system was started again.
    pub restarts: bool,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The bus that it is on.
    pub bus: i64,
    /// Queues that it has.
    pub queues: u16,
    /// What is set at its node before it is used: arguments of the script; none: nothing.
    pub settings: Option<String>,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Do {
    /// Give the agent an order, with a time limit.
    Order(Order, Time),
    /// The same of [`Lane::Slots`].
    Beside(Order, Time),
    /// Put the devices in.
    Plug,
    /// A line for the log.
    Line(String),
    /// The way ends here.
    Fail(StageError),
    /// The guest has let its devices go: end the machine.
    Leave,
}

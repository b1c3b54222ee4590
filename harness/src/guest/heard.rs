//! What came of waiting for a guest.

use std::fmt;
use std::time::Duration;

use crate::log::Crash;

/// What came of waiting for a guest. All of it is the guest's conduct, so none of it is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// What was awaited.
    Answer(T),
    /// The guest stopped as Windows does on a bug check.
    Crashed(Crash),
    /// Nothing that was awaited came in time.
    Silent(Silence),
    /// The guest ended the machine, with this exit status of QEMU.
    Left(i32),
    /// The guest can't do what its parameters or a command say.
    Error(String),
}

impl<T> Heard<T> {
    /// The answer, if it is one.
    pub fn answer(self) -> Option<T> {
        match self {
            Self::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    /// The same conduct with another answer.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Heard<U> {
        match self {
            Self::Answer(answer) => Heard::Answer(f(answer)),
            Self::Crashed(crash) => Heard::Crashed(crash),
            Self::Silent(silence) => Heard::Silent(silence),
            Self::Left(status) => Heard::Left(status),
            Self::Error(text) => Heard::Error(text),
        }
    }
}

/// Nothing that was awaited came in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// What was awaited, in words.
    pub awaited: String,
    /// How long.
    pub limit: Duration,
    /// The last lines that the guest had printed, oldest first.
    pub last: Vec<String>,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (awaited, limit) = (&self.awaited, self.limit.as_secs_f64());
        write!(f, "{awaited} did not come within {limit} s; ")?;
        match self.last.as_slice() {
            [] => f.write_str("the guest had printed nothing"),
            lines => write!(f, "the guest's last lines: {}", lines.join(" | ")),
        }
    }
}

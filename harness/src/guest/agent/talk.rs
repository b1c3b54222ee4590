//! What is said to an agent and what it answers. Nothing here opens, waits or reads a clock.

use std::hash::{BuildHasher as _, RandomState};

use qapi::qga::{QgaCommand, guest_sync_delimited};
use qapi::{Command, Execute, Never};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::lines::{BEGIN, Line, Lines, TooLong};

/// The longest line in bytes: both outputs of a program, each as long as an agent keeps it, fit in.
const LONGEST: usize = 64 << 20;
/// The longest line that is something else than an answer.
const LONGEST_OTHER: usize = 64 << 10;
/// The most characters of what an agent says that are told to anybody.
const MOST_TOLD: usize = 400;
/// Numbers of greetings begin below this; PowerShell's integers and JSON's hold them.
const NUMBERS: u64 = 1 << 30;

/// What was heard while the agent's answer to a greeting is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What comes next answers what is asked next.
    InStep,
    /// It has answered an earlier greeting: it lives, and the answer to the last one comes.
    Late,
    /// Something else.
    Other(String),
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The agent refused it, in its words.
    Refused(String),
    /// The answer is none to this call: why.
    Odd(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody knows what comes next.
    Lost,
    /// The answer to the last greeting is waited for.
    Greeting,
    /// Nothing is owed.
    InStep,
    /// The answer to a call is waited for.
    Asked,
}

/// One end of an agent's line: what is to be sent comes out, what came goes in.
///
/// An agent answers in the order in which it is asked, and nothing says which answer is whose. So after a call
/// whose answer was given up, and at first, it is greeted: the number of the greeting comes back behind a byte that
/// no answer has, and what was owed before that is nobody's. A greeting that is answered late does no harm.
///
/// ```
/// use misfire::guest::agent::{Heard, Talk, qga::guest_file_close};
/// let mut talk = Talk::with_numbers_from(7);
/// assert!(talk.greet().ends_with(b"{\"id\":8}}\n"));
/// talk.receive(b"noise\xff{\"return\": 8}\n");
/// assert_eq!(talk.heard(), Some(Heard::InStep));
/// talk.ask(&guest_file_close { handle: 1000 });
/// talk.receive(b"{\"return\": {}}\n");
/// assert!(talk.answer::<guest_file_close>().unwrap().is_ok());
/// ```
#[derive(Debug)]
pub struct Talk {
    lines: Lines,
    state: State,
    /// Greetings have the numbers after this one, up to `last`.
    base: i64,
    last: i64,
}

impl Talk {
    /// A line of which nothing is known, and whose greetings have numbers that no earlier one had.
    pub fn new() -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self::with_numbers_from((random % NUMBERS) as i64)
    }

    /// The same; the first greeting has the number after `base`.
    pub fn with_numbers_from(base: i64) -> Self {
        Self {
            lines: Lines::new(LONGEST),
            state: State::Lost,
            base,
            last: base,
        }
    }

    /// Nothing is owed on this line: an agent that had answered everything was restored.
    pub fn restored(mut self) -> Self {
        self.state = State::InStep;
        self
    }

    /// Whether what comes next answers what is asked next.
    pub fn is_in_step(&self) -> bool {
        self.state == State::InStep
    }

    /// The number of the last greeting.
    pub fn number(&self) -> i64 {
        self.last
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.lines.held()
    }

    /// These bytes came. Whoever gives them takes what was [`heard`](Self::heard) or
    /// [`answered`](Self::answer) before it gives more.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// What greets the agent.
    pub fn greet(&mut self) -> Vec<u8> {
        self.last += 1;
        self.state = State::Greeting;
        let mut greeting = vec![BEGIN];
        greeting.extend(line(&guest_sync_delimited { id: self.last }));
        greeting
    }

    /// Something that is no call was sent: who knows what is answered.
    pub fn typed(&mut self) {
        self.state = State::Lost;
    }

    /// What was heard, until the agent is in step; none: nothing any more.
    pub fn heard(&mut self) -> Option<Heard> {
        loop {
            let Line { bytes, begun } = match self.lines.take()? {
                Ok(line) => line,
                Err(TooLong) => continue,
            };
            if begun
                && let Ok(Reply {
                    value: Some(number),
                    ..
                }) = serde_json::from_slice::<Reply<i64>>(&bytes)
            {
                if number == self.last && self.state == State::Greeting {
                    self.state = State::InStep;
                    return Some(Heard::InStep);
                }
                if self.base < number && number <= self.last {
                    return Some(Heard::Late);
                }
            }
            if bytes.len() > LONGEST_OTHER {
                continue;
            }
            return Some(Heard::Other(String::from_utf8_lossy(&bytes).into_owned()));
        }
    }

    /// What asks for a command of an agent that is [in step](Self::is_in_step).
    ///
    /// # Panics
    /// When it is not.
    pub fn ask<C: QgaCommand>(&mut self, command: &C) -> Vec<u8> {
        assert!(self.is_in_step(), "{} is asked for out of step", C::NAME);
        self.state = State::Asked;
        line(command)
    }

    /// The answer to what was [asked](Self::ask) for; none: not yet.
    pub fn answer<C: QgaCommand>(&mut self) -> Option<Result<C::Ok, Failure>> {
        if self.state != State::Asked {
            return None;
        }
        loop {
            let line = match self.lines.take()? {
                Ok(line) => line,
                Err(TooLong) => {
                    self.state = State::Lost;
                    let what = format!("a line of more than {LONGEST} bytes");
                    return Some(Err(Failure::Odd(what)));
                }
            };
            // What stands behind the mark answers a greeting.
            if !line.begun
                && let Some(result) = result(&line.bytes)
            {
                self.state = State::InStep;
                return Some(result);
            }
        }
    }
}

impl Default for Talk {
    fn default() -> Self {
        Self::new()
    }
}

fn line<C: Command>(command: &C) -> Vec<u8> {
    let call = Execute::<_, Never>::with_command(command);
    let mut line = serde_json::to_vec(&call).expect("a command has texts for keys");
    line.push(b'\n');
    line
}

#[derive(Deserialize)]
struct Reply<T, E = Refusal> {
    #[serde(rename = "return")]
    value: Option<T>,
    error: Option<E>,
}

#[derive(Deserialize)]
struct Refusal {
    desc: String,
}

/// What an answer says; none: it is no answer.
fn result<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<Result<T, Failure>> {
    match serde_json::from_slice::<Reply<T>>(bytes) {
        Ok(Reply {
            error: Some(refusal),
            ..
        }) => Some(Err(Failure::Refused(short(&refusal.desc)))),
        Ok(Reply { value, error: None }) => value.map(Ok),
        Err(error) => {
            type Any = Reply<IgnoredAny, IgnoredAny>;
            let any: Any = serde_json::from_slice(bytes).ok()?;
            (any.value.is_some() || any.error.is_some())
                .then(|| Err(Failure::Odd(short(&error.to_string()))))
        }
    }
}

/// What an agent says, for whoever reads it.
pub(super) fn short(text: &str) -> String {
    let short: String = text.chars().take(MOST_TOLD).collect();
    crate::log::harmless(&short)
}

#[cfg(test)]
mod tests;

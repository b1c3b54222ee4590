//! An agent that is waited for.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use qapi::qga::{self, QgaCommand};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::AgentError;
use super::prompt::{Prompt, Step};
use super::talk::{Failure, Heard, Talk, short};
use crate::machine::{Recording, Way};

/// How long one greeting is waited for before the next.
const GREETING: Duration = Duration::from_millis(500);
/// The same of an agent that has answered an earlier one.
const LATE: Duration = Duration::from_secs(10);
/// After so many greetings that nobody answered it is asked whether a PowerShell listens.
const GREETINGS: u32 = 3;
/// Bytes that are read at a time.
const CHUNK: usize = 16 << 10;
/// The line's name in recordings.
const LINE: &str = "com2";

/// How long something may take, and until when that is.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    whole: Duration,
    end: Instant,
}

impl Limit {
    /// From now on.
    pub fn of(whole: Duration) -> Self {
        let now = Instant::now();
        // A time that can't be told is as good as none.
        let end = now.checked_add(whole).unwrap_or(now + 400 * DAY);
        Self { whole, end }
    }

    /// The end of a part of it.
    fn part(self, part: Duration) -> Instant {
        self.end.min(Instant::now() + part)
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A guest's agent, whatever system it runs on: QEMU's, or one that speaks as it does. It does one thing after
/// the other.
///
/// What is given up, by a limit or because its future is dropped, does no harm to what comes after it.
#[derive(Debug)]
pub struct Agent {
    stream: UnixStream,
    talk: Talk,
    chunk: Box<[u8]>,
    recording: Option<Recording>,
    /// A PowerShell that listens is made an agent.
    may_bring: bool,
    /// It was.
    pub(super) brought: bool,
    /// Files whose end the agent did not answer.
    pub(super) left_open: Vec<i64>,
}

impl Agent {
    /// Uses `stream`, the other end of the agent's serial port, which may have carried anything before. What goes over
    /// it is kept in `recording`.
    ///
    /// # Errors
    /// When the stream can't be used asynchronously.
    pub fn open(stream: StdUnixStream, recording: Option<Recording>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(stream)?,
            talk: Talk::new(),
            chunk: vec![0; CHUNK].into(),
            recording,
            may_bring: false,
            brought: false,
            left_open: Vec::new(),
        })
    }

    /// Where no agent answers but a PowerShell reads commands from the port, that one is made an agent of: from
    /// then on there is no difference.
    #[must_use]
    pub fn or_powershell(mut self) -> Self {
        self.may_bring = true;
        self
    }

    /// The machine was restored from a state in which the agent had answered everything, so that it need not be
    /// greeted.
    #[must_use]
    pub fn restored(mut self) -> Self {
        self.talk = self.talk.restored();
        self
    }

    /// Waits until the agent answers, and leaves behind what it said before.
    ///
    /// # Errors
    /// When it does not within `limit`, or the channel fails.
    pub async fn ready(&mut self, limit: Duration) -> Result<(), AgentError> {
        let may_bring = self.may_bring;
        self.sync("the first call", Limit::of(limit), may_bring)
            .await
    }

    /// The same; what the agent is, in words.
    ///
    /// # Errors
    /// When it does not answer within `limit`, or the channel fails.
    pub async fn greet(&mut self, limit: Duration) -> Result<String, AgentError> {
        let limit = Limit::of(limit);
        let may_bring = self.may_bring;
        self.sync("the first call", limit, may_bring).await?;
        let version = match self.call(&qga::guest_info {}, limit).await {
            Ok(info) => short(&info.version),
            Err(error) if error.is_an_answer() => String::new(),
            Err(error) => return Err(error),
        };
        Ok(match (self.brought, version.as_str()) {
            (true, _) => "a PowerShell on COM2, which was made an agent of".to_owned(),
            (_, "") => "one that does not say what it is".to_owned(),
            (_, own) if own.starts_with("misfire") => format!("the small one in PowerShell, {own}"),
            (_, qemu) => format!("QEMU's, version {qemu}"),
        })
    }

    /// Asks for a command.
    ///
    /// # Errors
    /// When the agent refuses, does not answer in time, or answers with something else.
    pub async fn call<C: QgaCommand>(
        &mut self,
        command: &C,
        limit: Limit,
    ) -> Result<C::Ok, AgentError> {
        let doing = C::NAME;
        if !self.talk.is_in_step() {
            self.sync(doing, limit, false).await?;
        }
        let line = self.talk.ask(command);
        self.send(doing, &line, limit).await?;
        loop {
            match self.talk.answer::<C>() {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(Failure::Refused(reason))) => {
                    return Err(AgentError::Refused { doing, reason });
                }
                Some(Err(Failure::Odd(what))) => return Err(AgentError::Odd { doing, what }),
                None if self.more(doing, limit.end).await? => {}
                None => return Err(silent(doing, limit)),
            }
        }
    }

    /// Waits until what comes next answers what is asked next.
    async fn sync(
        &mut self,
        doing: &'static str,
        limit: Limit,
        may_bring: bool,
    ) -> Result<(), AgentError> {
        let (mut unanswered, mut lives) = (0, false);
        while Instant::now() < limit.end {
            let greeting = self.talk.greet();
            self.send(doing, &greeting, limit).await?;
            let mut until = limit.part(GREETING);
            while let Some(heard) = self.heard(doing, until).await? {
                match heard {
                    Heard::InStep => return Ok(()),
                    // It answers more slowly than it is greeted.
                    Heard::Late if !lives => (lives, until) = (true, limit.part(LATE)),
                    Heard::Late | Heard::Other(_) => {}
                }
            }
            unanswered += 1;
            if may_bring && !lives && unanswered >= GREETINGS {
                self.bring(limit).await?;
            }
        }
        Err(silent(doing, limit))
    }

    /// Asks whether a PowerShell listens, and makes it an agent.
    async fn bring(&mut self, limit: Limit) -> Result<(), AgentError> {
        const DOING: &str = "what is typed at a PowerShell";
        let mut prompt = Prompt::new(self.talk.number().unsigned_abs());
        let mut typed = prompt.begin();
        loop {
            self.talk.typed();
            self.send(DOING, typed.as_bytes(), limit).await?;
            let until = limit.part(prompt.patience());
            typed = loop {
                let line = match self.heard(DOING, until).await? {
                    Some(Heard::Other(line)) => line,
                    Some(Heard::InStep | Heard::Late) => continue,
                    // Nobody there, or no more: greetings go on.
                    None => return Ok(()),
                };
                match prompt.hear(&line) {
                    Step::Wait => {}
                    Step::Type(text) => break text,
                    Step::Run(text) => {
                        self.brought = true;
                        return self.send(DOING, text.as_bytes(), limit).await;
                    }
                    Step::Refused(reason) => {
                        return Err(AgentError::Refused {
                            doing: DOING,
                            reason,
                        });
                    }
                }
            };
        }
    }

    /// What is heard until then; none: nothing any more.
    async fn heard(
        &mut self,
        doing: &'static str,
        until: Instant,
    ) -> Result<Option<Heard>, AgentError> {
        loop {
            if let Some(heard) = self.talk.heard() {
                return Ok(Some(heard));
            }
            if !self.more(doing, until).await? {
                return Ok(None);
            }
        }
    }

    async fn send(
        &mut self,
        doing: &'static str,
        bytes: &[u8],
        limit: Limit,
    ) -> Result<(), AgentError> {
        if let Some(recording) = &self.recording {
            recording.keep(LINE, Way::To, bytes);
        }
        // A guest whose port nobody reads takes no more than its FIFO.
        match timeout_at(limit.end, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(AgentError::Channel { doing, source }),
            Err(_) => Err(silent(doing, limit)),
        }
    }

    /// Takes what comes next; false: nothing came until then.
    async fn more(&mut self, doing: &'static str, until: Instant) -> Result<bool, AgentError> {
        // Of a guest that never pauses, too, no more is taken than until then.
        if Instant::now() >= until {
            return Ok(false);
        }
        let channel = |source| AgentError::Channel { doing, source };
        let length = match timeout_at(until, self.stream.read(&mut self.chunk)).await {
            Ok(read) => read.map_err(channel)?,
            Err(_) => return Ok(false),
        };
        if length == 0 {
            return Err(channel(io::ErrorKind::NotConnected.into()));
        }
        let bytes = &self.chunk[..length];
        if let Some(recording) = &self.recording {
            recording.keep(LINE, Way::From, bytes);
        }
        self.talk.receive(bytes);
        Ok(true)
    }
}

fn silent(doing: &'static str, limit: Limit) -> AgentError {
    AgentError::Silent {
        doing,
        limit: limit.whole,
    }
}

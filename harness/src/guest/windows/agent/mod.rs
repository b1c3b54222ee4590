//! QEMU's guest agent over a serial port that may have carried anything before: the agent was not there
//! yet, or in the middle of an answer when the machine's state was kept.
//!
//! Where there is none but a PowerShell that reads commands from the port, that one is made an agent of
//! first ([`prompt`]): from then on there is no difference.

mod prompt;
mod wire;

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::super::linux::AgentError;
use super::course::{Answer, Ended, Lane, Order};
use crate::machine::Recording;
use prompt::{Prompt, Step};
use wire::Wire;

/// Both sides begin anew after this byte, which no JSON has.
const BEGIN: u8 = 0xff;
/// How long one greeting is waited for before the next.
const GREETING: Duration = Duration::from_millis(500);
/// After so many greetings that nobody answered it is asked whether a PowerShell listens.
const GREETINGS: u32 = 3;
/// How long the agent may take for a call that does nothing.
const CALL: Duration = Duration::from_secs(30);
/// How often it is asked whether a program has ended: at first, and in the long run.
const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_millis(250);
/// Bytes of a file that are written at a time, and read.
const PIECE: usize = 24 << 10;
/// The most bytes of a file that are read: the last ones.
const MOST_READ: usize = 1 << 20;

/// What is asked of the agent: by whom, what, and how long it may take.
#[derive(Debug)]
pub(super) struct Given {
    pub lane: Lane,
    pub order: Order,
    pub limit: Duration,
}

/// A program that runs in the guest.
struct Running {
    lane: Lane,
    pid: Value,
    limit: Duration,
    end: Instant,
    pause: Duration,
    /// When it is asked for next.
    next: Instant,
}

/// One end of the agent's line.
#[derive(Debug)]
pub(super) struct Agent {
    wire: Wire,
    /// Whether what comes next answers what was asked last.
    synced: bool,
    greetings: u32,
    /// It was made of a PowerShell.
    brought: bool,
}

impl Agent {
    /// # Errors
    /// When the stream can't be used asynchronously.
    pub(super) fn open(stream: StdUnixStream, recording: Option<Recording>) -> io::Result<Self> {
        Ok(Self {
            wire: Wire::open(stream, recording)?,
            synced: false,
            greetings: 0x4d46,
            brought: false,
        })
    }

    /// Carries out orders until nobody gives any more. Programs run beside each other.
    pub(super) async fn serve(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Given>,
        answers: mpsc::UnboundedSender<(Lane, Answer)>,
    ) {
        let mut running: Vec<Running> = Vec::new();
        loop {
            let due = running.iter().map(|program| program.next).min();
            let (lane, answer) = select! {
                biased;
                given = orders.recv() => match given {
                    None => return,
                    Some(given) => match self.obey(given, &mut running).await {
                        Some(answered) => answered,
                        None => continue,
                    },
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    match self.look(&mut running).await {
                        Some(answered) => answered,
                        None => continue,
                    }
                }
            };
            if answers.send((lane, answer)).is_err() {
                return;
            }
        }
    }

    /// Does what is asked; the answer, unless a program has to end first.
    async fn obey(&mut self, given: Given, running: &mut Vec<Running>) -> Option<(Lane, Answer)> {
        let Given { lane, order, limit } = given;
        let answer = match order {
            Order::Greet => Answer::Greeted(self.greet(limit).await),
            Order::Write { path, bytes } => Answer::Done(self.write(&path, &bytes).await),
            Order::Read { path } => Answer::Read(self.read(&path).await),
            Order::Start { program, args } => {
                let exec = json!({"path": program, "arg": args});
                Answer::Done(self.call("guest-exec", exec).await.map(|_| ()))
            }
            Order::Run { program, args } => {
                let exec = json!({"path": program, "arg": args, "capture-output": true});
                match self.call("guest-exec", exec).await {
                    Ok(started) => {
                        let now = Instant::now();
                        running.push(Running {
                            lane,
                            pid: json!({"pid": started["pid"]}),
                            limit,
                            end: now + limit,
                            pause: SOON,
                            next: now,
                        });
                        return None;
                    }
                    Err(error) => Answer::Ran(Err(error)),
                }
            }
        };
        Some((lane, answer))
    }

    /// Asks for the program whose turn it is; the answer, if it has ended.
    async fn look(&mut self, running: &mut Vec<Running>) -> Option<(Lane, Answer)> {
        let each = running.iter().enumerate();
        let (index, _) = each.min_by_key(|(_, program)| program.next)?;
        let pid = running[index].pid.clone();
        let ran = match self.call("guest-exec-status", pid).await {
            Ok(status) if status["exited"].as_bool() == Some(true) => Ok(ended(&status)),
            Ok(_) => {
                let program = &mut running[index];
                let next = Instant::now() + program.pause;
                if next <= program.end {
                    program.next = next;
                    program.pause = (program.pause * 2).min(LATER);
                    return None;
                }
                Err(AgentError::Silent {
                    doing: "the end of a program",
                    limit: program.limit,
                })
            }
            Err(error) => Err(error),
        };
        let program = running.swap_remove(index);
        Some((program.lane, Answer::Ran(ran)))
    }

    /// Waits until the agent answers, and leaves behind what it said before. What it is, in words.
    async fn greet(&mut self, limit: Duration) -> Result<String, AgentError> {
        let end = Instant::now() + limit;
        self.sync(end, limit, true).await?;
        let version = match self.call("guest-info", json!({})).await {
            Ok(info) => info["version"].as_str().unwrap_or_default().to_owned(),
            Err(AgentError::Refused { .. }) => String::new(),
            Err(error) => return Err(error),
        };
        Ok(match (self.brought, version.as_str()) {
            (true, _) => "a PowerShell on COM2, which was made an agent of".to_owned(),
            (_, "") => "one that does not say what it is".to_owned(),
            (_, own) if own.starts_with("misfire") => format!("the small one in PowerShell, {own}"),
            (_, qemu) => format!("QEMU's, version {qemu}"),
        })
    }

    /// Waits until what comes next answers what is asked next.
    async fn sync(
        &mut self,
        end: Instant,
        limit: Duration,
        may_bring: bool,
    ) -> Result<(), AgentError> {
        const DOING: &str = "the first call";
        self.synced = false;
        let mut unanswered = 0;
        while Instant::now() < end {
            self.greetings += 1;
            let id = self.greetings;
            let mut line = vec![BEGIN];
            let call = json!({"execute": "guest-sync-delimited", "arguments": {"id": id}});
            line.extend(call.to_string().bytes());
            line.push(b'\n');
            self.wire.send(DOING, &line).await?;
            let until = end.min(Instant::now() + GREETING);
            while let Ok(line) = timeout_at(until, self.wire.line(DOING)).await {
                let line = line?;
                let after = line.iter().rposition(|b| *b == BEGIN);
                let answer = &line[after.map_or(0, |at| at + 1)..];
                let is_ours = serde_json::from_slice::<Value>(answer)
                    .is_ok_and(|answer| answer["return"].as_u64() == Some(id.into()));
                if after.is_some() && is_ours {
                    self.synced = true;
                    return Ok(());
                }
            }
            unanswered += 1;
            if may_bring && unanswered >= GREETINGS {
                self.bring(end).await?;
            }
        }
        Err(AgentError::Silent {
            doing: DOING,
            limit,
        })
    }

    /// Asks whether a PowerShell listens, and makes it an agent.
    async fn bring(&mut self, end: Instant) -> Result<(), AgentError> {
        const DOING: &str = "what is typed at a PowerShell";
        let mut prompt = Prompt::new(self.greetings);
        let mut typed = prompt.begin();
        loop {
            self.wire.send(DOING, typed.as_bytes()).await?;
            let until = end.min(Instant::now() + prompt.patience());
            typed = loop {
                let Ok(line) = timeout_at(until, self.wire.line(DOING)).await else {
                    // Nobody there, or no more: greetings go on.
                    return Ok(());
                };
                match prompt.hear(&String::from_utf8_lossy(&line?)) {
                    Step::Wait => {}
                    Step::Type(text) => break text,
                    Step::Run(text) => {
                        self.brought = true;
                        return self.wire.send(DOING, text.as_bytes()).await;
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

    async fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), AgentError> {
        let open = json!({"path": path, "mode": "wb"});
        let handle = self.call("guest-file-open", open).await?;
        for piece in bytes.chunks(PIECE) {
            let write = json!({"handle": handle, "buf-b64": BASE64_STANDARD.encode(piece)});
            self.call("guest-file-write", write).await?;
        }
        let close = json!({"handle": handle});
        self.call("guest-file-close", close).await?;
        Ok(())
    }

    /// The last bytes of a file.
    async fn read(&mut self, path: &str) -> Result<Vec<u8>, AgentError> {
        let open = json!({"path": path, "mode": "rb"});
        let handle = self.call("guest-file-open", open).await?;
        let mut bytes = Vec::new();
        loop {
            let read = json!({"handle": handle, "count": PIECE});
            let got = self.call("guest-file-read", read).await?;
            let coded = got["buf-b64"].as_str().unwrap_or_default();
            let piece = BASE64_STANDARD.decode(coded).unwrap_or_default();
            let is_last = piece.is_empty() || got["eof"].as_bool() == Some(true);
            bytes.extend(piece);
            bytes.drain(..bytes.len().saturating_sub(MOST_READ));
            if is_last {
                break;
            }
        }
        let close = json!({"handle": handle});
        self.call("guest-file-close", close).await?;
        Ok(bytes)
    }

    async fn call(&mut self, doing: &'static str, arguments: Value) -> Result<Value, AgentError> {
        if !self.synced {
            self.sync(Instant::now() + CALL, CALL, false).await?;
        }
        let call = json!({"execute": doing, "arguments": arguments});
        let line = format!("{call}\n");
        self.wire.send(doing, line.as_bytes()).await?;
        // Until the answer is there it is not known what comes next.
        self.synced = false;
        let end = Instant::now() + CALL;
        loop {
            let Ok(line) = timeout_at(end, self.wire.line(doing)).await else {
                return Err(AgentError::Silent { doing, limit: CALL });
            };
            let Ok(answer) = serde_json::from_slice::<Value>(&line?) else {
                continue;
            };
            self.synced = true;
            if let Some(error) = answer.get("error") {
                let reason = error["desc"].as_str().unwrap_or("without a reason");
                return Err(AgentError::Refused {
                    doing,
                    reason: reason.to_owned(),
                });
            }
            return Ok(answer["return"].clone());
        }
    }
}

/// What a program that has ended came to.
fn ended(status: &Value) -> Ended {
    let code = status["exitcode"].as_i64();
    let signal = status["signal"].as_i64();
    let text = |key: &str| {
        let coded = status[key].as_str().unwrap_or_default();
        let bytes = BASE64_STANDARD.decode(coded).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ended {
        // Windows' codes are unsigned; the agent tells them signed.
        code: code.or(signal).map_or(u32::MAX, |code| code as u32),
        output: text("out-data"),
        errors: text("err-data"),
    }
}

#[cfg(test)]
mod tests;

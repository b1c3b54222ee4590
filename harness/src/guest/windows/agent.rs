//! QEMU's guest agent over a serial port that may have carried anything before: the agent was not there
//! yet, or in the middle of an answer when the machine's state was kept.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::linux::AgentError;
use super::course::{Answer, Ended, Order};
use crate::machine::{Recording, Way};

/// Both sides begin anew after this byte, which no JSON has.
const BEGIN: u8 = 0xff;
/// How long one greeting is waited for before the next.
const GREETING: Duration = Duration::from_millis(500);
/// How long the agent may take for a call that does nothing.
const CALL: Duration = Duration::from_secs(30);
/// How often it is asked whether a program has ended: at first, and in the long run.
const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_millis(250);
/// Bytes of a file that are written at a time.
const PIECE: usize = 24 << 10;
/// The most bytes of an answer.
const MOST: usize = 64 << 20;

/// One end of the agent's line.
#[derive(Debug)]
pub(super) struct Agent {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Whether what comes next answers what was asked last.
    synced: bool,
    greetings: u32,
    recording: Option<Recording>,
}

impl Agent {
    /// # Errors
    /// When the stream can't be used asynchronously.
    pub(super) fn open(stream: StdUnixStream, recording: Option<Recording>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(stream)?,
            buffer: Vec::new(),
            synced: false,
            greetings: 0x4d46,
            recording,
        })
    }

    /// Carries out orders, one after the other, until nobody gives any more.
    pub(super) async fn serve(
        mut self,
        mut orders: mpsc::UnboundedReceiver<(Order, Duration)>,
        answers: mpsc::UnboundedSender<Answer>,
    ) {
        while let Some((order, limit)) = orders.recv().await {
            let answer = match order {
                Order::Greet => Answer::Done(self.greet(limit).await),
                Order::Write { path, bytes } => Answer::Done(self.write(&path, &bytes).await),
                Order::Start { program, args } => {
                    let exec = json!({"path": program, "arg": args});
                    Answer::Done(self.call("guest-exec", exec).await.map(|_| ()))
                }
                Order::Run { program, args } => Answer::Ran(self.run(&program, &args, limit).await),
            };
            if answers.send(answer).is_err() {
                return;
            }
        }
    }

    /// Waits until the agent answers, and leaves behind what it said before.
    async fn greet(&mut self, limit: Duration) -> Result<(), AgentError> {
        const DOING: &str = "the first call";
        let end = Instant::now() + limit;
        self.synced = false;
        while Instant::now() < end {
            self.greetings += 1;
            let id = self.greetings;
            let mut line = vec![BEGIN];
            let call = json!({"execute": "guest-sync-delimited", "arguments": {"id": id}});
            line.extend(call.to_string().bytes());
            line.push(b'\n');
            self.send(DOING, &line).await?;
            let until = end.min(Instant::now() + GREETING);
            loop {
                let read = timeout_at(until, self.line(DOING)).await;
                let Ok(line) = read else { break };
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
        }
        Err(AgentError::Silent {
            doing: DOING,
            limit,
        })
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

    async fn run(
        &mut self,
        program: &str,
        args: &[String],
        limit: Duration,
    ) -> Result<Ended, AgentError> {
        let end = Instant::now() + limit;
        let exec = json!({"path": program, "arg": args, "capture-output": true});
        let started = self.call("guest-exec", exec).await?;
        let pid = json!({"pid": started["pid"]});
        let mut pause = SOON;
        loop {
            let status = self.call("guest-exec-status", pid.clone()).await?;
            if status["exited"].as_bool() == Some(true) {
                let code = status["exitcode"].as_i64();
                let signal = status["signal"].as_i64();
                let text = |key: &str| {
                    let coded = status[key].as_str().unwrap_or_default();
                    let bytes = BASE64_STANDARD.decode(coded).unwrap_or_default();
                    String::from_utf8_lossy(&bytes).into_owned()
                };
                return Ok(Ended {
                    // Windows' codes are unsigned; the agent tells them signed.
                    code: code.or(signal).map_or(u32::MAX, |code| code as u32),
                    output: text("out-data"),
                    errors: text("err-data"),
                });
            }
            if Instant::now() + pause > end {
                return Err(AgentError::Silent {
                    doing: "the end of a program",
                    limit,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LATER);
        }
    }

    async fn call(&mut self, doing: &'static str, arguments: Value) -> Result<Value, AgentError> {
        if !self.synced {
            self.greet(CALL).await?;
        }
        let call = json!({"execute": doing, "arguments": arguments});
        let line = format!("{call}\n");
        self.send(doing, line.as_bytes()).await?;
        // Until the answer is there it is not known what comes next.
        self.synced = false;
        let end = Instant::now() + CALL;
        loop {
            let Ok(line) = timeout_at(end, self.line(doing)).await else {
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

    async fn send(&mut self, doing: &'static str, bytes: &[u8]) -> Result<(), AgentError> {
        if let Some(recording) = &self.recording {
            recording.keep("com2", Way::To, bytes);
        }
        // A guest whose port nobody reads takes no more than its FIFO.
        match timeout(CALL, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(AgentError::Channel { doing, source }),
            Err(_) => Err(AgentError::Silent { doing, limit: CALL }),
        }
    }

    /// The next line. Nothing is lost when the future is dropped.
    async fn line(&mut self, doing: &'static str) -> Result<Vec<u8>, AgentError> {
        let channel = |source| AgentError::Channel { doing, source };
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                return Ok(line);
            }
            if self.buffer.len() > MOST {
                self.buffer.clear();
            }
            let mut chunk = vec![0; 16 << 10];
            let length = self.stream.read(&mut chunk).await.map_err(channel)?;
            if length == 0 {
                return Err(channel(io::ErrorKind::NotConnected.into()));
            }
            if let Some(recording) = &self.recording {
                recording.keep("com2", Way::From, &chunk[..length]);
            }
            self.buffer.extend(&chunk[..length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};

    const LIMIT: Duration = Duration::from_secs(5);

    /// An agent that says `noise`, is synchronised, and then gives `answers`; what it was asked.
    fn agent(
        noise: &'static [u8],
        answers: Vec<&'static str>,
    ) -> (Agent, std::thread::JoinHandle<Vec<String>>) {
        let (ours, its) = StdUnixStream::pair().unwrap();
        let asked = std::thread::spawn(move || {
            let mut writer = its.try_clone().unwrap();
            writer.write_all(noise).unwrap();
            let mut reader = BufReader::new(its);
            let mut asked = Vec::new();
            let mut next = || {
                let mut line = Vec::new();
                reader.read_until(b'\n', &mut line).unwrap();
                line
            };
            let greeting = next();
            assert_eq!(greeting[0], BEGIN);
            let greeting: Value = serde_json::from_slice(&greeting[1..]).unwrap();
            writer.write_all(&[BEGIN]).unwrap();
            writeln!(writer, "{}", json!({"return": greeting["arguments"]["id"]})).unwrap();
            for answer in answers {
                asked.push(String::from_utf8(next()).unwrap());
                writeln!(writer, "{answer}").unwrap();
            }
            asked
        });
        (Agent::open(ours, None).unwrap(), asked)
    }

    #[tokio::test]
    async fn what_was_on_the_line_before_is_left_behind() {
        let noise = b"BdsDxe: loading\n{\"return\": {\"pid\": 3}}\n{\"retu";
        let (mut agent, _asked) = agent(noise, vec![]);
        agent.greet(LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn a_program_is_run_to_its_end_and_a_file_written_in_pieces() {
        let (mut agent, asked) = agent(
            b"",
            vec![
                r#"{"return": {"pid": 7}}"#,
                r#"{"return": {"exited": false}}"#,
                r#"{"return": {"exited": true, "exitcode": 3010, "out-data": "aGkNCg=="}}"#,
                r#"{"return": 1000}"#,
                r#"{"return": {"count": 24576, "eof": false}}"#,
                r#"{"return": {"count": 1, "eof": false}}"#,
                r#"{"return": {}}"#,
            ],
        );
        let args = ["/add-driver".to_owned()];
        let ended = agent.run("pnputil.exe", &args, LIMIT).await.unwrap();
        assert_eq!((ended.code, ended.output.as_str()), (3010, "hi\r\n"));
        let bytes = vec![b'a'; PIECE + 1];
        agent.write("C:\\a", &bytes).await.unwrap();
        let asked = asked.join().unwrap();
        assert!(
            asked[0].contains(r#""capture-output":true"#),
            "{}",
            asked[0]
        );
        assert!(asked[5].contains(r#""buf-b64":"YQ==""#), "{}", asked[5]);
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_agents_words_and_a_silent_agent_is_told_apart() {
        let refusal = r#"{"error": {"class": "GenericError", "desc": "no such program"}}"#;
        let (mut agent, _asked) = agent(b"", vec![refusal]);
        let error = agent.run("none", &[], LIMIT).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the guest agent refused guest-exec: no such program"
        );
        let (silent, _its) = StdUnixStream::pair().unwrap();
        let mut agent = Agent::open(silent, None).unwrap();
        let error = agent.greet(Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, AgentError::Silent { .. }), "{error}");
    }
}

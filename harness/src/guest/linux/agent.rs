//! QEMU's guest agent, over a serial port.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use qapi::futures::{QapiService, QgaStreamTokio};
use qapi::qga;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::timeout;

/// The agent can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The channel is closed, or what came over it is none of the agent's answers.
    #[error("the guest agent's channel failed at {doing}")]
    Channel {
        /// What was asked for.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It refused.
    #[error("the guest agent refused {doing}: {reason}")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// In its words.
        reason: String,
    },
    /// It does not answer.
    #[error("the guest agent did not answer {doing} within {} s", limit.as_secs_f64())]
    Silent {
        /// What was asked for.
        doing: &'static str,
        /// How long it had.
        limit: Duration,
    },
}

/// A client of the guest agent, whatever system it runs on.
pub struct Agent {
    service: QapiService<QgaStreamTokio<OwnedWriteHalf>>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Agent")
    }
}

impl Agent {
    /// Uses `stream`, the other end of the agent's serial port.
    ///
    /// # Errors
    /// When the stream can't be used asynchronously.
    pub fn open(stream: StdUnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        let (service, _) = QgaStreamTokio::open_split(reader, writer).spawn_tokio();
        Ok(Self { service })
    }

    /// Waits until the agent answers.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub async fn ready(&self, limit: Duration) -> Result<(), AgentError> {
        const ID: i32 = 0x4d46;
        answer("the first call", limit, self.service.guest_sync(ID)).await
    }

    /// Starts a program in the guest and does not wait for its end. The future is independent of the
    /// agent: what waits for it need not.
    pub fn start(
        &self,
        path: &str,
        args: &[&str],
        limit: Duration,
    ) -> impl Future<Output = Result<i64, AgentError>> + use<> {
        let command = qga::guest_exec {
            path: path.to_owned(),
            arg: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
            env: None,
            input_data: None,
            capture_output: None,
        };
        let call = self.service.execute(command);
        async move { Ok(answer("guest-exec", limit, call).await?.pid) }
    }

    /// Writes a file in the guest.
    ///
    /// # Errors
    /// When the agent does not answer within `limit`, or refuses.
    pub async fn write(&self, path: &str, bytes: &[u8], limit: Duration) -> Result<(), AgentError> {
        let handle = self.open_file(path, limit).await?;
        self.put(handle, bytes, limit).await?;
        let close = qga::guest_file_close { handle };
        answer("guest-file-close", limit, self.service.execute(close)).await?;
        Ok(())
    }

    /// Opens a file in the guest for [`Agent::send`], and leaves it open.
    ///
    /// # Errors
    /// When the agent does not answer within `limit`, or refuses.
    pub async fn open_file(&self, path: &str, limit: Duration) -> Result<i64, AgentError> {
        let open = qga::guest_file_open {
            path: path.to_owned(),
            mode: Some("w".to_owned()),
        };
        answer("guest-file-open", limit, self.service.execute(open)).await
    }

    /// Writes to an open file, such as a pipe that somebody reads.
    ///
    /// # Errors
    /// When the agent does not answer within `limit`, or refuses.
    pub async fn send(&self, handle: i64, bytes: &[u8], limit: Duration) -> Result<(), AgentError> {
        self.put(handle, bytes, limit).await?;
        let flush = qga::guest_file_flush { handle };
        answer("guest-file-flush", limit, self.service.execute(flush)).await?;
        Ok(())
    }

    async fn put(&self, handle: i64, bytes: &[u8], limit: Duration) -> Result<(), AgentError> {
        let write = qga::guest_file_write {
            handle,
            buf_b64: bytes.to_owned(),
            count: None,
        };
        answer("guest-file-write", limit, self.service.execute(write)).await?;
        Ok(())
    }
}

async fn answer<T>(
    doing: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, qapi::ExecuteError>>,
) -> Result<T, AgentError> {
    match timeout(limit, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(qapi::ExecuteError::Io(source))) => Err(AgentError::Channel { doing, source }),
        Ok(Err(qapi::ExecuteError::Qapi(error))) => Err(AgentError::Refused {
            doing,
            reason: error.desc,
        }),
        Err(_) => Err(AgentError::Silent { doing, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};

    const LIMIT: Duration = Duration::from_secs(5);

    /// An agent that gives `answers` in their order, and then what it was asked.
    fn agent(answers: Vec<&'static str>) -> (Agent, std::thread::JoinHandle<Vec<String>>) {
        let (ours, its) = StdUnixStream::pair().unwrap();
        let asked = std::thread::spawn(move || {
            let mut writer = its.try_clone().unwrap();
            let mut lines = BufReader::new(its).lines();
            let mut asked = Vec::new();
            for answer in answers {
                asked.push(lines.next().unwrap().unwrap());
                writeln!(writer, "{answer}").unwrap();
            }
            asked
        });
        (Agent::open(ours).unwrap(), asked)
    }

    #[tokio::test]
    async fn a_program_is_started_and_a_file_written() {
        let (agent, asked) = agent(vec![
            r#"{"return": 19782}"#,
            r#"{"return": {"pid": 7}}"#,
            r#"{"return": 1000}"#,
            r#"{"return": {"count": 2, "eof": false}}"#,
            r#"{"return": {}}"#,
        ]);
        agent.ready(LIMIT).await.unwrap();
        assert_eq!(
            agent.start("/bin/sh", &["-c", "ls"], LIMIT).await.unwrap(),
            7
        );
        agent.write("/run/a", b"hi", LIMIT).await.unwrap();
        let asked = asked.join().unwrap();
        assert!(asked[1].contains(r#""arg":["-c","ls"]"#), "{}", asked[1]);
        assert!(asked[3].contains(r#""buf-b64":"aGk=""#), "{}", asked[3]);
        assert!(asked[4].contains("guest-file-close"), "{}", asked[4]);
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_agents_words_and_silence_is_told_apart() {
        let (agent, _asked) = agent(vec![
            r#"{"error": {"class": "GenericError", "desc": "no such file"}}"#,
        ]);
        let error = agent.start("/none", &[], LIMIT).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the guest agent refused guest-exec: no such file"
        );
        let (silent, _its) = StdUnixStream::pair().unwrap();
        let agent = Agent::open(silent).unwrap();
        let error = agent.ready(Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, AgentError::Silent { .. }), "{error}");
    }
}

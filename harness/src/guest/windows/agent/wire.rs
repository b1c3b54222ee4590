//! A serial port as lines, and what goes over it kept.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::super::super::linux::AgentError;
use crate::machine::{Recording, Way};

/// How long the guest may take to take what it is sent.
const SEND: Duration = Duration::from_secs(30);
/// The most bytes of a line.
const MOST: usize = 64 << 20;

/// The other end of the guest's second serial port.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
    buffer: Vec<u8>,
    recording: Option<Recording>,
}

impl Wire {
    /// # Errors
    /// When the stream can't be used asynchronously.
    pub fn open(stream: StdUnixStream, recording: Option<Recording>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(stream)?,
            buffer: Vec::new(),
            recording,
        })
    }

    /// # Errors
    /// When the other end is gone, or takes nothing.
    pub async fn send(&mut self, doing: &'static str, bytes: &[u8]) -> Result<(), AgentError> {
        if let Some(recording) = &self.recording {
            recording.keep("com2", Way::To, bytes);
        }
        // A guest whose port nobody reads takes no more than its FIFO.
        match timeout(SEND, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(AgentError::Channel { doing, source }),
            Err(_) => Err(AgentError::Silent { doing, limit: SEND }),
        }
    }

    /// The next line. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the other end is gone.
    pub async fn line(&mut self, doing: &'static str) -> Result<Vec<u8>, AgentError> {
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

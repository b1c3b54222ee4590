//! The guest's serial port as a stream of lines.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use misfire_device::port::Journal;
use misfire_device::trace::What;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::log::LineSplitter;

/// How many lines an error shows.
const LAST: usize = 8;
/// The most that a guest may print in bytes; what comes after is read and left out.
const MOST: usize = 16 << 20;

/// Lines from the guest, lines to the guest.
///
/// Each line is in the journal, as [`What::Log`], before it can be taken from here.
#[derive(Debug)]
pub struct Console {
    lines: mpsc::UnboundedReceiver<String>,
    writer: OwnedWriteHalf,
    last: VecDeque<String>,
}

impl Console {
    /// Reads and writes `stream`, from a task of its own.
    ///
    /// # Errors
    /// When the stream can't be used asynchronously.
    pub fn open(stream: StdUnixStream, journal: Arc<Journal>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        let (sender, lines) = mpsc::unbounded_channel();
        tokio::spawn(read(reader, journal, sender));
        Ok(Self {
            lines,
            writer,
            last: VecDeque::with_capacity(LAST),
        })
    }

    /// The next line; `None` when the machine is gone and every line was taken. Nothing is lost when
    /// the future is dropped.
    pub async fn next(&mut self) -> Option<String> {
        let line = self.lines.recv().await?;
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line.clone());
        Some(line)
    }

    /// Sends a line.
    ///
    /// # Errors
    /// When the machine is gone.
    pub async fn say(&mut self, line: &str) -> io::Result<()> {
        self.writer
            .write_all(&[line.as_bytes(), b"\n"].concat())
            .await
    }

    /// The last lines that were taken, oldest first.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

async fn read(mut from: OwnedReadHalf, journal: Arc<Journal>, to: mpsc::UnboundedSender<String>) {
    let mut splitter = LineSplitter::new();
    let mut buffer = vec![0; 16 << 10];
    let mut left = MOST;
    let tell = |line: String| {
        journal.record(What::Log { line: line.clone() });
        // The machine may have been dropped; the journal has the line.
        let _ = to.send(line);
    };
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if left == 0 {
            continue;
        }
        let taken = length.min(left);
        left -= taken;
        splitter.push(&buffer[..taken], tell);
        if left == 0 {
            tell(format!(
                "[the guest printed more than {} MiB; the rest is left out]",
                MOST >> 20
            ));
        }
    }
    splitter.finish().into_iter().for_each(tell);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::mpsc::channel;

    #[tokio::test]
    async fn every_line_reaches_the_journal_and_the_reader() {
        let (sender, events) = channel();
        let journal = Journal::new(Box::new(move |event| {
            let _ = sender.send(event.what);
        }));
        let (ours, mut theirs) = StdUnixStream::pair().unwrap();
        let mut console = Console::open(ours, journal).unwrap();
        std::thread::spawn(move || {
            for n in 0..1000 {
                writeln!(theirs, "line {n}").unwrap();
            }
            write!(theirs, "the end").unwrap();
        });
        for n in 0..1000 {
            assert_eq!(console.next().await, Some(format!("line {n}")));
        }
        assert_eq!(console.next().await.as_deref(), Some("the end"));
        assert_eq!(console.next().await, None);
        assert_eq!(console.last().len(), LAST);
        assert_eq!(console.last().last().unwrap(), "the end");
        let events: Vec<_> = events.try_iter().collect();
        assert_eq!(events.len(), 1001);
        assert_eq!(
            events[1000],
            What::Log {
                line: "the end".into()
            }
        );
    }
}

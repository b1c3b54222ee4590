//! The file of a trace, written apart from the device: who records an event does not wait for it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::trace::{Event, write_jsonl};

/// How long events are gathered before they are written together. To wake a thread for each costs the
/// guest more than all of the writing.
const GATHER: Duration = Duration::from_millis(5);
/// Events on their way at the most. A disk that can't follow slows the device down.
const MOST: usize = 1 << 16;

/// A file into which events are written, a line each, at most a few milliseconds after they were recorded.
pub struct TraceFile {
    sender: SyncSender<Told>,
    thread: JoinHandle<io::Result<()>>,
}

enum Told {
    Event(Box<Event>),
    End,
}

impl TraceFile {
    /// Makes the file, or empties it.
    ///
    /// # Errors
    /// When it can't be made, or there is no thread to write it.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::into(File::create(path)?)
    }

    fn into(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, told) = sync_channel(MOST);
        let thread = thread::Builder::new()
            .name("trace".into())
            .spawn(move || write(BufWriter::new(out), &told))?;
        Ok(Self { sender, thread })
    }

    /// What a journal writes to.
    pub fn sink(&self) -> Box<dyn FnMut(Event) + Send> {
        let sender = self.sender.clone();
        Box::new(move |event| {
            // After an error nobody listens; who closes the file is told of it.
            let _ = sender.send(Told::Event(Box::new(event)));
        })
    }

    /// Writes what was recorded so far, and nothing after it.
    ///
    /// # Errors
    /// The first error of the writing, which ended it.
    pub fn close(self) -> io::Result<()> {
        // If the thread has ended already, it tells why.
        let _ = self.sender.send(Told::End);
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread that writes it panicked")))
    }
}

fn write(mut out: BufWriter<impl Write>, told: &Receiver<Told>) -> io::Result<()> {
    while let Ok(first) = told.recv() {
        for told in std::iter::once(first).chain(told.try_iter()) {
            match told {
                Told::Event(event) => write_jsonl(&mut out, &event)?,
                Told::End => return out.flush(),
            }
        }
        out.flush()?;
        thread::sleep(GATHER);
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Journal;
    use crate::trace::{What, read_jsonl};

    #[test]
    fn what_was_recorded_before_the_end_is_in_the_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.jsonl");
        let file = TraceFile::create(&path).unwrap();
        let journal = Journal::new(file.sink());
        let line = |n: u32| What::Log {
            line: n.to_string(),
        };
        (0..3_000).for_each(|n| {
            journal.record(line(n));
        });
        file.close().unwrap();
        journal.record(line(3_000));
        let text = std::fs::read(&path).unwrap();
        let events = read_jsonl(text.as_slice()).unwrap();
        assert_eq!(events.len(), 3_000);
        assert!(events.iter().map(|event| event.seq).eq(1..=3_000));
        assert_eq!(events[2_999].what, line(2_999));
    }

    #[test]
    fn the_first_error_ends_the_writing_and_is_told_at_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let file = TraceFile::into(Full).unwrap();
        let journal = Journal::new(file.sink());
        // More than are ever on their way: nobody waits for a writer that is gone.
        for _ in 0..MOST + 10 {
            journal.record(What::Log { line: "x".into() });
        }
        let error = file.close().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

//! What a machine said and was told, byte for byte, kept for whoever has no such machine.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::AsyncWrite;

/// The most bytes that are kept of a line: a guest can say more than a disk holds.
const MOST: usize = 64 << 20;

/// Files of what went over a machine's lines: in each file one line for each piece, with the time in
/// milliseconds since the recording began, `<` for what the machine said or `>` for what it was told,
/// and the bytes in hexadecimal. One that is cut ends with a line that begins with `#` and says so.
#[derive(Clone, Debug)]
pub struct Recording {
    files: Arc<Mutex<Vec<Kept>>>,
    begin: Instant,
    /// The most bytes that are kept of a line.
    most: usize,
}

/// The file of a line.
#[derive(Debug)]
struct Kept {
    line: &'static str,
    file: File,
    /// How many bytes may come still; none: it is cut.
    left: Option<usize>,
}

/// Which way a piece went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the machine.
    From,
    /// To it.
    To,
}

/// The lines that are recorded: the debugger's, the agent's, and QEMU's control channel.
const LINES: [&str; 3] = ["com1", "com2", "qmp"];

impl Recording {
    /// The file that says which QEMU it was, and what it was told when it was started, if somebody writes it.
    pub const MACHINE: &str = "machine.txt";

    /// Files in `folder`, which is made.
    ///
    /// # Errors
    /// When they can't be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Self::open_with(folder, MOST)
    }

    fn open_with(folder: &Path, most: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let one = |line| {
            let file = File::create(folder.join(format!("{line}.hex")))?;
            let left = Some(most);
            Ok(Kept { line, file, left })
        };
        let files: io::Result<Vec<_>> = LINES.into_iter().map(one).collect();
        Ok(Self {
            files: Arc::new(Mutex::new(files?)),
            begin: Instant::now(),
            most,
        })
    }

    /// Keeps a piece. What can't be written is lost, and the run goes on.
    pub(crate) fn keep(&self, line: &str, way: Way, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = files.iter_mut().find(|kept| kept.line == line) else {
            return;
        };
        let Some(left) = kept.left else {
            return;
        };
        let time = self.begin.elapsed().as_millis();
        let (bytes, is_cut) = match bytes.get(..left) {
            Some(fits) if fits.len() < bytes.len() => (fits, true),
            _ => (bytes, false),
        };
        kept.left = (!is_cut).then(|| left - bytes.len());
        let mut text = String::new();
        if !bytes.is_empty() {
            let way = match way {
                Way::From => '<',
                Way::To => '>',
            };
            text += &format!("{time} {way} ");
            for byte in bytes {
                text += &format!("{byte:02x}");
            }
            text.push('\n');
        }
        if is_cut {
            let most = self.most;
            text += &format!("# {time}: cut, more than {most} bytes went over the line\n");
        }
        let _ = kept.file.write_all(text.as_bytes());
    }

    /// The pieces in the text of such a file: milliseconds, way, bytes. Lines that are none are left out.
    pub fn read(text: &str) -> Vec<(u64, Way, Vec<u8>)> {
        let piece = |line: &str| {
            let mut words = line.split(' ');
            let time = words.next()?.parse().ok()?;
            let way = match words.next()? {
                "<" => Way::From,
                ">" => Way::To,
                _ => return None,
            };
            let digits = words.next()?.as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let bytes = digits.chunks(2).map(byte).collect::<Option<_>>()?;
            Some((time, way, bytes))
        };
        text.lines().filter_map(piece).collect()
    }
}

/// A writer of which is kept what it has written to a line.
pub(super) struct Written<W> {
    writer: W,
    line: &'static str,
    recording: Option<Recording>,
}

impl<W> Written<W> {
    pub(super) fn new(writer: W, line: &'static str, recording: Option<Recording>) -> Self {
        Self {
            writer,
            line,
            recording,
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Written<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.writer).poll_write(context, bytes))?;
        if let (Some(recording), Some(bytes)) = (&self.recording, bytes.get(..written)) {
            recording.keep(self.line, Way::To, bytes);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_can_be_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let recording = Recording::open(dir.path()).unwrap();
        recording.keep("com1", Way::From, b"0000\x03\x00");
        recording.keep("com1", Way::To, b"");
        recording.keep("com1", Way::To, b"iiii");
        let text = fs::read_to_string(dir.path().join("com1.hex")).unwrap();
        let pieces = Recording::read(&text);
        assert_eq!(pieces.len(), 2);
        assert_eq!(
            (pieces[0].1, &pieces[0].2[..]),
            (Way::From, &b"0000\x03\x00"[..])
        );
        assert_eq!((pieces[1].1, &pieces[1].2[..]), (Way::To, &b"iiii"[..]));
        assert!(Recording::read("no piece\n1 ? 00\n2 < 0g\n").is_empty());
    }

    #[test]
    fn a_recording_of_a_guest_that_says_too_much_is_cut_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let recording = Recording::open_with(dir.path(), 6).unwrap();
        recording.keep("com1", Way::From, b"0123");
        recording.keep("com1", Way::From, b"4567");
        recording.keep("com1", Way::To, b"89");
        recording.keep("com2", Way::To, b"012345");
        let read = |line: &str| fs::read_to_string(dir.path().join(line)).unwrap();
        let said = |text: &str| -> Vec<u8> {
            let pieces = Recording::read(text);
            pieces.into_iter().flat_map(|piece| piece.2).collect()
        };
        let text = read("com1.hex");
        assert_eq!(said(&text), b"012345");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("# "), "{last}");
        assert!(
            last.ends_with(": cut, more than 6 bytes went over the line"),
            "{last}"
        );
        // What fits is whole.
        let text = read("com2.hex");
        assert_eq!((said(&text).len(), text.lines().count()), (6, 1));
    }

    #[tokio::test]
    async fn what_is_written_is_kept_as_it_was_written() {
        use tokio::io::AsyncWriteExt as _;
        let dir = tempfile::tempdir().unwrap();
        let recording = Recording::open(dir.path()).unwrap();
        let mut writer = Written::new(Vec::new(), "qmp", Some(recording));
        writer
            .write_all(b"{\"execute\": \"cont\"}\n")
            .await
            .unwrap();
        let text = fs::read_to_string(dir.path().join("qmp.hex")).unwrap();
        let pieces = Recording::read(&text);
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].1, Way::To);
        assert_eq!(pieces[0].2, writer.writer);
    }
}

//! What a machine said, byte for byte, kept for whoever has no such machine.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Files of what went over a machine's lines: in each file one line for each piece, with the time in
/// milliseconds since the recording began, `<` for what the machine said or `>` for what it was told,
/// and the bytes in hexadecimal.
#[derive(Clone, Debug)]
pub struct Recording {
    files: Arc<Mutex<Vec<(&'static str, File)>>>,
    begin: Instant,
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
    /// Files in `folder`, which is made.
    ///
    /// # Errors
    /// When they can't be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let one = |line| Ok((line, File::create(folder.join(format!("{line}.hex")))?));
        let files: io::Result<Vec<_>> = LINES.into_iter().map(one).collect();
        Ok(Self {
            files: Arc::new(Mutex::new(files?)),
            begin: Instant::now(),
        })
    }

    /// Keeps a piece. What can't be written is lost, and the run goes on.
    pub(crate) fn keep(&self, line: &str, way: Way, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut text = format!(
            "{} {} ",
            self.begin.elapsed().as_millis(),
            match way {
                Way::From => '<',
                Way::To => '>',
            }
        );
        for byte in bytes {
            text += &format!("{byte:02x}");
        }
        text.push('\n');
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, file)) = files.iter_mut().find(|(name, _)| *name == line) {
            let _ = file.write_all(text.as_bytes());
        }
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
}

//! What is kept of a run: trace, guest log, transcript, verdict.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use misfire_device::trace::{Event, What, write_jsonl};

use super::Run;
use crate::guest::windows::Evidence;

/// The folder of one run. What can't be written is told in words that name the file.
pub(super) struct Kept {
    dir: Result<PathBuf, String>,
}

const FILES: [(&str, &str); 4] = [
    ("log", "guest.log"),
    ("trace", "trace.jsonl"),
    ("transcript", "transcript.txt"),
    ("verdict", "verdict.json"),
];

const MEMORY: &str = "memory";
/// What there is only of a guest with which something was wrong.
const EVIDENCE: [(&str, &str); 3] = [
    ("screen", Evidence::SCREEN),
    ("stop-screen", Evidence::STOP_SCREEN),
    (MEMORY, Evidence::MEMORY),
];

impl Kept {
    /// Empties and opens the folder of the scenario `name` under `out`.
    pub(super) fn open(out: &Path, name: &str) -> Self {
        let dir = out.join(name);
        let made = FILES
            .iter()
            .chain(&EVIDENCE)
            .try_for_each(|(_, file)| match fs::remove_file(dir.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })
            .and_then(|()| fs::create_dir_all(&dir));
        Self {
            dir: in_words(&dir, made).map(|()| dir),
        }
    }

    pub(super) fn trace(&self, events: &[Event]) -> Result<(), String> {
        self.write("trace.jsonl", |file| {
            events.iter().try_for_each(|event| write_jsonl(file, event))
        })
    }

    pub(super) fn all(&self, events: &[Event], run: &Run) -> Result<(), String> {
        self.trace(events)?;
        self.write("guest.log", |file| {
            events.iter().try_for_each(|event| match &event.what {
                What::Log { line } => writeln!(file, "{line}"),
                _ => Ok(()),
            })
        })?;
        self.write("transcript.txt", |file| {
            file.write_all(run.transcript.as_bytes())
        })?;
        self.write("verdict.json", |file| {
            serde_json::to_writer_pretty(&mut *file, &run.report).map_err(io::Error::from)
        })
    }

    /// Copies what is kept to `to`, but for a guest's memory.
    pub(super) fn copy(&self, to: &Path) -> Result<(), String> {
        let dir = self.dir.as_ref().map_err(String::clone)?;
        let pictures = EVIDENCE.iter().filter(|(what, _)| *what != MEMORY);
        in_words(to, fs::create_dir_all(to))?;
        let copied = FILES.iter().chain(pictures).try_for_each(|(_, file)| {
            let from = dir.join(file);
            if from.is_file() {
                fs::copy(from, to.join(file))?;
            }
            Ok(())
        });
        in_words(to, copied)
    }

    /// The folder.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.dir.as_deref().ok()
    }

    /// Where everything is, by what it is.
    pub(super) fn files(&self) -> BTreeMap<&'static str, String> {
        let Ok(dir) = &self.dir else {
            return BTreeMap::new();
        };
        let evidence = EVIDENCE.iter().filter(|(_, file)| dir.join(file).is_file());
        FILES
            .iter()
            .chain(evidence)
            .map(|(what, file)| (*what, dir.join(file).display().to_string()))
            .collect()
    }

    fn write(
        &self,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), String> {
        let path = self.dir.as_ref().map_err(String::clone)?.join(name);
        let written = File::create(&path).and_then(|file| {
            let mut file = BufWriter::new(file);
            content(&mut file)?;
            file.flush()
        });
        in_words(&path, written)
    }
}

fn in_words(path: &Path, result: io::Result<()>) -> Result<(), String> {
    result.map_err(|error| format!("{} can't be written: {error}", path.display()))
}

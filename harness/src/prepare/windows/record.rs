//! How far a preparation has come: a file beside the image, so that it can go on later.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::WindowsError;

/// A part of the preparation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The disk and the medium with the answers are made.
    Media,
    /// Setup starts, and reads its answers.
    Setup,
    /// Setup copies the system, until the first restart.
    Copy,
    /// The system starts from its disk, and sets its devices up.
    Specialize,
    /// It makes its user, who logs on.
    Logon,
    /// The settings are made.
    Settings,
    /// It shuts down.
    Shutdown,
    /// It is started once more, to see that debugger and agent answer.
    Check,
    /// The image is ready.
    Done,
}

impl Stage {
    /// Every stage, in the order in which they come.
    pub const ALL: [Self; 9] = [
        Self::Media,
        Self::Setup,
        Self::Copy,
        Self::Specialize,
        Self::Logon,
        Self::Settings,
        Self::Shutdown,
        Self::Check,
        Self::Done,
    ];

    /// The one that comes after it.
    pub fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage > self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Setup => "setup",
            Self::Copy => "copy",
            Self::Specialize => "specialize",
            Self::Logon => "logon",
            Self::Settings => "settings",
            Self::Shutdown => "shutdown",
            Self::Check => "check",
            Self::Done => "done",
        }
    }

    /// What is going on, in words.
    pub fn doing(self) -> &'static str {
        match self {
            Self::Media => "the disk is made",
            Self::Setup => "Setup starts",
            Self::Copy => "Setup copies the system",
            Self::Specialize => "the system sets up its devices",
            Self::Logon => "the system makes its user",
            Self::Settings => "the settings are made",
            Self::Shutdown => "the system shuts down",
            Self::Check => "the image is checked",
            Self::Done => "the image is ready",
        }
    }

    /// Minutes that it may take, of a machine under KVM.
    pub(super) fn minutes(self) -> u64 {
        match self {
            Self::Media | Self::Done => 1,
            Self::Setup => 20,
            Self::Copy => 90,
            Self::Specialize | Self::Logon => 60,
            Self::Settings => 30,
            Self::Shutdown | Self::Check => 15,
        }
    }

    /// Where a preparation that was interrupted here goes on. What Setup had copied is of no use without the
    /// Setup that was copying; of an image that is ready the guest file was missing, which the check writes.
    pub(super) fn again(self) -> Self {
        match self {
            Self::Setup | Self::Copy => Self::Media,
            Self::Done => Self::Check,
            other => other,
        }
    }
}

/// How far a preparation has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this file.
    version: u32,
    /// What was asked for; another request does not go on with this image.
    pub request: String,
    /// Where it is.
    pub stage: Stage,
    /// What the guest has said of itself.
    pub said: Vec<String>,
}

const VERSION: u32 = 1;
/// The most lines that are kept.
const MOST: usize = 64;

impl Record {
    /// One that begins.
    pub(super) fn new(request: String, stage: Stage) -> Self {
        Self {
            version: VERSION,
            request,
            stage,
            said: Vec::new(),
        }
    }

    /// Where the record of an image lies.
    pub fn beside(image: &Path) -> PathBuf {
        let mut name = image.as_os_str().to_owned();
        name.push(".prepare.json");
        name.into()
    }

    /// The record of an image, if there is one.
    ///
    /// # Errors
    /// When it can't be read, or is none.
    pub fn of(image: &Path) -> Result<Option<Self>, WindowsError> {
        let path = Self::beside(image);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(WindowsError::os("read", &path)(error)),
        };
        let record: Self = serde_json::from_slice(&text)
            .ok()
            .filter(|record: &Self| record.version == VERSION)
            .ok_or(WindowsError::Record { path })?;
        Ok(Some(record))
    }

    /// Keeps it beside `image`: a reader finds the old one or the new one.
    pub(super) fn keep(&self, image: &Path) -> Result<(), WindowsError> {
        let path = Self::beside(image);
        let cannot = WindowsError::os("written", &path);
        let write = || -> std::io::Result<()> {
            let folder = match path.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(cannot)
    }

    /// Notes what the guest said.
    pub(super) fn note(&mut self, line: String) {
        if self.said.len() < MOST && !self.said.contains(&line) {
            self.said.push(line);
        }
    }
}

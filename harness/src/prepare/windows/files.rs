//! What a preparation keeps beside the image.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::WindowsError;

/// What lies beside the image.
pub(super) struct Files {
    pub stick: PathBuf,
    pub variables: PathBuf,
    pub screen: PathBuf,
    pub guest: PathBuf,
    pub lock: PathBuf,
}

impl Files {
    pub fn of(out: &Path) -> Self {
        let beside = |end: &str| {
            let mut name = out.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        Self {
            stick: beside(".answers.img"),
            variables: beside(".vars.fd"),
            screen: beside(".screen.png"),
            guest: out.with_extension("toml"),
            lock: beside(".lock"),
        }
    }
}

/// Nobody else prepares the same image as long as this is held.
pub(super) fn alone(path: &Path) -> Result<File, WindowsError> {
    let cannot = || WindowsError::os("written", path);
    let lock = File::create(path).map_err(cannot())?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(WindowsError::Busy(path.with_extension(""))),
        Err(error) => Err(cannot()(error.into())),
    }
}

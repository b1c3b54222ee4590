//! What a preparation keeps beside the image.

use std::fs::File;
use std::path::{Path, PathBuf};

use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::time::{Instant, sleep};

use super::WindowsError;

/// How long a machine whose `misfire` was killed may take to be gone, and how often it is asked whether it is.
const LEAVING: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(50);

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

/// Nobody else prepares the same image as long as this is held, by us or by the machine that has inherited it.
pub(super) async fn alone(path: &Path) -> Result<File, WindowsError> {
    let cannot = || WindowsError::os("written", path);
    let lock = File::create(path).map_err(cannot())?;
    let end = Instant::now() + LEAVING;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => sleep(AGAIN).await,
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(WindowsError::Busy(path.with_extension("")));
            }
            Err(error) => return Err(cannot()(error.into())),
        }
    }
}

//! Private directories that do not outlive us.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const PREFIX: &str = "misfire-";
/// A directory younger than this may be one that its owner is about to lock.
const YOUNG: Duration = Duration::from_secs(5);
/// The longest base directory, bytes: a socket's path has to stay below 108.
const LONGEST_BASE: usize = 64;

/// A directory for sockets that nobody else can enter, removed when it is dropped.
///
/// Its owner holds a lock on it. What an owner that was killed left, the next one sweeps.
#[derive(Debug)]
pub struct RunDir {
    dir: TempDir,
    _lock: File,
}

impl RunDir {
    /// Makes one, in `XDG_RUNTIME_DIR` or the folder for temporary files.
    ///
    /// # Errors
    /// When neither can be written.
    pub fn new() -> io::Result<Self> {
        static SWEPT: Once = Once::new();
        let base = base();
        SWEPT.call_once(|| sweep(&base, YOUNG));
        Self::in_folder(&base)
    }

    fn in_folder(base: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(base)?;
        let lock = File::open(dir.path())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { dir, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn base() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && writable(dir))
        .into_iter()
        .chain([std::env::temp_dir()])
        .find(|dir| dir.as_os_str().len() <= LONGEST_BASE)
        .unwrap_or_else(|| "/tmp".into())
}

fn writable(dir: &Path) -> bool {
    rustix::fs::access(
        dir,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )
    .is_ok()
}

/// Removes the directories in `base` that nobody holds, if they are older than `young`.
fn sweep(base: &Path, young: Duration) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    let candidates = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for entry in candidates {
        let path = entry.path();
        // Not ours: it can't be opened, since it is for its owner alone.
        let Ok(lock) = File::open(&path) else {
            continue;
        };
        let old = entry
            .metadata()
            .and_then(|data| data.modified())
            .is_ok_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() >= young);
        if old && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // What can't be removed now is tried again by the next one.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_private_and_goes_with_its_owner() {
        let base = tempfile::tempdir().unwrap();
        let run = RunDir::in_folder(base.path()).unwrap();
        let path = run.path().to_owned();
        fs::write(path.join("dev0"), "").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(run);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_owner_left_is_swept_and_what_is_held_stays() {
        let base = tempfile::tempdir().unwrap();
        let held = RunDir::in_folder(base.path()).unwrap();
        let left = base.path().join("misfire-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("dev0"), "").unwrap();
        let other = base.path().join("another-program");
        fs::create_dir(&other).unwrap();

        sweep(base.path(), YOUNG);
        assert!(left.exists(), "it is too young");
        sweep(base.path(), Duration::ZERO);
        assert!(!left.exists());
        assert!(held.path().exists());
        assert!(other.exists());
    }
}

//! Private directories that do not outlive us.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

const PREFIX: &str = "misfire-";
/// How one begins that its owner is about to lock.
const UNLOCKED: &str = "misfire.new-";
/// One that is not locked yet and older than this has no owner any more.
const YOUNG: Duration = Duration::from_secs(5);
/// The longest base directory, bytes: a socket's path has to stay below 108.
const LONGEST_BASE: usize = 64;

/// A directory for sockets that nobody else can enter, removed when it is dropped.
///
/// Its owner holds a lock on it from when it has its name. What an owner that was killed left, the next
/// one sweeps.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
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
        let new = tempfile::Builder::new()
            .prefix(UNLOCKED)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(base)?;
        let lock = File::open(new.path())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let name = new.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy().replacen(UNLOCKED, PREFIX, 1);
        let path = base.join(name);
        fs::rename(new.path(), &path)?;
        // It goes by its new name with us.
        let _ = new.keep();
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // What can't be removed is swept by the next one.
        let _ = fs::remove_dir_all(&self.path);
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

/// Removes the directories in `base` that nobody holds. One that was never locked has to be older than
/// `young`.
fn sweep(base: &Path, young: Duration) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let locked = name.starts_with(PREFIX);
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_dir || !locked && !name.starts_with(UNLOCKED) {
            continue;
        }
        let path = entry.path();
        // Not ours: it can't be opened, since it is for its owner alone.
        let Ok(lock) = File::open(&path) else {
            continue;
        };
        let old = entry
            .metadata()
            .and_then(|data| data.modified())
            .is_ok_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() >= young);
        let free = locked || old;
        if free && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
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
        let make = |name: &str| {
            let dir = base.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("dev0"), "").unwrap();
            dir
        };
        let left = make("misfire-left");
        let new = make("misfire.new-left");
        let other = make("another-program");

        sweep(base.path(), YOUNG);
        assert!(!left.exists());
        assert!(new.exists(), "its owner may be about to lock it");
        sweep(base.path(), Duration::ZERO);
        assert!(!new.exists());
        assert!(held.path().exists());
        assert!(other.exists());
    }
}

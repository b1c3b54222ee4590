//! What the tests of machines share.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{About, Qemu, Version};

/// A program in `dir` that acts as its name says; see `tests/programs/fake-qemu`.
pub fn fake_qemu(dir: &Path, name: &str) -> PathBuf {
    let program = dir.join(name);
    let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/fake-qemu");
    symlink(fake, &program).unwrap();
    program
}

/// The same as a QEMU that was found.
pub fn found_qemu(dir: &Path, name: &str) -> Qemu {
    Qemu {
        program: fake_qemu(dir, name),
        about: About {
            version: Version(11, 0, 0),
            vfio_user: true,
            loader: true,
        },
        key: String::new(),
    }
}

/// Whether process `id` ends within seconds. One that waits for its parent to hear of its end is gone.
pub fn gone(id: i32) -> bool {
    within_seconds(|| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
        let state = stat.ok().and_then(|stat| {
            let after_name = stat.rsplit_once(") ")?.1;
            after_name.chars().next()
        });
        matches!(state, None | Some('Z' | 'X')).then_some(())
    })
    .is_some()
}

/// The number in a file, as soon as it is written.
pub fn read_when_there(path: &Path) -> i32 {
    within_seconds(|| {
        let text = std::fs::read_to_string(path).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    })
    .unwrap()
}

fn within_seconds<T>(mut there: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if let Some(found) = there() {
            return Some(found);
        }
        std::thread::yield_now();
    }
    None
}

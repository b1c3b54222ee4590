//! Programs that tests need and `ci/setup` makes available.

use std::path::PathBuf;

/// What ci/setup has put under target, or beside the QEMU that is named. None: it is the system's own.
pub fn private(path: &str) -> Option<PathBuf> {
    let targets = [env!("CARGO_TARGET_TMPDIR"), env!("CARGO_MANIFEST_DIR")].map(PathBuf::from);
    let qemu = std::env::var_os("MISFIRE_QEMU").map(PathBuf::from);
    let places: Vec<PathBuf> = targets.into_iter().chain(qemu).collect();
    let folders = places.iter().flat_map(|at| at.ancestors());
    folders
        .flat_map(|at| [at.join(path), at.join("target").join(path)])
        .find(|at| at.exists())
}

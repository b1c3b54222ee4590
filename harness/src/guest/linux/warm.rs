//! States of guests that have booted, kept for the next scenario.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use misfire_device::port::Journal;
use rustix::fs::{FlockOperation, flock};

use super::{BOOT_LIMIT, Bare, COMMANDS, HAND, Image, LinuxError, Pipes};
use crate::machine::{MachineError, MachineSpec, Plugged, Qemu, argv};

/// What the file beside a state ends with that has the agent's handles.
const PIPES: &str = "pipes";
/// How many states are kept; of a hundred megabytes each.
const MOST: usize = 30;

/// A guest's state that is kept.
pub(super) struct State {
    /// The file.
    pub path: PathBuf,
    /// The handles that its agent has.
    pub pipes: Pipes,
}

/// The state of the guest in `folder`, made if it is not there. One at a time makes it, and whoever wants
/// the same one waits.
pub(super) async fn state(
    qemu: &Qemu,
    image: &Image,
    spec: &MachineSpec,
    folder: &Path,
) -> Result<State, LinuxError> {
    let path = folder.join(format!(
        "{}-{:016x}.state",
        image.name,
        key(qemu, image, spec)
    ));
    if let Some(state) = open(&path) {
        return Ok(state);
    }
    let doing = format!("keeping a guest's state in {}", folder.display());
    fs::create_dir_all(folder).map_err(MachineError::os(&doing))?;
    let lock = path.with_extension("lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::create(lock)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    });
    let locked = locked
        .await
        .unwrap_or_else(|gone| Err(std::io::Error::other(gone)));
    let _lock = locked.map_err(MachineError::os(&doing))?;
    if let Some(state) = open(&path) {
        return Ok(state);
    }
    let pipes = make(image, spec, &path, &doing).await?;
    forget(folder);
    Ok(State { path, pipes })
}

/// The state in this file, if there is one.
fn open(path: &Path) -> Option<State> {
    let pipes = fs::read(path.with_extension(PIPES)).ok()?;
    path.is_file().then_some(State {
        path: path.to_owned(),
        pipes: serde_json::from_slice(&pipes).ok()?,
    })
}

/// Everything that a state depends on.
fn key(qemu: &Qemu, image: &Image, spec: &MachineSpec) -> u64 {
    let mut hasher = DefaultHasher::new();
    qemu.key().hash(&mut hasher);
    argv(&booted(spec)).hash(&mut hasher);
    image.digest.hash(&mut hasher);
    (COMMANDS, HAND).hash(&mut hasher);
    hasher.finish()
}

/// The machine whose state is kept: one that boots.
fn booted(spec: &MachineSpec) -> MachineSpec {
    MachineSpec {
        plugged: Plugged::Later,
        ..spec.clone()
    }
}

/// Boots the guest without devices, waits until it is idle, and keeps its state.
async fn make(
    image: &Image,
    spec: &MachineSpec,
    path: &Path,
    doing: &str,
) -> Result<Pipes, LinuxError> {
    let spec = booted(spec);
    let limit = BOOT_LIMIT + BOOT_LIMIT;
    let mut bare = Bare::launch(image, &spec, Journal::unread(), limit)?;
    let pipes = bare.booted().await?;
    // The agent has answered before, so that it owes nothing to whoever restores it.
    bare.machine.say("settle").await;
    bare.until("MISFIRE: done ok settle").await?;
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let saved = bare
        .machine
        .qmp()
        .save(&partial, Duration::from_secs(30))
        .await;
    let ended = bare.machine.end().await.map(|_| ());
    let kept = saved.map_err(MachineError::from).and(ended).and_then(|()| {
        let beside = serde_json::to_vec(&pipes).unwrap_or_default();
        fs::write(path.with_extension(PIPES), beside)
            .and_then(|()| fs::rename(&partial, path))
            .map_err(MachineError::os(doing))
    });
    if kept.is_err() {
        let _ = fs::remove_file(&partial);
    }
    kept?;
    Ok(pipes)
}

/// Removes the oldest states, if there are too many. Who uses one of them has opened it.
fn forget(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut states: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "state"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    states.sort();
    let surplus = states.len().saturating_sub(MOST);
    for (_, path) in &states[..surplus] {
        // What can't be removed stays, and is made again by nobody.
        let _ = fs::remove_file(path);
        let _ = fs::remove_file(path.with_extension("lock"));
        let _ = fs::remove_file(path.with_extension(PIPES));
    }
}

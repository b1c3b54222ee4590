//! States of guests in which everything is installed, kept for the next scenario: memory, and what was
//! written to the disk.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use misfire_device::port::Journal;
use rustix::fs::{FlockOperation, flock};

use super::course::{Course, Stage};
use super::{Image, SCRIPT, Setting, Windows, WindowsError};
use crate::machine::{MachineError, MachineSpec, Plugged, Qemu, argv};

/// How many states are kept; each is as large as the guest's memory.
const MOST: usize = 4;
/// What writing a state may take.
const SAVE_LIMIT: Duration = Duration::from_secs(300);

/// The files of a state.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The memory.
    pub(super) memory: PathBuf,
    /// What was written to the disk, on top of the image.
    pub(super) disk: PathBuf,
}

fn failing(doing: impl Into<String>) -> impl FnOnce(io::Error) -> WindowsError {
    let doing = doing.into();
    move |source| WindowsError::State { doing, source }
}

/// The state of the guest in `folder`, made if it is not there. One at a time makes it, and whoever wants
/// the same one waits.
pub(super) async fn state(
    qemu: &Qemu,
    image: &Image,
    setting: &Setting,
    spec: &MachineSpec,
    folder: &Path,
) -> Result<State, WindowsError> {
    let doing = format!("keeping a guest's state in {}", folder.display());
    let key = key(qemu, image, spec).map_err(failing(doing.clone()))?;
    let memory = folder.join(format!("windows-{key:016x}.state"));
    let state = State {
        disk: memory.with_extension("qcow2"),
        memory,
    };
    if state.memory.is_file() {
        return Ok(state);
    }
    fs::create_dir_all(folder).map_err(failing(doing.clone()))?;
    let lock = state.memory.with_extension("lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::create(lock)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    });
    let locked = locked
        .await
        .unwrap_or_else(|gone| Err(io::Error::other(gone)));
    let _lock = locked.map_err(failing(doing.clone()))?;
    if !state.memory.is_file() {
        let made = make(qemu, image, setting, spec, &state).await;
        if made.is_err() {
            let _ = fs::remove_file(&state.disk);
            let _ = fs::remove_file(partial(&state.memory));
        }
        made?;
        forget(folder);
    }
    Ok(state)
}

/// Everything that a state depends on. Of the image it is where it is, how long, and when it was written
/// last: it is too large to be read.
fn key(qemu: &Qemu, image: &Image, spec: &MachineSpec) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    qemu.key().hash(&mut hasher);
    argv(spec).hash(&mut hasher);
    SCRIPT.hash(&mut hasher);
    for job in &image.jobs {
        format!("{job:?}").hash(&mut hasher);
    }
    let disk = fs::metadata(&image.installed.disk)?;
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    (disk.len(), disk.modified().ok().and_then(since)).hash(&mut hasher);
    fs::canonicalize(&image.installed.disk)?.hash(&mut hasher);
    Ok(hasher.finish())
}

fn partial(path: &Path) -> PathBuf {
    path.with_extension(format!("partial-{}", std::process::id()))
}

/// Boots the guest without devices, installs everything, and keeps its state.
async fn make(
    qemu: &Qemu,
    image: &Image,
    setting: &Setting,
    spec: &MachineSpec,
    state: &State,
) -> Result<(), WindowsError> {
    overlay(qemu, image, &state.disk).await?;
    let mut spec = MachineSpec {
        plugged: Plugged::Later,
        ..spec.clone()
    };
    if let Some(installed) = &mut spec.installed {
        installed.disk.clone_from(&state.disk);
        installed.format = "qcow2".to_owned();
        installed.keeps = true;
    }
    let course = Course::cold(image.limits, image.jobs.clone(), image.workload.clone());
    let limit = Windows::longest(image) + SAVE_LIMIT;
    let mut windows = Windows::launch(image, setting, &spec, course, Journal::unread(), limit)?;
    windows.to(Stage::Plug).await?;
    // Agent and kernel have answered, so that they owe nothing to whoever restores it.
    let partial = partial(&state.memory);
    let saved = windows.machine.qmp().save(&partial, SAVE_LIMIT).await;
    // QEMU writes what it still has to the disk when it is told to end.
    let told = windows.machine.qmp().quit().await;
    let ended = windows.end().await;
    saved.and(told).map_err(MachineError::from)?;
    ended?;
    fs::rename(&partial, &state.memory).map_err(failing("keeping a guest's state"))
}

/// An image on top of another: only what is written is in it.
async fn overlay(qemu: &Qemu, image: &Image, to: &Path) -> Result<(), WindowsError> {
    let beside = qemu.program.with_file_name("qemu-img");
    let program = if beside.is_file() {
        beside
    } else {
        "qemu-img".into()
    };
    let doing = format!("making {} with `{}`", to.display(), program.display());
    let below = fs::canonicalize(&image.installed.disk).map_err(failing(doing.clone()))?;
    let output = tokio::process::Command::new(&program)
        .args(["create", "-q", "-f", "qcow2", "-F", &image.installed.format])
        .arg("-b")
        .arg(below)
        .arg(to)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(failing(doing.clone()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failing(doing)(io::Error::other(said)))
}

/// Removes the oldest states, if there are too many. Who uses one of them has opened it.
fn forget(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let is_ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("windows-") && name.ends_with(".state")
    };
    let mut states: Vec<_> = entries
        .flatten()
        .filter(|entry| is_ours(&entry.path()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    states.sort();
    let surplus = states.len().saturating_sub(MOST);
    for (_, path) in &states[..surplus] {
        // What can't be removed stays, and is made again by nobody.
        for end in ["state", "qcow2", "lock"] {
            let _ = fs::remove_file(path.with_extension(end));
        }
    }
}

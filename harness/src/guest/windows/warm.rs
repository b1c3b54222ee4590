//! States of guests in which everything is installed, kept for the next scenario: memory, and what was
//! written to the disk.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use misfire_device::port::Journal;

use super::course::{Course, Stage};
use super::{Image, SCRIPT, Setting, Windows, WindowsError};
use crate::guest::warm::{Found, Kept, Making, disk};
use crate::machine::{MachineError, MachineSpec, Plugged, Qemu, argv};

/// What writing a state may take.
const SAVE_LIMIT: Duration = Duration::from_secs(300);

fn failing(doing: impl Into<String>) -> impl FnOnce(io::Error) -> WindowsError {
    let doing = doing.into();
    move |source| WindowsError::State { doing, source }
}

/// The state of the guest in `folder`, with its disk, made if it is not there.
pub(super) async fn state(
    qemu: &Qemu,
    image: &Image,
    setting: &Setting,
    spec: &MachineSpec,
    folder: &Path,
) -> Result<Kept<PathBuf>, WindowsError> {
    let doing = format!("keeping a guest's state in {}", folder.display());
    let key = key(qemu, image, spec).map_err(failing(doing))?;
    let stem = format!("windows-{key:016x}");
    match disk::STATES.find(folder, &stem, disk::is_there).await? {
        Found::Kept(kept) => Ok(kept),
        Found::Missing(making) => {
            make(qemu, image, setting, spec, &making).await?;
            Ok(making.kept().await?)
        }
    }
}

/// Everything that a state depends on.
fn key(qemu: &Qemu, image: &Image, spec: &MachineSpec) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    qemu.key().hash(&mut hasher);
    argv(spec).hash(&mut hasher);
    SCRIPT.hash(&mut hasher);
    for job in &image.jobs {
        format!("{job:?}").hash(&mut hasher);
    }
    disk::files(&image.installed, &mut hasher)?;
    Ok(hasher.finish())
}

/// Boots the guest without devices, installs everything, and keeps its state.
async fn make(
    qemu: &Qemu,
    image: &Image,
    setting: &Setting,
    spec: &MachineSpec,
    to: &Making<PathBuf>,
) -> Result<(), WindowsError> {
    disk::overlay(qemu, &image.installed, &to.beside).await?;
    let mut spec = MachineSpec {
        plugged: Plugged::Later,
        ..spec.clone()
    };
    if let Some(installed) = &mut spec.installed {
        *installed = disk::laid_over(installed, &to.beside);
        installed.keeps = true;
    }
    let course = Course::cold(image.limits, image.jobs.clone(), image.workload.clone());
    let limit = Windows::longest(image) + SAVE_LIMIT;
    let journal = Journal::unread();
    let mut windows = Windows::launch(image, setting, &spec, course, journal, limit).await?;
    windows.to(Stage::Plug).await?;
    // Agent and kernel have answered, so that they owe nothing to whoever restores it.
    let saved = windows.machine.qmp().save(&to.memory, SAVE_LIMIT).await;
    // QEMU writes what it still has to the disk when it is told to end.
    let told = windows.machine.qmp().quit().await;
    let ended = windows.end().await;
    saved.and(told).map_err(MachineError::from)?;
    Ok(ended?)
}

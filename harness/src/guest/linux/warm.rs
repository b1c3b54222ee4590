//! States of guests that have booted, kept for the next scenario.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use misfire_device::port::Journal;

use super::{BOOT_LIMIT, Bare, COMMANDS, HAND, Image, LinuxError, Pipes, SYSTEM, longest};
use crate::guest::warm::{Found, Kept, Kind, disk};
use crate::machine::{MachineError, MachineSpec, Plugged, Qemu, argv};

/// What writing a state may take.
const SAVE_LIMIT: Duration = Duration::from_secs(30);
/// The states of Linux guests, of a hundred megabytes each. Beside each lie the handles that its agent has.
const STATES: Kind = Kind {
    memory: "state",
    beside: "pipes",
    most: 30,
};

/// The state of the guest in `folder`, made if it is not there.
pub(super) async fn state(
    qemu: &Qemu,
    image: &Image,
    spec: &MachineSpec,
    folder: &Path,
) -> Result<Kept<Pipes>, LinuxError> {
    let stem = format!("{}-{:016x}", image.name, key(qemu, image, spec));
    match STATES.find(folder, &stem, pipes).await? {
        Found::Kept(kept) => Ok(kept),
        Found::Missing(making) => {
            let spec = booted(spec);
            let pipes = make(image, &spec, &making.memory).await?;
            let beside = serde_json::to_vec(&pipes).unwrap_or_default();
            let written = fs::write(&making.beside, beside);
            written.map_err(MachineError::os("keeping the agent's handles"))?;
            Ok(making.kept().await?)
        }
    }
}

/// The same of a guest with a disk. Beside it lies what was written to that; its agent's handles are not kept.
pub(super) async fn on_disk(
    qemu: &Qemu,
    image: &Image,
    spec: &MachineSpec,
    folder: &Path,
) -> Result<Kept<PathBuf>, LinuxError> {
    let mut hasher = DefaultHasher::new();
    (key(qemu, image, spec), SYSTEM).hash(&mut hasher);
    let mut spec = booted(spec);
    if let Some(installed) = &spec.installed {
        let doing = format!("looking at {}", installed.disk.display());
        let looked = disk::files(installed, &mut hasher);
        looked.map_err(MachineError::os(&doing))?;
    }
    let stem = format!("{}-{:016x}", image.name, hasher.finish());
    let found = disk::STATES.find(folder, &stem, disk::is_there).await?;
    match found {
        Found::Kept(kept) => Ok(kept),
        Found::Missing(making) => {
            if let Some(installed) = &mut spec.installed {
                disk::overlay(qemu, installed, &making.beside).await?;
                *installed = disk::laid_over(installed, &making.beside);
                installed.keeps = true;
            }
            make(image, &spec, &making.memory).await?;
            Ok(making.kept().await?)
        }
    }
}

fn pipes(beside: &Path) -> Option<Pipes> {
    serde_json::from_slice(&fs::read(beside).ok()?).ok()
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

/// Boots the guest of `spec`, which has no devices yet, waits until it is idle, and keeps its memory.
async fn make(image: &Image, spec: &MachineSpec, memory: &Path) -> Result<Pipes, LinuxError> {
    let limit = longest(image) + BOOT_LIMIT;
    let mut bare = Bare::launch(image, spec, Journal::unread(), limit)?;
    let pipes = bare.booted(image).await?;
    // The agent has answered before, so that it owes nothing to whoever restores it.
    // A system of somebody else's may have its memory to itself.
    let (calm, done) = match image.disk {
        Some(_) => ("idle 1000000", "MISFIRE: done ok idle"),
        None => ("settle", "MISFIRE: done ok settle"),
    };
    bare.machine.say(calm).await;
    bare.until(done).await?;
    let saved = bare.machine.qmp().save(memory, SAVE_LIMIT).await;
    saved.map_err(MachineError::from)?;
    if image.disk.is_some() {
        // QEMU writes what it still has to the disk when it is told to end.
        let told = bare.machine.qmp().quit().await;
        told.map_err(MachineError::from)?;
        bare.machine.left("the end of QEMU").await?;
    }
    bare.machine.end().await?;
    Ok(pipes)
}

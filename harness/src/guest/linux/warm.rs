//! States of guests that have booted, kept for the next scenario.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::time::Duration;

use misfire_device::port::Journal;

use super::{BOOT_LIMIT, Bare, COMMANDS, HAND, Image, LinuxError, Pipes};
use crate::guest::warm::{Found, Kept, Kind, Making};
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
            make(image, spec, &making).await?;
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

/// Boots the guest without devices, waits until it is idle, and keeps its state.
async fn make(image: &Image, spec: &MachineSpec, to: &Making<Pipes>) -> Result<(), LinuxError> {
    let spec = booted(spec);
    let limit = BOOT_LIMIT + BOOT_LIMIT;
    let mut bare = Bare::launch(image, &spec, Journal::unread(), limit)?;
    let pipes = bare.booted().await?;
    // The agent has answered before, so that it owes nothing to whoever restores it.
    bare.machine.say("settle").await;
    bare.until("MISFIRE: done ok settle").await?;
    let saved = bare.machine.qmp().save(&to.memory, SAVE_LIMIT).await;
    let ended = bare.machine.end().await;
    saved.map_err(MachineError::from)?;
    ended?;
    let beside = serde_json::to_vec(&pipes).unwrap_or_default();
    let written = fs::write(&to.beside, beside);
    Ok(written.map_err(MachineError::os("keeping the agent's handles"))?)
}

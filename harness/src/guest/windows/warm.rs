//! States of guests in which everything is installed, kept for the next scenario: memory, and what was
//! written to the disk.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use misfire_device::port::Journal;

use super::course::{Course, Stage};
use super::{Image, SCRIPT, Setting, Windows, WindowsError};
use crate::guest::warm::{Found, Kept, Kind, Making};
use crate::machine::{Installed, MachineError, MachineSpec, Plugged, Qemu, argv};

/// The states of Windows guests, each as large as the guest's memory. Beside each lies what was written to the disk, on
/// top of the image.
const STATES: Kind = Kind {
    memory: "memory",
    beside: "qcow2",
    most: 4,
};
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
    match STATES.find(folder, &stem, disk).await? {
        Found::Kept(kept) => Ok(kept),
        Found::Missing(making) => {
            make(qemu, image, setting, spec, &making).await?;
            Ok(making.kept().await?)
        }
    }
}

fn disk(beside: &Path) -> Option<PathBuf> {
    beside.is_file().then(|| beside.to_owned())
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
    files(&image.installed, &mut hasher)?;
    Ok(hasher.finish())
}

/// What the files hold that a machine is made of. Of the disk's image it is where it is, how long, and when it was
/// written last: it is too large to be read.
fn files(installed: &Installed, hasher: &mut DefaultHasher) -> io::Result<()> {
    let disk = fs::metadata(&installed.disk)?;
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    (disk.len(), disk.modified().ok().and_then(since)).hash(hasher);
    fs::canonicalize(&installed.disk)?.hash(hasher);
    if let Some(firmware) = &installed.firmware {
        fs::read(&firmware.code)?.hash(hasher);
        let variables = firmware.variables.as_ref().map(fs::read);
        variables.transpose()?.hash(hasher);
    }
    Ok(())
}

/// Boots the guest without devices, installs everything, and keeps its state.
async fn make(
    qemu: &Qemu,
    image: &Image,
    setting: &Setting,
    spec: &MachineSpec,
    to: &Making<PathBuf>,
) -> Result<(), WindowsError> {
    overlay(qemu, image, &to.beside).await?;
    let mut spec = MachineSpec {
        plugged: Plugged::Later,
        ..spec.clone()
    };
    if let Some(installed) = &mut spec.installed {
        installed.disk.clone_from(&to.beside);
        installed.format = "qcow2".to_owned();
        installed.keeps = true;
    }
    let course = Course::cold(image.limits, image.jobs.clone(), image.workload.clone());
    let limit = Windows::longest(image) + SAVE_LIMIT;
    let mut windows = Windows::launch(image, setting, &spec, course, Journal::unread(), limit)?;
    windows.to(Stage::Plug).await?;
    // Agent and kernel have answered, so that they owe nothing to whoever restores it.
    let saved = windows.machine.qmp().save(&to.memory, SAVE_LIMIT).await;
    // QEMU writes what it still has to the disk when it is told to end.
    let told = windows.machine.qmp().quit().await;
    let ended = windows.end().await;
    saved.and(told).map_err(MachineError::from)?;
    Ok(ended?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Firmware, Hotplug};

    #[test]
    fn a_state_depends_on_what_the_firmware_holds_and_not_only_on_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let path = |name: &str| dir.path().join(name);
        let installed = |firmware| Installed {
            disk: path("disk"),
            format: "raw".to_owned(),
            keeps: false,
            firmware,
            tpm: None,
            cpu_flags: Vec::new(),
            hotplug: Hotplug::Acpi,
            viewer: false,
        };
        let of = |installed: &Installed| {
            let mut hasher = DefaultHasher::new();
            files(installed, &mut hasher).unwrap();
            hasher.finish()
        };
        for name in ["disk", "code", "variables"] {
            write(name, "first");
        }
        let plain = of(&installed(None));
        let with = installed(Some(Firmware {
            code: path("code"),
            variables: Some(path("variables")),
        }));
        let mut keys = vec![plain, of(&with)];
        for name in ["code", "variables", "disk"] {
            write(name, "another");
            keys.push(of(&with));
        }
        assert_eq!(of(&with), keys[4]);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 5);
        fs::remove_file(path("code")).unwrap();
        assert!(files(&with, &mut DefaultHasher::new()).is_err());
    }
}

//! States of guests that have a disk: beside the memory lies what was written to it, on top of the image.

use std::fs;
use std::hash::{DefaultHasher, Hash as _};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use super::Kind;
use crate::machine::{Installed, MachineError, Qemu};

/// These states, each as large as the guest's memory.
pub const STATES: Kind = Kind {
    memory: "memory",
    beside: "qcow2",
    most: 4,
};

/// What was written to the disk, if it is there.
pub fn is_there(beside: &Path) -> Option<PathBuf> {
    beside.is_file().then(|| beside.to_owned())
}

/// The same machine with what was written to the disk, which lies on top of the image.
pub fn laid_over(installed: &Installed, disk: &Path) -> Installed {
    Installed {
        disk: disk.to_owned(),
        format: "qcow2".to_owned(),
        ..installed.clone()
    }
}

/// What the files hold that a machine is made of. Of the disk's image it is where it is, how long, and when it was
/// written last: it is too large to be read.
pub fn files(installed: &Installed, hasher: &mut DefaultHasher) -> io::Result<()> {
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

/// An image on top of another: only what is written is in it.
///
/// # Errors
/// When `qemu-img` can't make it, with what it said.
pub async fn overlay(qemu: &Qemu, installed: &Installed, to: &Path) -> Result<(), MachineError> {
    let beside = qemu.program.with_file_name("qemu-img");
    let program = if beside.is_file() {
        beside
    } else {
        "qemu-img".into()
    };
    let doing = format!("making {} with `{}`", to.display(), program.display());
    let below = fs::canonicalize(&installed.disk).map_err(MachineError::os(&doing))?;
    let output = tokio::process::Command::new(&program)
        .args(["create", "-q", "-f", "qcow2", "-F", &installed.format])
        .arg("-b")
        .arg(below)
        .arg(to)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(MachineError::os(&doing))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(MachineError::os(&doing)(io::Error::other(said)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher as _;

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

//! Disk images, through qemu-img.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::{Firmware, WindowsError};

/// Where a disk says that it has a partition table that only UEFI starts a Windows from, and how.
const TABLE: usize = 512;
const GUID_TABLE: &[u8] = b"EFI PART";

/// qemu-img: beside QEMU, else in PATH.
pub(super) fn qemu_img(qemu: &Path) -> Result<PathBuf, WindowsError> {
    let beside = qemu.with_file_name("qemu-img");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path).map(|folder| folder.join("qemu-img"));
    [beside]
        .into_iter()
        .chain(others)
        .find(|program| program.is_file())
        .ok_or_else(|| WindowsError::NoQemuImg(qemu.to_owned()))
}

/// Runs qemu-img, and says what it said when it fails.
pub(super) fn run(mut command: Command) -> Result<String, WindowsError> {
    let output = command
        .env("LC_ALL", "C")
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| WindowsError::QemuImg(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(WindowsError::QemuImg(match said.trim() {
        "" => output.status.to_string(),
        said => said.lines().collect::<Vec<_>>().join(" | "),
    }))
}

/// The format of an image, as qemu-img sees it.
///
/// # Errors
/// When it is none, or damaged.
pub(super) fn format(program: &Path, image: &Path) -> Result<String, WindowsError> {
    #[derive(Deserialize)]
    struct Info {
        format: String,
    }
    let mut command = Command::new(program);
    command.args(["info", "--output=json", "-U"]).arg(image);
    let text = run(command)?;
    let info: Info = serde_json::from_str(&text)
        .map_err(|error| WindowsError::QemuImg(format!("it said what is no JSON: {error}")))?;
    Ok(info.format)
}

/// The firmware that starts the system on an image: by its partition table.
///
/// # Errors
/// When the image is none, or is damaged.
pub(super) fn firmware(program: &Path, image: &Path) -> Result<Firmware, WindowsError> {
    let cannot = || WindowsError::os("written", std::env::temp_dir());
    let folder = tempfile::tempdir().map_err(cannot())?;
    let head = folder.path().join("head");
    let mut command = Command::new(program);
    command.args(["dd", "-U", "-O", "raw", "bs=512", "count=2"]);
    for (what, path) in [("if", image), ("of", &head)] {
        let mut argument = std::ffi::OsString::from(format!("{what}="));
        argument.push(path);
        command.arg(argument);
    }
    run(command)?;
    let head = std::fs::read(&head).map_err(cannot())?;
    let has_table = head
        .get(TABLE..)
        .is_some_and(|rest| rest.starts_with(GUID_TABLE));
    Ok(if has_table {
        Firmware::Uefi
    } else {
        Firmware::Bios
    })
}

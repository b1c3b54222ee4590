//! The medium with the answers: a FAT image that the machine has as a USB stick.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};

use super::WindowsError;

/// Its size in bytes: the smallest that is a FAT16 and no FAT12.
const SIZE: u64 = 16 << 20;
/// What the user's certificates may take together, bytes.
const MOST: u64 = 1 << 20;

/// What runs in the guest.
pub(super) const SCRIPTS: &[(&str, &str)] = &[
    (
        "first.cmd",
        include_str!("../../../guests/windows/setup/first.cmd"),
    ),
    (
        "apply.cmd",
        include_str!("../../../guests/windows/setup/apply.cmd"),
    ),
    (
        "agent.ps1",
        include_str!("../../../guests/windows/setup/agent.ps1"),
    ),
];

/// Makes the medium at `path`, with the answer file if there is one, and certificates that are to be trusted.
///
/// # Errors
/// When a certificate can't be read, or the file can't be written.
pub(super) fn make(
    path: &Path,
    answer: Option<&str>,
    certificates: &[PathBuf],
) -> Result<(), WindowsError> {
    let mut files: Vec<(String, Vec<u8>)> = SCRIPTS
        .iter()
        .map(|(name, text)| (format!("misfire/{name}"), lines(text)))
        .collect();
    if let Some(answer) = answer {
        files.push(("autounattend.xml".into(), lines(answer)));
    }
    let mut total = 0;
    for (n, certificate) in certificates.iter().enumerate() {
        let cannot = || WindowsError::os("read", certificate);
        total += fs::metadata(certificate).map_err(cannot())?.len();
        if total > MOST {
            let large = io::Error::other("a certificate is not that large");
            return Err(cannot()(large));
        }
        let bytes = fs::read(certificate).map_err(cannot())?;
        files.push((format!("misfire/{n}.cer"), bytes));
    }
    write(path, &files).map_err(WindowsError::os("written", path))
}

/// As Windows has text: its `cmd` loses labels in files without `\r`.
fn lines(text: &str) -> Vec<u8> {
    text.replace("\r\n", "\n")
        .replace('\n', "\r\n")
        .into_bytes()
}

fn write(path: &Path, files: &[(String, Vec<u8>)]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&partial)?;
    file.set_len(SIZE)?;
    format_volume(
        &mut file,
        FormatVolumeOptions::new().volume_label(*b"MISFIRE    "),
    )?;
    {
        let stick = FileSystem::new(&mut file, FsOptions::new())?;
        let root = stick.root_dir();
        root.create_dir("misfire")?;
        for (name, bytes) in files {
            root.create_file(name)?.write_all(bytes)?;
        }
    }
    file.sync_all()?;
    fs::rename(partial, path)
}

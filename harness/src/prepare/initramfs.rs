//! The initial RAM disk: a cpio archive in the kernel's format.

use std::io::{self, Read as _, Write as _};

use cpio::newc::{Builder, Reader, trailer};

use super::PrepareError;

/// An archive that is being written.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

impl Archive {
    /// A folder.
    pub fn folder(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, FOLDER, (0, 0), &[])
    }

    /// A file that can be executed.
    pub fn program(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.entry(path, PROGRAM, (0, 0), bytes)
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, to: &str) -> io::Result<()> {
        self.entry(path, LINK, (0, 0), to.as_bytes())
    }

    /// A character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[])
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), bytes: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut writer = Builder::new(path)
            .ino(self.entries)
            .mode(mode)
            .nlink(1)
            .rdev_major(device.0)
            .rdev_minor(device.1)
            .write(&mut self.bytes, size);
        writer.write_all(bytes)?;
        writer.finish()?;
        Ok(())
    }

    /// The archive with its end.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        trailer(self.bytes)
    }
}

/// An archive with nothing in it: a kernel goes on to its root.
///
/// # Errors
/// None that is known of.
pub(crate) fn empty_archive() -> Result<Vec<u8>, PrepareError> {
    let archive = Archive::default().finish();
    archive.map_err(PrepareError::written("the initial RAM disk"))
}

/// The files of an archive that is not packed, or of several one after the other: their paths and bytes.
pub(super) fn files(mut archive: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    loop {
        let mut reader = Reader::new(archive)?;
        let (mut bytes, name) = (Vec::new(), reader.entry().name().to_owned());
        let is_last = reader.entry().is_trailer();
        reader.read_to_end(&mut bytes)?;
        archive = reader.finish()?;
        if !is_last {
            files.push((name, bytes));
            continue;
        }
        let padding = archive.iter().take_while(|byte| **byte == 0).count();
        archive = &archive[padding..];
        if archive.is_empty() {
            return Ok(files);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_holds_what_was_put_in_in_order() {
        let mut archive = Archive::default();
        archive.folder("dev").unwrap();
        archive.device("dev/console", 5, 1).unwrap();
        archive.link("bin/sh", "busybox").unwrap();
        archive.program("init", b"#!/bin/sh\n").unwrap();
        let bytes = archive.finish().unwrap();
        assert!(bytes.starts_with(b"070701"));

        let mut left = bytes.as_slice();
        let mut seen = Vec::new();
        loop {
            let mut reader = Reader::new(left).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut content = String::new();
            reader.read_to_string(&mut content).unwrap();
            let entry = reader.entry();
            seen.push((
                entry.name().to_owned(),
                entry.mode(),
                (entry.rdev_major(), entry.rdev_minor()),
                content,
            ));
            left = reader.finish().unwrap();
        }
        let entry = |name: &str, mode, device, content: &str| {
            (name.to_owned(), mode, device, content.to_owned())
        };
        assert_eq!(
            seen,
            [
                entry("dev", FOLDER, (0, 0), ""),
                entry("dev/console", CHARACTER_DEVICE, (5, 1), ""),
                entry("bin/sh", LINK, (0, 0), "busybox"),
                entry("init", PROGRAM, (0, 0), "#!/bin/sh\n"),
            ]
        );
    }
}

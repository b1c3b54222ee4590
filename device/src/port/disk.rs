//! Opening what is behind a disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::shape::Shape;
use crate::spec::SECTOR_BYTES;

/// The disk can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// There is no memory for it.
    #[error("a disk of {sectors} sectors does not fit into memory")]
    Memory {
        /// Sectors of 512 bytes.
        sectors: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its file can't be opened for reading and writing.
    #[error("the disk {} can't be opened", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its file is shorter than a sector.
    #[error("the disk {} has {bytes} bytes: expected 512 at least", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
}

/// Opens the disk of a block device, and tells its size in sectors: that of the file when there is
/// one, else what the shape says. Memory is taken only where something was written.
///
/// # Errors
/// The file can't be used, or there is no memory.
pub fn open(shape: &Shape) -> Result<(File, u64), DiskError> {
    let Some(path) = shape.file.clone() else {
        let sectors = shape.capacity;
        return memory(sectors)
            .map(|file| (file, sectors))
            .map_err(|source| DiskError::Memory { sectors, source });
    };
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .and_then(|file| Ok((file.metadata()?.len(), file)));
    match opened {
        Err(source) => Err(DiskError::File { path, source }),
        Ok((bytes, _)) if bytes < SECTOR_BYTES => Err(DiskError::Empty { path, bytes }),
        Ok((bytes, file)) => Ok((file, bytes / SECTOR_BYTES)),
    }
}

fn memory(sectors: u64) -> io::Result<File> {
    let bytes = sectors
        .checked_mul(SECTOR_BYTES)
        .ok_or(io::ErrorKind::FileTooLarge)?;
    let file = File::from(memfd_create("misfire-disk", MemfdFlags::CLOEXEC)?);
    file.set_len(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Kind;

    #[test]
    fn memory_of_any_size_costs_nothing_until_it_is_written() {
        let mut shape = Shape::new(Kind::Block);
        shape.capacity = 1 << 41;
        let (file, sectors) = open(&shape).unwrap();
        assert_eq!(
            (sectors, file.metadata().unwrap().len()),
            (1 << 41, 1 << 50)
        );
    }

    #[test]
    fn a_file_gives_the_size_and_a_missing_or_empty_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut shape = Shape::new(Kind::Block);
        let path = dir.path().join("disk");
        shape.file = Some(path.clone());
        let error = open(&shape).unwrap_err().to_string();
        assert!(error.contains("disk can't be opened"), "{error}");
        std::fs::write(&path, [0; 100]).unwrap();
        assert!(matches!(
            open(&shape),
            Err(DiskError::Empty { bytes: 100, .. })
        ));
        std::fs::write(&path, [0; 1500]).unwrap();
        assert_eq!(open(&shape).unwrap().1, 2);
    }
}

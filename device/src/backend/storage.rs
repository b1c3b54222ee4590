//! What is behind a disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that survive a request. Reading what was never written gives zeros.
pub trait Storage: Send + Sync {
    /// Fills `buffer` from byte `offset` on.
    ///
    /// # Errors
    /// Those of the medium.
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buffer` from byte `offset` on.
    ///
    /// # Errors
    /// Those of the medium.
    fn write(&self, buffer: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written survive a crash of the host.
    ///
    /// # Errors
    /// Those of the medium.
    fn flush(&self) -> io::Result<()>;

    /// Makes `length` bytes from `offset` on read as zeros, and gives their space back.
    ///
    /// # Errors
    /// Those of the medium; `Unsupported` when it can't do this better than by writing.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;
}

impl Storage for File {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break, // beyond the end: a disk that grew
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        buffer[done..].fill(0);
        Ok(())
    }

    fn write(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(buffer, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(self, flags, offset, length) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            result => Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_written_reads_as_zeros() {
        let file = tempfile::tempfile().unwrap();
        Storage::write(&file, &[7; 10], 0).unwrap();
        let mut buffer = [1; 20];
        Storage::read(&file, &mut buffer, 5).unwrap();
        assert_eq!(buffer[..5], [7; 5]);
        assert_eq!(buffer[5..], [0; 15]);
    }

    #[test]
    fn a_punched_range_reads_as_zeros_and_the_rest_stays() {
        let file = tempfile::tempfile().unwrap();
        Storage::write(&file, &[7; 4096], 0).unwrap();
        match file.punch(512, 1024) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => return,
            result => result.unwrap(),
        }
        let mut buffer = [1; 4096];
        Storage::read(&file, &mut buffer, 0).unwrap();
        assert!(buffer[512..1536].iter().all(|b| *b == 0));
        assert!(buffer[..512].iter().chain(&buffer[1536..]).all(|b| *b == 7));
    }
}

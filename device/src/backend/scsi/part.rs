//! What is behind one of several disks.

use std::io;
use std::sync::Arc;

use super::super::storage::Storage;

/// Distance between two disks in bytes. What lies between them takes no room.
const STRIDE: u64 = 1 << 40;

/// A disk's part of what is behind all of them.
pub struct Part {
    whole: Arc<dyn Storage>,
    begin: u64,
}

impl Part {
    /// The part of a unit.
    pub fn new(whole: Arc<dyn Storage>, unit: u8) -> Self {
        Self {
            whole,
            begin: STRIDE * u64::from(unit),
        }
    }
}

impl Storage for Part {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.whole.read(buffer, self.begin + offset)
    }

    fn write(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.whole.write(buffer, self.begin + offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.whole.flush()
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.whole.punch(self.begin + offset, length)
    }
}

//! Memory shared with a device: its registers, or RAM that it reads and writes. Every access
//! happens as written and has the width of the field.

use core::ptr;

/// A window of such memory.
#[derive(Clone, Copy, Debug)]
pub struct Mmio {
    base: usize,
    length: usize,
}

impl Mmio {
    /// The window at a physical address, which is mapped one to one. `length` in bytes.
    pub const fn new(base: u64, length: usize) -> Self {
        Self {
            base: base as usize,
            length,
        }
    }

    /// Size of the window in bytes.
    pub fn length(self) -> usize {
        self.length
    }

    /// Its physical address.
    pub fn address(self) -> u64 {
        self.base as u64
    }

    /// The part of the window from `offset` on, cut to `length` bytes; `None` when it is not inside.
    pub fn part(self, offset: usize, length: usize) -> Option<Self> {
        (offset <= self.length).then(|| Self {
            base: self.base + offset,
            length: length.min(self.length - offset),
        })
    }

    fn at<T>(self, offset: usize) -> *mut T {
        assert!(
            offset + size_of::<T>() <= self.length && offset.is_multiple_of(size_of::<T>()),
            "access at {offset:#x} in a window of {:#x} bytes",
            self.length
        );
        (self.base + offset) as *mut T
    }

    /// Reads one field of `T`'s width; `offset` in bytes.
    pub fn read<T: Copy>(self, offset: usize) -> T {
        // SAFETY: `at` checked the range, and device memory is valid for every bit pattern of the
        // integers that are read.
        unsafe { ptr::read_volatile(self.at(offset)) }
    }

    /// Writes one field of `T`'s width; `offset` in bytes.
    pub fn write<T: Copy>(self, offset: usize, value: T) {
        // SAFETY: as for `read`.
        unsafe { ptr::write_volatile(self.at(offset), value) }
    }
}

//! What is on its way to the driver: a bounded buffer of bytes, or of frames.

use std::collections::VecDeque;

use vm_memory::GuestMemory;

use super::chain::{Cursor, Unreachable};

/// Bytes in their order, never more than its capacity; it takes no memory after its making.
#[derive(Clone, Debug)]
pub struct Lane {
    bytes: VecDeque<u8>,
    capacity: usize,
}

/// Bytes that tell the length of a frame.
const LENGTH_BYTES: usize = 4;

impl Lane {
    /// A lane for so many bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::with_capacity(capacity),
            capacity,
        }
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Takes as many bytes as there is room for.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.capacity - self.bytes.len();
        self.bytes.extend(&bytes[..bytes.len().min(room)]);
    }

    /// Takes a frame, or drops it when there is no room. Returns whether it was taken.
    pub fn push_frame(&mut self, frame: &[u8]) -> bool {
        let fits = frame.len() + LENGTH_BYTES <= self.capacity - self.bytes.len();
        if fits {
            self.bytes.extend((frame.len() as u32).to_le_bytes());
            self.bytes.extend(frame);
        }
        fits
    }

    /// The length of the first frame.
    pub fn first_frame(&self) -> Option<usize> {
        let mut length = [0; LENGTH_BYTES];
        for (at, byte) in length.iter_mut().enumerate() {
            *byte = *self.bytes.get(at)?;
        }
        Some(u32::from_le_bytes(length) as usize)
    }

    /// Drops the first frame.
    pub fn drop_frame(&mut self) {
        if let Some(length) = self.first_frame() {
            self.bytes.drain(..(LENGTH_BYTES + length).min(self.len()));
        }
    }

    /// Moves the first frame, without its length, into the guest's memory.
    ///
    /// # Errors
    /// The memory can't be written; the frame is gone.
    pub fn pop_frame<M: GuestMemory>(
        &mut self,
        memory: &M,
        buffers: &mut Cursor<'_>,
    ) -> Result<(), Unreachable> {
        let length = self.first_frame().unwrap_or(0);
        self.bytes.drain(..LENGTH_BYTES.min(self.len()));
        self.pop(memory, buffers, length)
    }

    /// Moves the first `length` bytes into the guest's memory.
    ///
    /// # Errors
    /// The memory can't be written; the bytes are gone.
    pub fn pop<M: GuestMemory>(
        &mut self,
        memory: &M,
        buffers: &mut Cursor<'_>,
        length: usize,
    ) -> Result<(), Unreachable> {
        let length = length.min(self.len());
        let (first, second) = self.bytes.as_slices();
        let part = first.len().min(length);
        let written = buffers
            .write(memory, &first[..part])
            .and_then(|()| buffers.write(memory, &second[..length - part]));
        self.bytes.drain(..length);
        written
    }
}

//! A descriptor as it lies in guest memory, in a ring of either kind or in a table (2.7.5, 2.8.13).

use virtio_bindings::virtio_ring::{
    VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE, VRING_PACKED_DESC_F_AVAIL,
    VRING_PACKED_DESC_F_USED,
};
use vm_memory::{Bytes, GuestAddress, GuestMemory};

/// The list goes on.
pub const NEXT: u16 = VRING_DESC_F_NEXT as u16;
/// The device writes the buffer.
pub const WRITE: u16 = VRING_DESC_F_WRITE as u16;
/// The buffer is a table of descriptors.
pub const INDIRECT: u16 = VRING_DESC_F_INDIRECT as u16;
/// Available, in a packed ring whose wrap counter is 1.
pub const AVAIL: u16 = 1 << VRING_PACKED_DESC_F_AVAIL;
/// Used, in a packed ring whose wrap counter is 1.
pub const USED: u16 = 1 << VRING_PACKED_DESC_F_USED;
/// The size of a descriptor.
pub const BYTES: u64 = 16;

/// A descriptor, byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw(pub [u8; BYTES as usize]);

impl Raw {
    /// Reads descriptor `at` of those at `base`; `None` when it is not in memory.
    pub fn read<M: GuestMemory>(memory: &M, base: u64, at: u16) -> Option<Self> {
        let address = base.checked_add(BYTES * u64::from(at))?;
        let mut bytes = [0; BYTES as usize];
        let read = memory.read_slice(&mut bytes, GuestAddress(address));
        read.ok().map(|()| Self(bytes))
    }

    /// Where its buffer is.
    pub fn address(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// How long its buffer is.
    pub fn length(&self) -> u32 {
        let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }

    /// Its last two words: `flags` and `next` in a split ring, `id` and `flags` in a packed one.
    pub fn words(&self) -> [u16; 2] {
        let [.., a, b, c, d] = self.0;
        [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
    }
}

//! What is seen of rings in guest memory.

use serde::{Deserialize, Serialize};

/// Descriptors of one chain that an event lists; it counts them all.
pub const MOST_DESCRIPTORS: usize = 64;

/// The state of a split ring in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingSample {
    /// Device, from 0.
    pub dev: u8,
    /// Queue index.
    pub q: u16,
    /// `avail.flags`.
    pub avail_flags: u16,
    /// `avail.idx`.
    pub avail_idx: u16,
    /// `used.flags`.
    pub used_flags: u16,
    /// `used.idx`.
    pub used_idx: u16,
    /// `used_event`, at the end of the available ring.
    pub used_event: u16,
    /// `avail_event`, at the end of the used ring.
    pub avail_event: u16,
}

/// The event suppression structures of a packed ring in guest memory (2.8.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedSample {
    /// Device, from 0.
    pub dev: u8,
    /// Queue index.
    pub q: u16,
    /// The driver's `desc`: offset in bits 0 to 14, wrap counter in bit 15.
    pub driver_desc: u16,
    /// The driver's `flags`.
    pub driver_flags: u16,
    /// The device's `desc`.
    pub device_desc: u16,
    /// The device's `flags`.
    pub device_flags: u16,
    /// Where the device looks for the next list: offset in bits 0 to 14, wrap counter in bit 15.
    pub next: u16,
    /// Flags of the descriptor there.
    pub next_flags: u16,
}

/// A chain (in a packed ring: a list) of descriptors as it lay in guest memory before the device
/// worked on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainSeen {
    /// Device, from 0.
    pub dev: u8,
    /// Queue index.
    pub q: u16,
    /// Index of the first descriptor; in a packed ring the buffer id.
    pub head: u16,
    /// The value of `avail.idx` that published it, less 1; in a packed ring the offset of its first
    /// descriptor in bits 0 to 14 and the wrap counter in bit 15.
    pub position: u16,
    /// Its descriptors in the order of the walk, the first [`MOST_DESCRIPTORS`] of them.
    pub descriptors: Vec<Descriptor>,
    /// How many there are, as far as the walk went.
    pub count: u32,
    /// Descriptors of the ring that it takes up; those of an indirect table are not counted.
    pub slots: u32,
    /// Bytes in all buffers.
    pub bytes: u64,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaws: Vec<Flaw>,
    /// A digest of all its descriptors, in hexadecimal digits.
    pub digest: String,
}

/// One descriptor as the driver wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its place in the ring, or in the indirect table.
    pub at: u16,
    /// Guest physical address of the buffer, or of the indirect table.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
    /// The flags.
    pub flags: u16,
    /// `next`; in a packed ring the buffer id.
    pub next: u16,
    /// It lies in an indirect table.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub table: bool,
}

/// Something that a driver must not do with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flaw {
    /// It comes back to a descriptor that it has already.
    Loop,
    /// It has more descriptors than the queue has elements.
    TooLong,
    /// Its buffers are longer than 2^32 bytes together.
    TooManyBytes,
    /// A device-readable buffer follows a device-writable one.
    ReadableAfterWritable,
    /// An indirect descriptor, and INDIRECT_DESC was not negotiated.
    NotNegotiated,
    /// An indirect descriptor in an indirect table.
    Nested,
    /// INDIRECT and NEXT in one descriptor; in a packed ring: in one list.
    IndirectAndNext,
    /// An indirect table is empty, or is no multiple of 16 bytes long.
    TableLength,
    /// In the indirect table of a packed ring: a flag other than WRITE.
    TableFlags,
    /// The head lies beyond the descriptor table.
    HeadOutside,
    /// `next` lies beyond the table.
    NextOutside,
    /// With IN_ORDER: `next` is not the descriptor that follows.
    OutOfOrder,
    /// The head is in flight already; in a packed ring: the buffer id.
    InFlight,
    /// A descriptor or an indirect table is not in the guest's memory.
    Unmapped,
    /// A buffer is not in the guest's memory.
    BufferUnmapped,
    /// A buffer of no bytes.
    Empty,
    /// In a packed ring: a descriptor of the list was not made available before the first.
    Partial,
}

/// What the driver changed in a chain that the device has not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Altered {
    /// Device, from 0.
    pub dev: u8,
    /// Queue index.
    pub q: u16,
    /// Index of the chain's first descriptor; in a packed ring the buffer id.
    pub head: u16,
    /// What changed.
    pub part: AlteredPart,
}

/// A part of what makes a chain available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlteredPart {
    /// One of its descriptors.
    Descriptors,
    /// Its entry in the available ring.
    Entry,
    /// The queue's descriptors or available ring, between the reset of the queue and the driver's
    /// first read of `queue_reset` that told that it is over.
    Released,
}

/// The driver wrote where only the device writes: the content is not what the device left there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dirty {
    /// Device, from 0.
    pub dev: u8,
    /// Queue index.
    pub q: u16,
    /// What was written.
    pub part: DirtyPart,
    /// Which element of the used ring; 0 for the other parts.
    pub element: u16,
}

/// A part of the device area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirtyPart {
    /// `used.flags`.
    Flags,
    /// `used.idx`.
    Idx,
    /// An element of the used ring.
    Element,
    /// `avail_event`.
    AvailEvent,
    /// The device's event suppression structure of a packed ring.
    EventSuppression,
}

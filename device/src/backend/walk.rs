//! The walk of a chain as the driver made it: everything is recorded as what it is, and nothing is
//! refused. It ends after as many steps as the queue has elements, whatever the driver wrote.

use std::collections::BTreeSet;
use std::hash::Hasher;

use vm_memory::{GuestAddress, GuestMemory, Permissions};

use super::descriptor::{self, AVAIL, INDIRECT, NEXT, Raw, USED, WRITE};
use crate::trace::{Descriptor, Flaw, MOST_DESCRIPTORS, QueueSetup};

/// The most bytes that a chain may have (2.7.5.2).
const MAX_BYTES: u64 = 1 << 32;

/// Features that decide what a driver may do with descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingFeatures {
    /// VIRTIO_F_INDIRECT_DESC.
    pub indirect: bool,
    /// VIRTIO_F_IN_ORDER.
    pub in_order: bool,
    /// VIRTIO_F_RING_PACKED.
    pub packed: bool,
}

impl RingFeatures {
    /// What is among these feature bits.
    pub fn of(features: u64) -> Self {
        use virtio_bindings::virtio_config::{VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED};
        use virtio_bindings::virtio_ring::VIRTIO_RING_F_INDIRECT_DESC;
        let has = |bit: u32| features >> bit & 1 == 1;
        Self {
            indirect: has(VIRTIO_RING_F_INDIRECT_DESC),
            in_order: has(VIRTIO_F_IN_ORDER),
            packed: has(VIRTIO_F_RING_PACKED),
        }
    }
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The first descriptors.
    pub descriptors: Vec<Descriptor>,
    /// How many there are.
    pub count: u32,
    /// How many of them lie in the ring.
    pub slots: u32,
    /// Bytes in all buffers.
    pub bytes: u64,
    /// What is wrong, each once.
    pub flaws: BTreeSet<Flaw>,
    /// A digest of all descriptors; where there is none, of nothing.
    pub digest: u64,
    /// The id of the buffer: in a packed ring that of the list's last descriptor.
    pub id: u16,
}

/// Walks the chain of a split ring that begins at descriptor `head`.
pub fn walk_split<M: GuestMemory>(
    memory: &M,
    queue: &QueueSetup,
    head: u16,
    features: RingFeatures,
) -> Walk {
    let mut walker = Walker::new(memory, queue, features);
    walker.walk.id = head;
    if head >= queue.size {
        walker.flaw(Flaw::HeadOutside);
    } else {
        walker.split(queue.desc, queue.size.into(), head, false);
    }
    walker.finish()
}

/// Walks the list of a packed ring whose first descriptor is at offset `first`, with the driver's
/// wrap counter there.
pub fn walk_packed<M: GuestMemory>(
    memory: &M,
    queue: &QueueSetup,
    first: u16,
    wrap: bool,
    features: RingFeatures,
) -> Walk {
    let mut walker = Walker::new(memory, queue, features);
    walker.packed(first, wrap);
    walker.finish()
}

struct Walker<'a, M> {
    memory: &'a M,
    queue: &'a QueueSetup,
    features: RingFeatures,
    walk: Walk,
    digest: std::hash::DefaultHasher,
    writable_seen: bool,
}

impl<'a, M: GuestMemory> Walker<'a, M> {
    fn new(memory: &'a M, queue: &'a QueueSetup, features: RingFeatures) -> Self {
        Self {
            memory,
            queue,
            features,
            walk: Walk::default(),
            digest: std::hash::DefaultHasher::new(),
            writable_seen: false,
        }
    }

    fn finish(mut self) -> Walk {
        if self.walk.bytes > MAX_BYTES {
            self.flaw(Flaw::TooManyBytes);
        }
        self.walk.digest = self.digest.finish();
        self.walk
    }

    fn flaw(&mut self, flaw: Flaw) {
        self.walk.flaws.insert(flaw);
    }

    /// Whether no descriptor may come any more, in a table or in the ring.
    fn is_full(&self, table: bool) -> bool {
        let size = u32::from(self.queue.size);
        self.walk.count >= size || !table && self.walk.slots >= size
    }

    /// Reads a descriptor and notes it. In a packed ring `id` and `flags` have changed places.
    fn take(&mut self, base: u64, at: u16, table: bool) -> Option<Descriptor> {
        let Some(raw) = Raw::read(self.memory, base, at) else {
            self.flaw(Flaw::Unmapped);
            return None;
        };
        self.digest.write(&raw.0);
        let [x, y] = raw.words();
        let (flags, next) = if self.features.packed { (y, x) } else { (x, y) };
        let descriptor = Descriptor {
            at,
            addr: raw.address(),
            len: raw.length(),
            flags,
            next,
            table,
        };
        self.walk.count += 1;
        self.walk.slots += u32::from(!table);
        if self.walk.descriptors.len() < MOST_DESCRIPTORS {
            self.walk.descriptors.push(descriptor);
        }
        Some(descriptor)
    }

    /// Notes a buffer.
    fn buffer(&mut self, descriptor: &Descriptor) {
        self.walk.bytes += u64::from(descriptor.len);
        if descriptor.flags & WRITE != 0 {
            self.writable_seen = true;
        } else if self.writable_seen {
            self.flaw(Flaw::ReadableAfterWritable);
        }
        if descriptor.len == 0 {
            self.flaw(Flaw::Empty);
        } else if !self.memory.check_range(
            GuestAddress(descriptor.addr),
            descriptor.len as usize,
            Permissions::ReadWrite,
        ) {
            self.flaw(Flaw::BufferUnmapped);
        }
    }

    /// The entries of an indirect table, if a driver may have such a table.
    fn table(&mut self, descriptor: &Descriptor) -> Option<u32> {
        if !self.features.indirect {
            self.flaw(Flaw::NotNegotiated);
        }
        let entries = descriptor.len / descriptor::BYTES as u32;
        if !descriptor.len.is_multiple_of(descriptor::BYTES as u32) || entries == 0 {
            self.flaw(Flaw::TableLength);
            return None;
        }
        Some(entries)
    }

    fn split(&mut self, base: u64, entries: u32, first: u16, table: bool) {
        let mut visited = BTreeSet::new();
        let mut at = first;
        loop {
            if !visited.insert(at) {
                return self.flaw(Flaw::Loop);
            }
            if self.is_full(table) {
                return self.flaw(Flaw::TooLong);
            }
            let Some(descriptor) = self.take(base, at, table) else {
                return;
            };
            let goes_on = descriptor.flags & NEXT != 0;
            if descriptor.flags & INDIRECT != 0 {
                if table {
                    return self.flaw(Flaw::Nested);
                }
                if goes_on {
                    self.flaw(Flaw::IndirectAndNext);
                }
                if let Some(entries) = self.table(&descriptor) {
                    // The table itself is no part of the chain's length.
                    self.walk.count -= 1;
                    self.split(descriptor.addr, entries, 0, true);
                }
                return;
            }
            self.buffer(&descriptor);
            if !goes_on {
                return;
            }
            if u32::from(descriptor.next) >= entries {
                return self.flaw(Flaw::NextOutside);
            }
            let follows = (u32::from(at) + 1) % entries;
            if self.features.in_order && u32::from(descriptor.next) != follows {
                self.flaw(Flaw::OutOfOrder);
            }
            at = descriptor.next;
        }
    }

    fn packed(&mut self, first: u16, mut wrap: bool) {
        let mut at = first;
        let mut indirect = false;
        loop {
            if self.is_full(false) {
                return self.flaw(Flaw::TooLong);
            }
            let Some(descriptor) = self.take(self.queue.desc, at, false) else {
                return;
            };
            let available = descriptor.flags & (AVAIL | USED) == if wrap { AVAIL } else { USED };
            if !available {
                self.flaw(Flaw::Partial);
            }
            self.walk.id = descriptor.next;
            let goes_on = descriptor.flags & NEXT != 0;
            if descriptor.flags & INDIRECT != 0 {
                indirect = true;
                if let Some(entries) = self.table(&descriptor) {
                    self.packed_table(&descriptor, entries);
                }
            } else {
                self.buffer(&descriptor);
            }
            if indirect && (goes_on || self.walk.slots > 1) {
                self.flaw(Flaw::IndirectAndNext);
            }
            if !goes_on {
                return;
            }
            at += 1;
            if at >= self.queue.size {
                (at, wrap) = (0, !wrap);
            }
        }
    }

    fn packed_table(&mut self, table: &Descriptor, entries: u32) {
        self.walk.count -= 1;
        for at in 0..entries {
            if self.is_full(true) {
                return self.flaw(Flaw::TooLong);
            }
            let Some(descriptor) = self.take(table.addr, at as u16, true) else {
                return;
            };
            if descriptor.flags & !WRITE != 0 {
                self.flaw(Flaw::TableFlags);
            }
            self.buffer(&descriptor);
        }
    }
}

//! What the device knows of a driver's rings: the chains that it holds, and what it wrote itself.
//!
//! It is kept only while somebody observes the device. A look at it tells what the driver changed
//! that was not the driver's to change.

use std::collections::BTreeMap;

use vm_memory::{Bytes, GuestAddress, GuestMemory};

use super::walk::{RingFeatures, Walk, walk_packed, walk_split};
use crate::trace::{Altered, AlteredPart, ChainSeen, Dirty, DirtyPart, Flaw, QueueSetup, What};

/// Bytes of an element of the used ring (2.7.8).
const ELEMENT_BYTES: usize = 8;
/// Bytes before the first element, and of an event suppression structure.
const HEADER_BYTES: usize = 4;

/// The rings of a device, by queue.
#[derive(Debug, Default)]
pub struct Ledger {
    dev: u8,
    queues: BTreeMap<u16, Watched>,
}

#[derive(Debug)]
struct Watched {
    setup: QueueSetup,
    features: RingFeatures,
    /// The device area as the device left it; empty if it is not in memory.
    shadow: Vec<u8>,
    /// Room for what it is now.
    now: Vec<u8>,
    /// Chains that were fetched and not used, by their position.
    chains: BTreeMap<u16, Held>,
    /// In a packed ring: the place behind the list that was fetched last.
    next: u16,
}

/// Where a packed ring begins: its wrap counter is 1 (2.8.1).
const FIRST: u16 = 1 << 15;

#[derive(Clone, Copy, Debug)]
struct Held {
    /// Head, or buffer id.
    head: u16,
    digest: u64,
    told: bool,
}

impl Ledger {
    /// The ledger of device `dev`, in which nothing stands.
    pub fn new(dev: u8) -> Self {
        Self {
            dev,
            queues: BTreeMap::new(),
        }
    }

    /// Whether a queue is watched.
    pub fn watches(&self, q: u16) -> bool {
        self.queues.contains_key(&q)
    }

    /// Begins to watch a queue. What stands in its device area now is the device's.
    pub fn watch<M: GuestMemory>(&mut self, memory: &M, setup: QueueSetup, features: RingFeatures) {
        let mut watched = Watched {
            setup,
            features,
            shadow: Vec::new(),
            now: Vec::new(),
            chains: BTreeMap::new(),
            next: FIRST,
        };
        watched.shadow(memory);
        self.queues.insert(setup.index, watched);
    }

    /// Where the device looks for the next list of a packed ring: offset in bits 0 to 14, wrap counter
    /// in bit 15.
    pub fn next(&self, q: u16) -> u16 {
        self.queues.get(&q).map_or(FIRST, |watched| watched.next)
    }

    /// The queue was stopped: its memory is the driver's again.
    pub fn forget(&mut self, q: u16) {
        self.queues.remove(&q);
    }

    /// All queues were stopped.
    pub fn clear(&mut self) {
        self.queues.clear();
    }

    /// The device is about to work on the chain at `position`. Returns what it looks like, once.
    pub fn fetched<M: GuestMemory>(
        &mut self,
        memory: &M,
        q: u16,
        position: u16,
    ) -> Option<ChainSeen> {
        let dev = self.dev;
        let watched = self.queues.get_mut(&q)?;
        if watched.chains.contains_key(&position) {
            return None;
        }
        let (head, walk) = watched.walk(memory, position)?;
        if watched.features.packed {
            watched.next = place_after(position, walk.slots, watched.setup.size);
        }
        let mut flaws: Vec<Flaw> = walk.flaws.iter().copied().collect();
        if watched.chains.values().any(|held| held.head == head) {
            flaws.push(Flaw::InFlight);
        }
        let held = Held {
            head,
            digest: walk.digest,
            told: false,
        };
        if watched.chains.len() >= usize::from(watched.setup.size) {
            watched.chains.pop_first();
        }
        watched.chains.insert(position, held);
        Some(ChainSeen {
            dev,
            q,
            head,
            position,
            descriptors: walk.descriptors,
            count: walk.count,
            slots: walk.slots,
            bytes: walk.bytes,
            flaws,
            digest: format!("{:016x}", walk.digest),
        })
    }

    /// The device says that a chain with this head is used, or the buffer with this id.
    pub fn used(&mut self, q: u16, head: u16) {
        if let Some(watched) = self.queues.get_mut(&q) {
            let named = watched.chains.iter().find(|(_, held)| held.head == head);
            if let Some(position) = named.map(|(position, _)| *position) {
                watched.chains.remove(&position);
            }
        }
    }

    /// What the driver changed in a queue since the last look.
    pub fn look<M: GuestMemory>(&mut self, memory: &M, q: u16) -> Vec<What> {
        let dev = self.dev;
        let Some(watched) = self.queues.get_mut(&q) else {
            return Vec::new();
        };
        let mut found = watched.altered(memory, dev);
        found.extend(watched.dirty(memory, dev));
        found
    }

    /// What the driver wrote to the device area of a queue since the last look. Chains are left to
    /// [`look`](Self::look): when a change of one is found tells whether it was teardown, and that must
    /// not depend on how fast the machine is.
    pub fn look_at_device_area<M: GuestMemory>(&mut self, memory: &M, q: u16) -> Vec<What> {
        let dev = self.dev;
        let watched = self.queues.get_mut(&q);
        watched.map_or_else(Vec::new, |watched| watched.dirty(memory, dev))
    }

    /// The device wrote to its area of a queue; what the driver had written there is gone, or was
    /// told by [`look`](Self::look). To be called with the ledger locked since before the write.
    pub fn wrote<M: GuestMemory>(&mut self, memory: &M, q: u16) {
        if let Some(watched) = self.queues.get_mut(&q) {
            watched.shadow(memory);
            if watched.features.packed {
                watched.read_again(memory);
            }
        }
    }
}

impl Watched {
    /// The device area as it is now; empty if it is not in memory. `room` is used for it.
    fn device_area<M: GuestMemory>(&self, memory: &M, mut room: Vec<u8>) -> Vec<u8> {
        let length = if self.features.packed {
            HEADER_BYTES
        } else {
            HEADER_BYTES + ELEMENT_BYTES * usize::from(self.setup.size) + 2
        };
        room.resize(length, 0);
        let read = memory.read_slice(&mut room, GuestAddress(self.setup.device));
        if read.is_err() {
            room.clear();
        }
        room
    }

    /// What stands in the device area now is the device's.
    fn shadow<M: GuestMemory>(&mut self, memory: &M) {
        let room = std::mem::take(&mut self.shadow);
        self.shadow = self.device_area(memory, room);
    }

    /// The chain at a position, with its head; none if the available ring is not in memory.
    fn walk<M: GuestMemory>(&self, memory: &M, position: u16) -> Option<(u16, Walk)> {
        if self.features.packed {
            let (first, wrap) = (position & 0x7fff, position >> 15 == 1);
            let walk = walk_packed(memory, &self.setup, first, wrap, self.features);
            return Some((walk.id, walk));
        }
        let head = self.entry(memory, position)?;
        Some((head, walk_split(memory, &self.setup, head, self.features)))
    }

    /// The entry of the available ring at a position.
    fn entry<M: GuestMemory>(&self, memory: &M, position: u16) -> Option<u16> {
        let slot = u64::from(position.checked_rem(self.setup.size)?);
        word(memory, self.setup.driver.checked_add(4 + 2 * slot)?)
    }

    /// A used descriptor may lie where another list's descriptors lay.
    fn read_again<M: GuestMemory>(&mut self, memory: &M) {
        let positions: Vec<u16> = self.chains.keys().copied().collect();
        for position in positions {
            let walk = self.walk(memory, position);
            if let (Some((_, walk)), Some(held)) = (walk, self.chains.get_mut(&position)) {
                held.digest = walk.digest;
            }
        }
    }

    fn altered<M: GuestMemory>(&mut self, memory: &M, dev: u8) -> Vec<What> {
        let mut found = Vec::new();
        let available = word(memory, self.setup.driver.saturating_add(2)).unwrap_or(0);
        let mut chains = std::mem::take(&mut self.chains);
        for (&position, held) in chains.iter_mut().filter(|(_, held)| !held.told) {
            let part = if self.features.packed {
                let (_, walk) = self.walk(memory, position).unwrap_or_default();
                (walk.digest != held.digest).then_some(AlteredPart::Descriptors)
            } else if walk_split(memory, &self.setup, held.head, self.features).digest
                != held.digest
            {
                Some(AlteredPart::Descriptors)
            } else {
                // Once the ring has gone round, the entry is another chain's.
                let ahead = available.wrapping_sub(position);
                let own = (1..self.setup.size).contains(&ahead);
                (own && self.entry(memory, position) != Some(held.head))
                    .then_some(AlteredPart::Entry)
            };
            let Some(part) = part else { continue };
            let (q, head) = (self.setup.index, held.head);
            found.push(What::Altered(Altered { dev, q, head, part }));
            held.told = true;
        }
        self.chains = chains;
        found
    }

    /// One event for each part that the driver wrote to; the content counts as known then.
    fn dirty<M: GuestMemory>(&mut self, memory: &M, dev: u8) -> Vec<What> {
        let room = std::mem::take(&mut self.now);
        self.now = self.device_area(memory, room);
        let (shadow, now) = (&self.shadow, &self.now);
        if shadow.is_empty() || now.is_empty() || shadow == now {
            return Vec::new();
        }
        let differs = |from: usize, to: usize| shadow.get(from..to) != now.get(from..to);
        let elements = HEADER_BYTES + ELEMENT_BYTES * usize::from(self.setup.size);
        let q = self.setup.index;
        let dirty = |part, element: usize| {
            let element = element as u16;
            What::Dirty(Dirty {
                dev,
                q,
                part,
                element,
            })
        };
        let mut found = Vec::new();
        if self.features.packed {
            found.push(dirty(DirtyPart::EventSuppression, 0));
        } else {
            if differs(0, 2) {
                found.push(dirty(DirtyPart::Flags, 0));
            }
            if differs(2, 4) {
                found.push(dirty(DirtyPart::Idx, 0));
            }
            let element = (0..usize::from(self.setup.size)).find(|i| {
                let at = HEADER_BYTES + ELEMENT_BYTES * i;
                differs(at, at + ELEMENT_BYTES)
            });
            if let Some(element) = element {
                found.push(dirty(DirtyPart::Element, element));
            }
            if differs(elements, elements + 2) {
                found.push(dirty(DirtyPart::AvailEvent, 0));
            }
        }
        std::mem::swap(&mut self.shadow, &mut self.now);
        found
    }
}

/// The place so many descriptors further in a packed ring.
fn place_after(place: u16, slots: u32, size: u16) -> u16 {
    let size = u32::from(size).max(1);
    let end = u32::from(place & !FIRST) + slots;
    let turned = if end / size % 2 == 1 { FIRST } else { 0 };
    (end % size) as u16 | place & FIRST ^ turned
}

fn word<M: GuestMemory>(memory: &M, address: u64) -> Option<u16> {
    let mut bytes = [0; 2];
    let read = memory.read_slice(&mut bytes, GuestAddress(address));
    read.ok().map(|()| u16::from_le_bytes(bytes))
}

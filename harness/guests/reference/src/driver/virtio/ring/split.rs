//! The driver's side of a split virtqueue (virtio 1.3, 2.7).

use super::{Back, Chain, Features, Order, TooFar};
use crate::driver::mistake::{Mistake, Mistakes};
use crate::driver::virtio::queue::Part;
use crate::driver::virtio::spec::ring;
use crate::hal::mmio::Mmio;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

/// The used ring begins at a multiple of this many bytes.
const USED_ALIGN: usize = 4;

/// A split ring.
pub struct Split {
    memory: Mmio,
    size: u16,
    features: Features,
    mistakes: Mistakes,
    /// `avail.idx`.
    next: u16,
    last_used: u16,
    /// By how much it moved since the device's wish was last looked at.
    fresh: u16,
    /// With IN_ORDER: the descriptor after the last one that was given out.
    cursor: u16,
    /// The slot of each head that is out.
    owners: Vec<Option<u16>>,
    order: Order,
}

impl Split {
    /// Bytes of a ring of this size.
    pub fn bytes(size: u16, features: Features) -> usize {
        let size = usize::from(size);
        Self::used_at(size, features) + 6 + ring::USED_ELEMENT * size + 2
    }

    fn used_at(size: usize, features: Features) -> usize {
        let align = if features.page_aligned {
            ring::LEGACY_ALIGN
        } else {
            USED_ALIGN
        };
        (ring::DESCRIPTOR * size + 6 + 2 * size).next_multiple_of(align)
    }

    /// An empty ring in zeroed memory.
    pub fn new(memory: Mmio, size: u16, features: Features, mistakes: Mistakes) -> Self {
        let mut features = features;
        features.indirect |= mistakes.has(Mistake::INDIRECT_UNNEGOTIATED);
        if mistakes.has(Mistake::USED_FLAGS_NOT_ZEROED) {
            memory.write(Self::used_at(size.into(), features), ring::NO_NOTIFY);
        }
        let flags = if mistakes.has(Mistake::AVAILABLE_FLAGS_RESERVED) {
            2
        } else {
            u16::from(mistakes.has(Mistake::AVAILABLE_FLAGS_WITH_EVENT_IDX))
        };
        if flags != 0 {
            memory.write(ring::DESCRIPTOR * usize::from(size), flags);
        }
        Self {
            memory,
            size,
            features,
            mistakes,
            next: 0,
            last_used: 0,
            fresh: 0,
            cursor: 0,
            owners: vec![None; size.into()],
            order: Order::default(),
        }
    }

    fn available(&self) -> usize {
        ring::DESCRIPTOR * usize::from(self.size)
    }

    fn used(&self) -> usize {
        Self::used_at(self.size.into(), self.features)
    }

    /// Physical addresses of the descriptors, the available and the used ring.
    pub fn addresses(&self) -> [u64; 3] {
        let base = self.memory.address();
        [
            base,
            base + self.available() as u64,
            base + self.used() as u64,
        ]
    }

    /// Whether this mistake is made now: with the ring's second request.
    fn slips(&self, mistake: Mistake) -> bool {
        self.mistakes.has(mistake) && self.next == 1
    }

    /// The pieces as a mistaken driver orders or places them.
    fn mistaken(&self, parts: &mut [Part]) {
        if self.slips(Mistake::WRITABLE_FIRST) {
            parts.reverse();
        }
        if self.slips(Mistake::BUFFER_OUTSIDE_MEMORY)
            && let Some(part) = parts.get_mut(1)
        {
            part.address = 1 << 40;
        }
    }

    /// Makes wrong what was written for the chain from descriptor `first` on.
    fn spoil(&self, first: u16, chain: &Chain<'_>) {
        let ring = |k: u16| usize::from((first + k) % self.size) * ring::DESCRIPTOR;
        let last = chain.parts.len() as u16 - 1;
        let set = |memory: Mmio, at: usize, flag: u16| {
            memory.write(at + 12, memory.read::<u16>(at + 12) | flag);
        };
        if self.slips(Mistake::CHAIN_LOOPS) {
            set(self.memory, ring(last), ring::NEXT);
            self.memory.write(ring(last) + 14, first);
        }
        if self.slips(Mistake::NEXT_OUTSIDE_TABLE) {
            self.memory.write(ring(0) + 14, self.size);
        }
        if self.slips(Mistake::NEXT_OUT_OF_ORDER) {
            // The second and the third descriptor change places.
            let words = |k: u16| (self.memory.read(ring(k)), self.memory.read(ring(k) + 8));
            let (second, third): ((u64, u64), (u64, u64)) = (words(1), words(2));
            self.memory.write(ring(0) + 14, (first + 2) % self.size);
            self.memory.write(ring(2), second.0);
            self.memory.write(ring(2) + 8, second.1);
            self.memory.write(ring(2) + 14, (first + 1) % self.size);
            self.memory.write(ring(1), third.0);
            self.memory.write(ring(1) + 8, third.1);
        }
        if self.slips(Mistake::INDIRECT_NESTED) {
            set(chain.table, 0, ring::INDIRECT);
        }
        if self.slips(Mistake::INDIRECT_WITH_NEXT) {
            set(self.memory, ring(0), ring::NEXT);
            self.memory.write(ring(0) + 14, (first + 1) % self.size);
        }
        if self.slips(Mistake::ODD_TABLE_LENGTH) {
            let length: u32 = self.memory.read(ring(0) + 8);
            self.memory.write(ring(0) + 8, length + 8);
        }
    }

    /// Where the first descriptor of a request lies that is out.
    pub fn held(&self, slot: u16) -> Option<usize> {
        let head = self.owners.iter().position(|owner| *owner == Some(slot));
        head.map(|head| head * ring::DESCRIPTOR)
    }

    /// Makes a request available.
    pub fn expose(&mut self, chain: &Chain<'_>) {
        let mut parts = chain.parts.to_vec();
        self.mistaken(&mut parts);
        let chain = &Chain {
            parts: &parts,
            ..*chain
        };
        let head = self.describe(chain);
        self.spoil(head, chain);
        self.owners[usize::from(head)] = Some(chain.slot);
        if self.features.in_order {
            self.order.out.push_back(chain.slot);
        }
        let at = self.available();
        let entry = at + ring::ENTRIES + 2 * usize::from(self.next % self.size);
        self.memory.write(entry, head);
        let ahead = if self.slips(Mistake::AVAILABLE_INDEX_JUMPS) {
            self.size + 1
        } else {
            1
        };
        fence(Ordering::SeqCst);
        self.next = self.next.wrapping_add(ahead);
        self.fresh = self.fresh.wrapping_add(ahead);
        self.memory.write(at + ring::INDEX, self.next);
    }

    /// Writes the descriptors of a request. The result is the head's number: each slot has
    /// descriptors of its own, and with IN_ORDER they are taken as they come (2.7.5).
    fn describe(&mut self, chain: &Chain<'_>) -> u16 {
        let each = if self.features.indirect {
            1
        } else {
            chain.parts.len() as u16
        };
        let first = if self.features.in_order {
            let first = self.cursor;
            self.cursor = (first + each) % self.size;
            first
        } else if self.features.indirect {
            chain.slot
        } else {
            chain.slot * ring::MOST_PARTS
        };
        if self.features.indirect {
            let count = chain.parts.len() as u16;
            write_chain(chain.table, 0, count, chain.parts);
            let length = u32::from(count) * ring::DESCRIPTOR as u32;
            let fields = (chain.table.address(), length, ring::INDIRECT);
            let next = if self.features.in_order {
                (first + 1) % self.size
            } else {
                0
            };
            write_descriptor(self.memory, first, fields, next);
        } else {
            write_chain(self.memory, first, self.size, chain.parts);
        }
        first
    }

    /// As in 2.7.10.1: by the flag, or by the index that the device waits for.
    pub fn wants_notification(&mut self) -> bool {
        let fresh = core::mem::take(&mut self.fresh);
        let used = self.used();
        if self.features.event_idx {
            let at = used + ring::ENTRIES + ring::USED_ELEMENT * usize::from(self.size);
            let event: u16 = self.memory.read(at);
            self.next.wrapping_sub(event).wrapping_sub(1) < fresh
        } else {
            fresh > 0 && self.memory.read::<u16>(used) & ring::NO_NOTIFY == 0
        }
    }

    /// `avail.idx`.
    pub fn position(&self) -> u16 {
        self.next
    }

    /// Whether the used index has moved.
    pub fn has_used(&self) -> bool {
        self.order.back > 0 || self.memory.read::<u16>(self.used() + ring::INDEX) != self.last_used
    }

    /// Takes the next used element.
    pub fn take(&mut self, in_flight: usize) -> Result<Option<Back>, TooFar> {
        if let Some(back) = self.order.take() {
            return Ok(Some(back));
        }
        let index: u16 = self.memory.read(self.used() + ring::INDEX);
        let new = index.wrapping_sub(self.last_used);
        if new == 0 {
            return Ok(None);
        }
        if usize::from(new) > in_flight {
            return Err(TooFar { index, new });
        }
        fence(Ordering::SeqCst);
        let place = usize::from(self.last_used % self.size);
        let at = self.used() + ring::ENTRIES + ring::USED_ELEMENT * place;
        let id: u32 = self.memory.read(at);
        let length: u32 = self.memory.read(at + 4);
        let owner = self.owners.get_mut(id as usize).and_then(Option::take);
        let (back, passed) = match owner {
            None => (Some(Back::Unknown(id)), 1),
            Some(slot) if !self.features.in_order => (Some(Back::Slot(slot, length)), 1),
            Some(slot) => match self.order.reaches(slot, length) {
                Some(passed) if passed <= usize::from(new) => (self.order.take(), passed as u16),
                _ => return Err(TooFar { index, new }),
            },
        };
        self.last_used = self.last_used.wrapping_add(passed);
        if self.mistakes.has(Mistake::WRITES_USED_RING) {
            self.memory.write(at, u32::MAX);
        }
        let stuck = self.mistakes.has(Mistake::USED_EVENT_STUCK) && self.last_used > 1;
        if self.features.event_idx && !stuck {
            let event = self.available() + ring::ENTRIES + 2 * usize::from(self.size);
            self.memory.write(event, self.last_used);
            fence(Ordering::SeqCst);
        }
        Ok(back)
    }
}

/// Writes a chain from descriptor `first` of a table of `size` on.
fn write_chain(table: Mmio, first: u16, size: u16, parts: &[Part]) {
    for (k, part) in (1u16..).zip(parts) {
        let flags = if part.writable { ring::WRITE } else { 0 };
        let (next, more) = if usize::from(k) < parts.len() {
            ((first + k) % size, ring::NEXT)
        } else {
            (0, 0)
        };
        let fields = (part.address, part.length, flags | more);
        write_descriptor(table, (first + k - 1) % size, fields, next);
    }
}

fn write_descriptor(table: Mmio, n: u16, (address, length, flags): (u64, u32, u16), next: u16) {
    let at = usize::from(n) * ring::DESCRIPTOR;
    table.write(at, address);
    table.write(at + 8, length);
    table.write(at + 12, flags);
    table.write(at + 14, next);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{memory, parts};
    use super::*;

    fn ring(size: u16, features: Features) -> Split {
        Split::new(
            memory(Split::bytes(size, features)),
            size,
            features,
            Mistakes::default(),
        )
    }

    fn expose(ring: &mut Split, slot: u16, count: usize) {
        ring.expose(&Chain {
            slot,
            parts: &parts(count),
            table: memory(64),
        });
    }

    fn use_head(ring: &Split, at: u16, id: u32, index: u16) {
        let element = ring.used() + ring::ENTRIES + ring::USED_ELEMENT * usize::from(at);
        ring.memory.write(element, id);
        ring.memory.write(element + 4, 7u32);
        ring.memory.write(ring.used() + ring::INDEX, index);
    }

    #[test]
    fn a_request_comes_back_by_its_head() {
        let mut ring = ring(8, Features::default());
        expose(&mut ring, 1, 3);
        assert_eq!((ring.position(), ring.has_used()), (1, false));
        use_head(&ring, 0, 3, 1);
        assert_eq!(ring.take(1), Ok(Some(Back::Slot(1, 7))));
        assert_eq!(ring.take(0), Ok(None));
    }

    #[test]
    fn a_head_that_is_not_out_and_an_index_too_far_are_seen() {
        let mut ring = ring(8, Features::default());
        expose(&mut ring, 0, 3);
        use_head(&ring, 0, 5, 1);
        assert_eq!(ring.take(1), Ok(Some(Back::Unknown(5))));
        use_head(&ring, 1, 0, 9);
        assert_eq!(ring.take(1), Err(TooFar { index: 9, new: 8 }));
    }

    #[test]
    fn in_order_one_element_brings_back_all_before_it() {
        let features = Features {
            in_order: true,
            ..Features::default()
        };
        let mut ring = ring(8, features);
        expose(&mut ring, 2, 3);
        expose(&mut ring, 0, 3);
        expose(&mut ring, 1, 2);
        // The device skips two elements: the third tells of all.
        use_head(&ring, 0, 6, 3);
        assert_eq!(ring.take(3), Ok(Some(Back::Slot(2, 0))));
        assert_eq!(ring.take(2), Ok(Some(Back::Slot(0, 0))));
        assert_eq!(ring.take(1), Ok(Some(Back::Slot(1, 7))));
        assert_eq!(ring.take(0), Ok(None));
        assert_eq!(ring.last_used, 3);
    }

    #[test]
    fn in_order_a_chain_goes_around_the_end_of_the_table() {
        let features = Features {
            in_order: true,
            ..Features::default()
        };
        let mut ring = ring(4, features);
        expose(&mut ring, 0, 3);
        expose(&mut ring, 1, 3);
        assert_eq!(ring.memory.read::<u16>(3 * 16 + 14), 0);
        assert_eq!(ring.memory.read::<u16>(14), 1);
    }

    #[test]
    fn the_device_is_notified_when_the_index_that_it_waits_for_goes_by() {
        let features = Features {
            event_idx: true,
            ..Features::default()
        };
        let mut ring = ring(4, features);
        expose(&mut ring, 0, 1);
        assert!(ring.wants_notification());
        expose(&mut ring, 1, 1);
        assert!(!ring.wants_notification());
    }
}

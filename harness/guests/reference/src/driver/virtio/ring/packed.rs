//! The driver's side of a packed virtqueue (virtio 1.3, 2.8).

use super::{Back, Chain, Features, Order, TooFar};
use crate::driver::mistake::{Mistake, Mistakes};
use crate::driver::virtio::queue::Part;
use crate::driver::virtio::spec::{packed, ring};
use crate::hal::mmio::Mmio;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

/// A place in the ring: an offset, and the wrap counter that goes with it (2.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    offset: u16,
    wrap: bool,
}

impl Place {
    const FIRST: Self = Self {
        offset: 0,
        wrap: true,
    };

    fn step(&mut self, by: u16, size: u16) {
        self.offset += by;
        if self.offset >= size {
            self.offset -= size;
            self.wrap = !self.wrap;
        }
    }

    /// Offset in bits 0 to 14, wrap counter in bit 15.
    fn bits(self) -> u16 {
        self.offset | u16::from(self.wrap) << 15
    }
}

/// A packed ring.
pub struct Packed {
    memory: Mmio,
    size: u16,
    features: Features,
    mistakes: Mistakes,
    next: Place,
    used: Place,
    /// Descriptors since the device's wish was last looked at.
    fresh: u16,
    /// Descriptors that each buffer id takes up; 0 when it is not out.
    lengths: Vec<u16>,
    /// The first of them.
    heads: Vec<u16>,
    /// Requests that were made available.
    made: u64,
    order: Order,
}

impl Packed {
    /// Bytes of a ring of this size: descriptors, and two event suppression structures.
    pub fn bytes(size: u16) -> usize {
        (ring::DESCRIPTOR * usize::from(size) + 2 * packed::SUPPRESSION).next_multiple_of(8)
    }

    /// An empty ring in zeroed memory: both wrap counters are 1.
    pub fn new(memory: Mmio, size: u16, features: Features, mistakes: Mistakes) -> Self {
        let mut features = features;
        features.indirect |= mistakes.has(Mistake::PACKED_INDIRECT_UNNEGOTIATED);
        let mut next = Place::FIRST;
        next.wrap = !mistakes.has(Mistake::WRAP_COUNTER_WRONG);
        let ring = Self {
            memory,
            size,
            features,
            mistakes,
            next,
            used: Place::FIRST,
            fresh: 0,
            lengths: vec![0; size.into()],
            heads: vec![0; size.into()],
            made: 0,
            order: Order::default(),
        };
        ring.ask();
        ring
    }

    fn driver(&self) -> usize {
        ring::DESCRIPTOR * usize::from(self.size)
    }

    fn device(&self) -> usize {
        self.driver() + packed::SUPPRESSION
    }

    /// Physical addresses of the descriptors and of the driver's and the device's event suppression.
    pub fn addresses(&self) -> [u64; 3] {
        let base = self.memory.address();
        [
            base,
            base + self.driver() as u64,
            base + self.device() as u64,
        ]
    }

    /// Whether this mistake is made now: with the ring's second request.
    fn slips(&self, mistake: Mistake) -> bool {
        self.mistakes.has(mistake) && self.made == 1
    }

    /// Where the first descriptor of a request lies that is out.
    pub fn held(&self, slot: u16) -> Option<usize> {
        let out = self.lengths.get(usize::from(slot)).filter(|out| **out > 0);
        out.map(|_| usize::from(self.heads[usize::from(slot)]) * ring::DESCRIPTOR)
    }

    /// Makes a request available. Its first descriptor's flags come last (2.8.17).
    pub fn expose(&mut self, chain: &Chain<'_>) {
        let mut parts = chain.parts.to_vec();
        if self.slips(Mistake::PACKED_WRITABLE_FIRST) {
            parts.reverse();
        }
        let chain = &Chain {
            parts: &parts,
            ..*chain
        };
        let id = chain.slot;
        let head = self.next;
        let count;
        if self.features.indirect {
            for (k, part) in chain.parts.iter().enumerate() {
                let flags = if part.writable { ring::WRITE } else { 0 };
                write(chain.table, k, part, 0);
                chain
                    .table
                    .write(k * ring::DESCRIPTOR + packed::FLAGS, flags);
            }
            let table = Part {
                address: chain.table.address(),
                length: (chain.parts.len() * ring::DESCRIPTOR) as u32,
                writable: false,
            };
            write(self.memory, head.offset.into(), &table, id);
            count = 1;
        } else {
            count = chain.parts.len() as u16;
            let mut place = head;
            for (k, part) in (1..).zip(chain.parts) {
                write(self.memory, place.offset.into(), part, id);
                if place != head {
                    let mut shown = place;
                    // Not available yet when the first descriptor is.
                    shown.wrap ^= self.slips(Mistake::FIRST_DESCRIPTOR_FIRST);
                    self.publish(shown, self.flags(part, k < count));
                }
                place.step(1, self.size);
            }
        }
        let first = if self.features.indirect {
            ring::INDIRECT
        } else {
            self.flags(&chain.parts[0], count > 1)
        };
        fence(Ordering::SeqCst);
        self.publish(head, first);
        self.next.step(count, self.size);
        self.fresh = self.fresh.saturating_add(count);
        self.lengths[usize::from(id)] = count;
        self.heads[usize::from(id)] = head.offset;
        self.made += 1;
        if self.features.in_order {
            self.order.out.push_back(id);
        }
    }

    fn flags(&self, part: &Part, more: bool) -> u16 {
        let write = if part.writable { ring::WRITE } else { 0 };
        write | if more { ring::NEXT } else { 0 }
    }

    /// Writes the flags of a descriptor, by which the device sees that it is available.
    fn publish(&self, place: Place, flags: u16) {
        let bits = if place.wrap {
            packed::AVAILABLE
        } else {
            packed::USED
        };
        let at = usize::from(place.offset) * ring::DESCRIPTOR + packed::FLAGS;
        self.memory.write(at, flags | bits);
    }

    /// As in 2.8.10: always, never, or when the device's place is among the new ones.
    pub fn wants_notification(&mut self) -> bool {
        let fresh = core::mem::take(&mut self.fresh);
        let place: u16 = self.memory.read(self.device());
        match self.memory.read::<u16>(self.device() + 2) & packed::EVENT_MASK {
            packed::ENABLE => fresh > 0,
            packed::DESC if self.features.event_idx => {
                let mut event = place & 0x7fff;
                if (place >> 15 != 0) != self.next.wrap {
                    event = event.wrapping_sub(self.size);
                }
                self.next.offset.wrapping_sub(event).wrapping_sub(1) < fresh
            }
            _ => false,
        }
    }

    /// Where the next descriptor goes.
    pub fn position(&self) -> u16 {
        self.next.bits()
    }

    /// Whether the descriptor that is looked at next was used.
    pub fn has_used(&self) -> bool {
        let at = usize::from(self.used.offset) * ring::DESCRIPTOR + packed::FLAGS;
        let flags: u16 = self.memory.read(at);
        let bit = |mask: u16| flags & mask != 0;
        self.order.back > 0
            || bit(packed::AVAILABLE) == bit(packed::USED) && bit(packed::USED) == self.used.wrap
    }

    /// Takes the next used descriptor.
    pub fn take(&mut self, _in_flight: usize) -> Result<Option<Back>, TooFar> {
        if let Some(back) = self.order.take() {
            return Ok(Some(back));
        }
        if !self.has_used() {
            return Ok(None);
        }
        fence(Ordering::SeqCst);
        let at = usize::from(self.used.offset) * ring::DESCRIPTOR;
        let length: u32 = self.memory.read(at + 8);
        let id: u16 = self.memory.read(at + packed::ID);
        let out = self
            .lengths
            .get_mut(usize::from(id))
            .filter(|out| **out > 0);
        let Some(out) = out else {
            self.used.step(1, self.size);
            self.ask();
            return Ok(Some(Back::Unknown(id.into())));
        };
        let (mut passed, back);
        if self.features.in_order {
            let index = self.used.offset;
            let reached = self.order.reaches(id, length);
            let Some(reached) = reached else {
                return Err(TooFar { index, new: 0 });
            };
            passed = 0;
            for slot in self.order.out.iter().take(reached) {
                passed += core::mem::take(&mut self.lengths[usize::from(*slot)]);
            }
            back = self.order.take();
        } else {
            passed = core::mem::take(out);
            back = Some(Back::Slot(id, length));
        }
        self.used.step(passed, self.size);
        self.ask();
        Ok(back)
    }

    /// Asks for an interrupt: for the next used descriptor, or for any.
    fn ask(&self) {
        let flags = if self.features.event_idx {
            self.memory.write(self.driver(), self.used.bits());
            packed::DESC
        } else {
            packed::ENABLE
        };
        let flags = if self.mistakes.has(Mistake::EVENT_FLAGS_RESERVED) {
            packed::EVENT_MASK
        } else {
            flags
        };
        fence(Ordering::SeqCst);
        self.memory.write(self.driver() + 2, flags);
        fence(Ordering::SeqCst);
    }
}

/// Writes a descriptor, but not its flags.
fn write(table: Mmio, n: usize, part: &Part, id: u16) {
    let at = n * ring::DESCRIPTOR;
    table.write(at, part.address);
    table.write(at + 8, part.length);
    table.write(at + packed::ID, id);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{memory, parts};
    use super::*;

    fn ring(size: u16, features: Features) -> Packed {
        Packed::new(
            memory(Packed::bytes(size)),
            size,
            features,
            Mistakes::default(),
        )
    }

    fn expose(ring: &mut Packed, slot: u16, count: usize) {
        ring.expose(&Chain {
            slot,
            parts: &parts(count),
            table: memory(64),
        });
    }

    fn flags(ring: &Packed, n: usize) -> u16 {
        ring.memory.read(16 * n + packed::FLAGS)
    }

    /// The device uses a buffer: it writes its id where it looks next.
    fn use_buffer(ring: &Packed, at: usize, id: u16, wrap: bool) {
        ring.memory.write(16 * at + 8, 9u32);
        ring.memory.write(16 * at + packed::ID, id);
        let bits = if wrap {
            packed::AVAILABLE | packed::USED
        } else {
            0
        };
        ring.memory.write(16 * at + packed::FLAGS, bits);
    }

    #[test]
    fn the_wrap_counter_turns_at_the_end_of_a_ring_of_any_size() {
        let mut ring = ring(5, Features::default());
        expose(&mut ring, 0, 3);
        assert_eq!(flags(&ring, 0), packed::AVAILABLE | ring::NEXT);
        assert_eq!(flags(&ring, 2), packed::AVAILABLE | ring::WRITE);
        use_buffer(&ring, 0, 0, true);
        assert_eq!(ring.take(1), Ok(Some(Back::Slot(0, 9))));
        expose(&mut ring, 1, 3);
        assert_eq!(flags(&ring, 4), packed::AVAILABLE | ring::NEXT);
        assert_eq!(flags(&ring, 0), packed::USED | ring::WRITE);
        assert_eq!(ring.position(), 1);
        assert!(!ring.has_used());
        use_buffer(&ring, 3, 1, true);
        assert_eq!(ring.take(1), Ok(Some(Back::Slot(1, 9))));
        assert_eq!((ring.used.offset, ring.used.wrap), (1, false));
    }

    #[test]
    fn a_buffer_that_is_not_out_is_seen() {
        let mut ring = ring(4, Features::default());
        expose(&mut ring, 0, 1);
        use_buffer(&ring, 0, 3, true);
        assert_eq!(ring.take(1), Ok(Some(Back::Unknown(3))));
    }

    #[test]
    fn an_indirect_request_takes_one_descriptor() {
        let features = Features {
            indirect: true,
            ..Features::default()
        };
        let mut ring = ring(2, features);
        expose(&mut ring, 0, 3);
        assert_eq!(flags(&ring, 0), packed::AVAILABLE | ring::INDIRECT);
        assert_eq!(ring.memory.read::<u32>(8), 48);
        assert_eq!(ring.position(), 1 | 1 << 15);
    }

    #[test]
    fn in_order_one_descriptor_brings_back_all_before_it() {
        let features = Features {
            in_order: true,
            ..Features::default()
        };
        let mut ring = ring(8, features);
        expose(&mut ring, 1, 3);
        expose(&mut ring, 0, 2);
        use_buffer(&ring, 0, 0, true);
        assert_eq!(ring.take(2), Ok(Some(Back::Slot(1, 0))));
        assert_eq!(ring.take(1), Ok(Some(Back::Slot(0, 9))));
        assert_eq!(ring.take(0), Ok(None));
        assert_eq!(ring.used.offset, 5);
    }

    #[test]
    fn the_device_says_of_which_descriptor_it_wants_to_hear() {
        let features = Features {
            event_idx: true,
            indirect: true,
            ..Features::default()
        };
        let mut ring = ring(4, features);
        ring.memory.write(ring.device(), 1u16 | 1 << 15);
        ring.memory.write(ring.device() + 2, packed::DESC);
        expose(&mut ring, 0, 1);
        assert!(!ring.wants_notification());
        expose(&mut ring, 1, 1);
        assert!(ring.wants_notification());
        ring.memory.write(ring.device() + 2, packed::DISABLE);
        assert!(!ring.wants_notification());
        expose(&mut ring, 2, 1);
        ring.memory.write(ring.device() + 2, packed::ENABLE);
        assert!(ring.wants_notification());
    }
}

//! The device's side of a packed ring (2.8).
//!
//! Two places move along it: where the next list is looked for, and where the next used descriptor
//! goes. The second follows the first by the lists that were taken and are not used; each of them, when
//! it is, moves it by as many descriptors as it had, in whatever order they come back (2.8.6).

use std::collections::VecDeque;
use std::sync::atomic::{Ordering, fence};

use virtio_bindings::virtio_ring::{
    VRING_PACKED_EVENT_FLAG_DESC, VRING_PACKED_EVENT_FLAG_DISABLE, VRING_PACKED_EVENT_FLAG_ENABLE,
};
use vm_memory::{Bytes, GuestAddress, GuestMemory};

use super::chain::{Chain, NoStatus};
use super::descriptor::{self, AVAIL, INDIRECT, NEXT, Raw, USED, WRITE};
use super::ring::BrokenRing;
use crate::trace::{Effect, QueueSetup, RingWrite};

const ENABLE: u16 = VRING_PACKED_EVENT_FLAG_ENABLE as u16;
const DISABLE: u16 = VRING_PACKED_EVENT_FLAG_DISABLE as u16;
const DESC: u16 = VRING_PACKED_EVENT_FLAG_DESC as u16;
/// Bits of `flags` in an event suppression structure that are not reserved (2.8.14).
const EVENT_FLAGS: u16 = 3;
const WRAP: u16 = 1 << 15;

/// A packed ring as the device drives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    setup: QueueSetup,
    event_idx: bool,
    /// Where the next list is looked for.
    next: Place,
    /// Where the next used descriptor goes.
    used: Place,
    /// The list that was looked at last.
    seen: Taken,
    /// Lists that were taken and are not used, oldest first; never more than the ring has elements.
    taken: VecDeque<Taken>,
    /// Where the used descriptors ended when the driver's wish was looked at last.
    asked: Place,
}

/// An offset, and the wrap counter there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: u16,
    wrap: bool,
}

impl Place {
    /// From the form of a base.
    fn of(base: u16, size: u16) -> Self {
        Self {
            at: (base & !WRAP).checked_rem(size).unwrap_or(0),
            wrap: base & WRAP != 0,
        }
    }

    /// In the form of a base: the offset in bits 0 to 14, the wrap counter in bit 15.
    fn base(self) -> u16 {
        self.at | if self.wrap { WRAP } else { 0 }
    }

    /// The place so many descriptors further.
    fn after(self, slots: u16, size: u16) -> Self {
        let size = u32::from(size.max(1));
        let end = u32::from(self.at) + u32::from(slots);
        Self {
            at: (end % size) as u16,
            wrap: self.wrap ^ (end / size % 2 == 1),
        }
    }
}

/// A list of descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    /// The id of its buffer.
    id: u16,
    /// Descriptors in the ring.
    slots: u16,
}

/// A descriptor of the ring or of a table.
struct Descriptor {
    address: u64,
    length: u32,
    id: u16,
    flags: u16,
}

impl Packed {
    /// The ring of a queue that begins at `base`: an offset in bits 0 to 14 and the wrap counter in
    /// bit 15. A queue that begins for the first time has a base of 0x8000 (2.8.1).
    pub fn new(setup: QueueSetup, event_idx: bool, base: u16) -> Self {
        let place = Place::of(base, setup.size);
        Self {
            setup,
            event_idx,
            next: place,
            used: place,
            seen: Taken::default(),
            taken: VecDeque::new(),
            asked: place,
        }
    }

    /// Where the next list is looked for, in the form of a base.
    pub fn base(&self) -> u16 {
        self.next.base()
    }

    /// The queue.
    pub fn setup(&self) -> &QueueSetup {
        &self.setup
    }

    /// As [`peek`](super::peek) does with a split ring.
    ///
    /// # Errors
    /// The ring is broken.
    pub fn peek<M: GuestMemory>(
        &mut self,
        memory: &M,
        chain: &mut Chain,
    ) -> Result<bool, BrokenRing> {
        if self.is_drained(memory)? {
            return Ok(false);
        }
        // The flags were read before the rest (2.8.21.1.1).
        fence(Ordering::Acquire);
        let size = self.setup.size;
        chain.begin(0);
        let mut at = self.next.at;
        for slots in 1..=size {
            let descriptor = self.read(memory, self.setup.desc, at)?;
            chain.name(descriptor.id);
            let head = descriptor.id;
            let unanswerable = |source| BrokenRing::Chain { head, source };
            let goes_on = descriptor.flags & NEXT != 0;
            if descriptor.flags & INDIRECT != 0 {
                if goes_on || slots > 1 {
                    return Err(unanswerable(NoStatus));
                }
                self.table(memory, &descriptor, chain)
                    .map_err(unanswerable)?;
            } else {
                push(&descriptor, chain, size);
            }
            if !goes_on {
                self.seen = Taken { id: head, slots };
                chain.end().map_err(unanswerable)?;
                return Ok(true);
            }
            at = if at + 1 < size { at + 1 } else { 0 };
        }
        let head = chain.head();
        Err(BrokenRing::Chain {
            head,
            source: NoStatus,
        })
    }

    /// Reads an indirect table (2.8.7).
    fn table<M: GuestMemory>(
        &self,
        memory: &M,
        table: &Descriptor,
        chain: &mut Chain,
    ) -> Result<(), NoStatus> {
        let entries = table.length / descriptor::BYTES as u32;
        let whole = table.length.is_multiple_of(descriptor::BYTES as u32);
        if !whole || !(1..=u32::from(self.setup.size)).contains(&entries) {
            return Err(NoStatus);
        }
        for at in 0..entries as u16 {
            let descriptor = self.read(memory, table.address, at).map_err(|_| NoStatus)?;
            push(&descriptor, chain, self.setup.size);
        }
        Ok(())
    }

    fn read<M: GuestMemory>(
        &self,
        memory: &M,
        base: u64,
        at: u16,
    ) -> Result<Descriptor, BrokenRing> {
        let raw = Raw::read(memory, base, at).ok_or(BrokenRing::Unmapped)?;
        let [id, flags] = raw.words();
        Ok(Descriptor {
            address: raw.address(),
            length: raw.length(),
            id,
            flags,
        })
    }

    /// As [`is_drained`](super::is_drained).
    ///
    /// # Errors
    /// The descriptor ring is not in the guest's memory.
    pub fn is_drained<M: GuestMemory>(&self, memory: &M) -> Result<bool, BrokenRing> {
        let flags = self.flags(memory, self.next.at)?;
        let available = if self.next.wrap { AVAIL } else { USED };
        Ok(flags & (AVAIL | USED) != available)
    }

    fn flags<M: GuestMemory>(&self, memory: &M, at: u16) -> Result<u16, BrokenRing> {
        let address = self.address(at).ok_or(BrokenRing::Unmapped)?;
        let flags = memory.load(GuestAddress(address + 14), Ordering::Acquire);
        flags.map(u16::from_le).map_err(|_| BrokenRing::Unmapped)
    }

    /// Where descriptor `at` is, if it fits into the address space.
    fn address(&self, at: u16) -> Option<u64> {
        let address = self
            .setup
            .desc
            .checked_add(descriptor::BYTES * u64::from(at));
        address.filter(|a| a.checked_add(descriptor::BYTES).is_some())
    }

    /// As [`take`](super::take): the list that [`peek`](Self::peek) read is the device's.
    pub fn take(&mut self) {
        if self.taken.len() >= usize::from(self.setup.size) {
            self.taken.pop_front();
        }
        self.taken.push_back(self.seen);
        self.next = self.next.after(self.seen.slots, self.setup.size);
    }

    /// As [`settle`](super::settle): makes a list that was taken used.
    ///
    /// # Errors
    /// A part of the ring is not in the guest's memory.
    pub fn settle<M: GuestMemory>(
        &mut self,
        memory: &M,
        id: u16,
        len: u32,
    ) -> Result<(), BrokenRing> {
        self.enable_notification(memory)?;
        self.put(memory, id, len)
    }

    /// Writes a used descriptor. One with an id that no list has moves its place by one.
    fn put<M: GuestMemory>(&mut self, memory: &M, id: u16, len: u32) -> Result<(), BrokenRing> {
        let list = self.taken.iter().position(|list| list.id == id);
        let slots = list
            .and_then(|list| self.taken.remove(list))
            .map_or(1, |list| list.slots);
        let Place { at, wrap } = self.used;
        self.used = self.used.after(slots, self.setup.size);
        let mut flags = if wrap { AVAIL | USED } else { 0 };
        if len > 0 {
            flags |= WRITE;
        }
        let address = self.address(at).ok_or(BrokenRing::Unmapped)?;
        let write = || {
            memory.write_slice(&len.to_le_bytes(), GuestAddress(address + 8))?;
            memory.write_slice(&id.to_le_bytes(), GuestAddress(address + 12))?;
            memory.store(flags.to_le(), GuestAddress(address + 14), Ordering::Release)
        };
        write().map_err(|_| BrokenRing::Unmapped)
    }

    /// As [`write_used`](super::write_used): writes what an observer makes of the ring. Returns whether
    /// the driver wants an interrupt for what was used.
    ///
    /// # Errors
    /// A part of the ring is not in the guest's memory.
    pub fn write_used<M: GuestMemory>(
        &mut self,
        memory: &M,
        effects: &[Effect],
    ) -> Result<bool, BrokenRing> {
        let (before, area) = (self.used, self.setup.device);
        let store = |offset: u64, word: u16| {
            let at = area.checked_add(offset);
            let at = GuestAddress(at.ok_or(BrokenRing::Unmapped)?);
            let stored = memory.store(word.to_le(), at, Ordering::Release);
            stored.map_err(|_| BrokenRing::Unmapped)
        };
        for effect in effects {
            match effect {
                Effect::Complete { id, len, .. } => self.put(memory, *id as u16, *len)?,
                Effect::Ring { write, .. } => match write {
                    RingWrite::Jump(by) => self.used = self.used.after(*by, self.setup.size),
                    RingWrite::Flags(flags) => store(2, *flags)?,
                    RingWrite::AvailEvent(at) => store(0, *at)?,
                },
                _ => {}
            }
        }
        if self.used == before {
            return Ok(false);
        }
        self.needs_interrupt(memory)
    }

    /// Asks the driver to notify the device of the next list (2.8.10). Returns whether there is one
    /// already.
    ///
    /// # Errors
    /// A part of the ring is not in the guest's memory.
    pub fn enable_notification<M: GuestMemory>(&self, memory: &M) -> Result<bool, BrokenRing> {
        let area = self.setup.device;
        let write = || {
            let flags = if self.event_idx {
                memory.write_slice(&self.base().to_le_bytes(), GuestAddress(area))?;
                DESC
            } else {
                ENABLE
            };
            let flags_at = GuestAddress(area.saturating_add(2));
            memory.store(flags.to_le(), flags_at, Ordering::Release)
        };
        write().map_err(|_| BrokenRing::Unmapped)?;
        fence(Ordering::SeqCst);
        self.is_drained(memory).map(|drained| !drained)
    }

    /// Whether the driver wants an interrupt for what was used since it was asked last (2.8.10).
    ///
    /// # Errors
    /// The driver's event suppression structure is not in the guest's memory.
    pub fn needs_interrupt<M: GuestMemory>(&mut self, memory: &M) -> Result<bool, BrokenRing> {
        fence(Ordering::SeqCst);
        let mut bytes = [0; 4];
        memory
            .read_slice(&mut bytes, GuestAddress(self.setup.driver))
            .map_err(|_| BrokenRing::Unmapped)?;
        let [d0, d1, f0, f1] = bytes;
        let event = u16::from_le_bytes([d0, d1]);
        let now = self.used.base();
        let since = std::mem::replace(&mut self.asked, self.used).base();
        Ok(match u16::from_le_bytes([f0, f1]) & EVENT_FLAGS {
            DISABLE => false,
            DESC if self.event_idx => self.distance(since, event) < self.distance(since, now),
            _ => true,
        })
    }

    /// Descriptors from one place to another, in the direction of the ring; both have a wrap counter.
    fn distance(&self, from: u16, to: u16) -> u32 {
        let size = u32::from(self.setup.size).max(1);
        let line =
            |place: u16| u32::from(place & !WRAP) % size + if place & WRAP != 0 { 0 } else { size };
        (line(to) + 2 * size - line(from)) % (2 * size)
    }
}

fn push(descriptor: &Descriptor, chain: &mut Chain, limit: u16) {
    let writable = descriptor.flags & WRITE != 0;
    chain.push(descriptor.address, descriptor.length, writable, limit);
}

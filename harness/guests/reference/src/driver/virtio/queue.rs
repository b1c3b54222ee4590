//! A split virtqueue and the requests on it (virtio 1.3, 2.7), whatever they ask for.
//!
//! Each request has a slot of its own: three descriptors, or one that points to an indirect table,
//! and memory for what goes out, for the answer, and for data. So there is no free list, and a used
//! element that names no slot in flight is seen at once.

use super::registers::Registers;
use super::spec::ring;
use crate::dbg_print;
use crate::driver::mistake::{Mistake, Mistakes};
use crate::hal::mem;
use crate::hal::mmio::Mmio;
use crate::nt::bugcheck::{MULTIPLE_IRP_COMPLETE_REQUESTS, bug_check};
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

/// Largest queue that is used.
const MOST_DESCRIPTORS: u16 = 64;
/// Descriptors of one request.
const PARTS: u16 = 3;
/// Where the used ring lies in the queue's memory; descriptors and available ring are below.
const USED: usize = 2048;
const RING_MEMORY: usize = 4096;

/// Offsets in a slot's memory, in bytes.
pub mod slot {
    /// What the driver tells the device: 64 bytes.
    pub const OUT: usize = 0;
    /// What the device answers: 112 bytes.
    pub const IN: usize = 64;
    /// The indirect table: as many descriptors as a request can have.
    pub const TABLE: usize = 176;
    pub const SIZE: usize = 256;
    /// The first byte of an answer that the device has not written yet.
    pub const NO_ANSWER: u8 = 0xff;
}

/// A piece of a request: memory, and which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Physical address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// Whether the device writes it.
    pub writable: bool,
}

impl Part {
    /// The first `length` bytes of `memory` for the device to read.
    pub fn out(memory: Mmio, length: u32) -> Self {
        Self {
            address: memory.address(),
            length,
            writable: false,
        }
    }

    /// The first `length` bytes of `memory` for the device to write.
    pub fn into(memory: Mmio, length: u32) -> Self {
        Self {
            writable: true,
            ..Self::out(memory, length)
        }
    }
}

/// The pieces of a request in their order; there is at least one.
pub type Parts = [Option<Part>; PARTS as usize];

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nowhere.
    Free,
    /// With the device.
    InFlight,
    /// Back, and the device says that it has written so many bytes.
    Done(u32),
}

/// A request's place.
pub struct Slot {
    /// Where it is.
    pub state: State,
    /// Its pieces. Whoever submits it has written them down.
    pub parts: Parts,
    /// When it is late, in microseconds since boot.
    pub deadline: u64,
    /// Whether it has been issued a second time.
    pub retried: bool,
    /// Whether it was seen in the used ring, late, and its interrupt is given a little longer.
    pub suspected: bool,
    /// What the driver knows it by: the block of a load, for example.
    pub tag: u64,
    /// When it came back: a number that grows with each request of the queue.
    order: u64,
    memory: Mmio,
    data: Option<Mmio>,
}

impl Slot {
    /// Memory for what goes out, from `offset` on.
    pub fn out(&self, offset: usize) -> Mmio {
        self.window(slot::OUT + offset)
    }

    /// Memory for the answer.
    pub fn answer(&self) -> Mmio {
        self.window(slot::IN)
    }

    /// Data memory, if there is some.
    pub fn data(&self) -> Option<Mmio> {
        self.data
    }

    /// Reads so many bytes of what the device is said to have written.
    fn read_to(&self, length: u32) {
        if let (Some(data), Some(last)) = (self.data, length.checked_sub(1)) {
            data.read::<u8>(last as usize);
        }
    }

    fn window(&self, offset: usize) -> Mmio {
        let memory = self.memory.part(offset, slot::SIZE - offset);
        memory.unwrap_or(self.memory)
    }
}

/// The features that change how a queue works.
#[derive(Clone, Copy, Debug, Default)]
pub struct Features {
    /// EVENT_IDX.
    pub event_idx: bool,
    /// INDIRECT_DESC.
    pub indirect: bool,
}

/// A queue.
pub struct Queue {
    /// Its number.
    pub index: u16,
    /// Requests that it can hold.
    pub slots: Vec<Slot>,
    /// Whether something was seen in the used ring, late, and its interrupt is given a little longer.
    pub suspected: bool,
    /// What to do wrong.
    pub mistakes: Mistakes,
    size: u16,
    features: Features,
    rings: Mmio,
    notify: Option<Registers>,
    next: u16,
    last_used: u16,
    /// Requests that have come back since the queue was made.
    completed: u64,
}

/// The device has moved its index by more than there was.
pub struct RingError;

impl Queue {
    /// Memory for a queue. `None` when there is none left.
    pub fn new(index: u16, depth: u16) -> Option<Self> {
        let rings = mem::dma(RING_MEMORY)?;
        let requests = mem::dma(usize::from(depth) * slot::SIZE)?;
        let slots = (0..usize::from(depth))
            .map(|n| {
                Some(Slot {
                    state: State::Free,
                    parts: [None; PARTS as usize],
                    deadline: 0,
                    retried: false,
                    suspected: false,
                    tag: 0,
                    order: 0,
                    memory: requests.part(n * slot::SIZE, slot::SIZE)?,
                    data: None,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            index,
            slots,
            suspected: false,
            mistakes: Mistakes::default(),
            size: 0,
            features: Features::default(),
            rings,
            notify: None,
            next: 0,
            last_used: 0,
            completed: 0,
        })
    }

    /// The size to use when the device allows `most`: a power of two.
    pub fn size_for(most: u16) -> u16 {
        match most.min(MOST_DESCRIPTORS) {
            0 => 0,
            most => 1 << most.ilog2(),
        }
    }

    /// Begins anew, as after every reset: empty rings of `size`. Requests in flight stay noted.
    pub fn begin(&mut self, size: u16, features: Features, notify: Option<Registers>) {
        for at in (0..RING_MEMORY).step_by(8) {
            self.rings.write(at, 0u64);
        }
        self.size = size;
        self.features = features;
        self.notify = notify;
        self.next = 0;
        self.last_used = 0;
    }

    /// Requests that fit, by the size of the ring and the memory.
    pub fn depth(&self) -> usize {
        let each = if self.features.indirect { 1 } else { PARTS };
        self.slots.len().min(usize::from(self.size / each))
    }

    fn available(&self) -> usize {
        ring::DESCRIPTOR * usize::from(self.size)
    }

    /// Physical addresses of the descriptors, the available and the used ring.
    pub fn addresses(&self) -> [u64; 3] {
        let base = self.rings.address();
        [base, base + self.available() as u64, base + USED as u64]
    }

    /// Data memory of a slot with room for `length` bytes. `None` when there is none left.
    pub fn data(&mut self, n: usize, length: usize) -> Option<Mmio> {
        let slot = &mut self.slots[n];
        match slot.data {
            Some(data) if data.length() >= length => Some(data),
            _ => {
                slot.data = Some(mem::dma(length)?);
                slot.data
            }
        }
    }

    /// A slot that is free and fits into the ring.
    pub fn free(&self) -> Option<usize> {
        let free = |slot: &Slot| slot.state == State::Free;
        self.slots[..self.depth()].iter().position(free)
    }

    /// Of the requests that are back, the one that came first.
    pub fn oldest_done(&self) -> Option<usize> {
        let done = |n: &usize| matches!(self.slots[*n].state, State::Done(_));
        let done = (0..self.slots.len()).filter(done);
        done.min_by_key(|&n| self.slots[n].order)
    }

    /// Frees the slots of all requests that are back. The result is how many.
    pub fn retire(&mut self) -> usize {
        let done = |slot: &&mut Slot| matches!(slot.state, State::Done(_));
        let done = self.slots.iter_mut().filter(done);
        done.map(|slot| slot.state = State::Free).count()
    }

    /// When the first request in flight is late, in microseconds since boot.
    pub fn deadline(&self) -> Option<u64> {
        let flying = self
            .slots
            .iter()
            .filter(|slot| slot.state == State::InFlight);
        flying.map(|slot| slot.deadline).min()
    }

    /// Whether a request is with the device.
    pub fn in_flight(&self) -> usize {
        let flying = |slot: &&Slot| slot.state == State::InFlight;
        self.slots.iter().filter(flying).count()
    }

    /// Makes slot `n`'s request available and notifies the device if it wants to be.
    pub fn submit(&mut self, n: usize, deadline: u64) {
        self.submit_all([n], deadline);
    }

    /// Makes the requests of these slots available and notifies the device once, if it wants to be.
    pub fn submit_all(&mut self, slots: impl IntoIterator<Item = usize>, deadline: u64) {
        let old = self.next;
        for n in slots {
            self.expose(n, deadline);
        }
        fence(Ordering::SeqCst);
        let forgets = self.mistakes.has(Mistake::ForgetsNotification) && self.next == 4;
        if self.next != old && self.wants_notification(old) && !forgets {
            self.notify();
        }
    }

    fn expose(&mut self, n: usize, deadline: u64) {
        self.slots[n].state = State::InFlight;
        self.slots[n].deadline = deadline;
        self.slots[n].suspected = false;
        let head = self.describe(n);
        let old = self.next;
        self.next = old.wrapping_add(1);
        let available = self.available();
        let entry = available + ring::ENTRIES + 2 * usize::from(old % self.size);
        self.rings.write(entry, head);
        fence(Ordering::SeqCst);
        self.rings.write(available + ring::INDEX, self.next);
    }

    fn wants_notification(&self, old: u16) -> bool {
        if self.features.event_idx {
            let at = USED + ring::ENTRIES + ring::USED_ELEMENT * usize::from(self.size);
            let event: u16 = self.rings.read(at);
            self.next.wrapping_sub(event).wrapping_sub(1) < self.next.wrapping_sub(old)
        } else {
            self.rings.read::<u16>(USED) & ring::NO_NOTIFY == 0
        }
    }

    /// Where the queue is notified.
    pub fn notify_window(&self) -> Option<Registers> {
        self.notify
    }

    /// Writes the queue's number where it is notified.
    pub fn notify(&self) {
        if let Some(notify) = self.notify {
            notify.write(0, self.index);
        }
    }

    /// Writes slot `n`'s descriptors. The result is the head's number.
    fn describe(&self, n: usize) -> u16 {
        let Slot { memory, parts, .. } = &self.slots[n];
        memory.write(slot::IN, slot::NO_ANSWER);
        if self.features.indirect {
            let count = Self::chain(*memory, slot::TABLE, 0, parts);
            let length = u32::from(count) * ring::DESCRIPTOR as u32;
            let table = (
                memory.address() + slot::TABLE as u64,
                length,
                ring::INDIRECT,
            );
            Self::descriptor(self.rings, n * ring::DESCRIPTOR, table, 0);
            n as u16
        } else {
            let first = n as u16 * PARTS;
            let base = usize::from(first) * ring::DESCRIPTOR;
            Self::chain(self.rings, base, first, parts);
            first
        }
    }

    /// Writes a chain of the parts that are there, from `base` on; `first` is its first number.
    fn chain(table: Mmio, base: usize, first: u16, parts: &Parts) -> u16 {
        let last = parts.iter().flatten().count() as u16 - 1;
        for (k, part) in (0u16..).zip(parts.iter().flatten()) {
            let (address, length) = (part.address, part.length);
            let flags = if part.writable { ring::WRITE } else { 0 };
            let (next, more) = if k < last {
                (first + k + 1, ring::NEXT)
            } else {
                (0, 0)
            };
            let at = base + usize::from(k) * ring::DESCRIPTOR;
            Self::descriptor(table, at, (address, length, flags | more), next);
        }
        last + 1
    }

    fn descriptor(table: Mmio, at: usize, (address, length, flags): (u64, u32, u16), next: u16) {
        table.write(at, address);
        table.write(at + 8, length);
        table.write(at + 12, flags);
        table.write(at + 14, next);
    }

    /// Whether the device has used something that was not taken yet.
    pub fn has_used(&self) -> bool {
        self.size != 0 && self.rings.read::<u16>(USED + ring::INDEX) != self.last_used
    }

    /// The first request that is later than `now`.
    pub fn late(&self, now: u64) -> Option<usize> {
        let late = |slot: &Slot| slot.state == State::InFlight && slot.deadline <= now;
        self.slots.iter().position(late)
    }

    /// Takes what the device has used. The result is how many requests came back.
    ///
    /// # Errors
    /// The used index is nonsense.
    pub fn harvest(&mut self) -> Result<usize, RingError> {
        let mut back = 0;
        if self.size == 0 {
            return Ok(back);
        }
        loop {
            let index: u16 = self.rings.read(USED + ring::INDEX);
            let new = index.wrapping_sub(self.last_used);
            if new == 0 {
                return Ok(back);
            }
            if usize::from(new) > self.in_flight() {
                if self.mistakes.has(Mistake::IgnoresIndexJump) {
                    continue;
                }
                dbg_print!(
                    "VIRTIO: queue {}: used index {index} is {new} ahead with {} in flight",
                    self.index,
                    self.in_flight()
                );
                return Err(RingError);
            }
            fence(Ordering::SeqCst);
            let place = usize::from(self.last_used % self.size);
            let at = USED + ring::ENTRIES + ring::USED_ELEMENT * place;
            let id: u32 = self.rings.read(at);
            let length: u32 = self.rings.read(at + 4);
            self.last_used = self.last_used.wrapping_add(1);
            back += usize::from(self.complete(id, length));
            if self.features.event_idx {
                let event = self.available() + ring::ENTRIES + 2 * usize::from(self.size);
                self.rings.write(event, self.last_used);
                fence(Ordering::SeqCst);
            }
        }
    }

    fn complete(&mut self, id: u32, length: u32) -> bool {
        let each = if self.features.indirect { 1 } else { PARTS };
        if self.mistakes.has(Mistake::UsedIdUnchecked) {
            return self.complete_unchecked((id / u32::from(each)) as usize, length);
        }
        let slot = id
            .is_multiple_of(u32::from(each))
            .then(|| self.slots.get_mut((id / u32::from(each)) as usize))
            .flatten()
            .filter(|slot| slot.state == State::InFlight);
        match slot {
            Some(slot) => {
                if self.mistakes.has(Mistake::UsedLenTrusted) {
                    slot.read_to(length);
                }
                slot.state = State::Done(length);
                slot.order = self.completed;
                self.completed += 1;
                true
            }
            None => {
                dbg_print!(
                    "VIRTIO: queue {}: used id {id} is not in flight",
                    self.index
                );
                false
            }
        }
    }

    /// What a driver that believes its device does: a request that is not there, or was completed
    /// before, is completed all the same. I/O manager and heap notice.
    fn complete_unchecked(&mut self, n: usize, length: u32) -> bool {
        let slot = &mut self.slots[n];
        if slot.state != State::InFlight {
            bug_check(MULTIPLE_IRP_COMPLETE_REQUESTS, [n as u64, 0, 0, 0]);
        }
        slot.state = State::Done(length);
        slot.order = self.completed;
        self.completed += 1;
        true
    }
}

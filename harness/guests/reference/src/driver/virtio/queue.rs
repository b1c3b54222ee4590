//! A split virtqueue and the requests on it (virtio 1.3, 2.7), whatever they ask for.
//!
//! Each request has a slot of its own: three descriptors, or one that points to an indirect table,
//! and memory for what goes out, for the answer, and for data. So there is no free list, and a used
//! element that names no slot in flight is seen at once.

use super::registers::Registers;
use super::ring::{Back, Chain, Features, Ring, TooFar};
use super::spec::ring;
use crate::dbg_print;
use crate::driver::mistake::{Mistake, Mistakes};
use crate::hal::mem;
use crate::hal::mmio::Mmio;
use crate::nt::bugcheck::{MULTIPLE_IRP_COMPLETE_REQUESTS, bug_check};
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

/// Descriptors of one request.
const PARTS: u16 = ring::MOST_PARTS;
const RING_MEMORY: usize = 4096;
/// So often the ring is looked at for a request before it is late.
const LOOKS: u64 = 4;

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
    /// When the ring is looked at for it, its interrupt may have been lost; not after `deadline`.
    pub look: u64,
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

    /// It is late at `deadline`, and the ring is looked at for it some times before. `patience`: how
    /// long a request may take, in microseconds.
    pub fn wait_until(&mut self, deadline: u64, patience: u64) {
        self.deadline = deadline;
        self.look = match deadline {
            u64::MAX => u64::MAX,
            _ => deadline.saturating_sub(patience - patience / LOOKS),
        };
    }

    /// The ring was looked at, in vain: whether the request is late.
    pub fn looked(&mut self, now: u64, patience: u64) -> bool {
        self.look = self.deadline.min(now + patience / LOOKS);
        self.deadline <= now
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

/// How a queue is notified.
#[derive(Clone, Copy, Debug)]
pub struct Notify {
    /// Where; `None` when that is outside the structure.
    pub window: Option<Registers>,
    /// What by, if not by its index.
    pub name: Option<u16>,
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
    /// How long a request may take, in microseconds.
    pub patience: u64,
    size: u16,
    features: Features,
    memory: Mmio,
    ring: Option<Ring>,
    notify: Option<Registers>,
    /// What a notification names the queue by.
    name: u16,
    /// Requests that were made available since the queue was set up.
    next: u16,
    /// Requests that have come back since the queue was made.
    completed: u64,
}

/// The device has moved its index by more than there was.
pub struct RingError;

impl Queue {
    /// Memory for a queue. `None` when there is none left.
    pub fn new(index: u16, depth: u16) -> Option<Self> {
        let memory = mem::dma(RING_MEMORY)?;
        let requests = mem::dma(usize::from(depth) * slot::SIZE)?;
        let slots = (0..usize::from(depth))
            .map(|n| {
                Some(Slot {
                    state: State::Free,
                    parts: [None; PARTS as usize],
                    deadline: 0,
                    look: 0,
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
            patience: 0,
            size: 0,
            features: Features::default(),
            memory,
            ring: None,
            notify: None,
            name: index,
            next: 0,
            completed: 0,
        })
    }

    /// The size to use when the device allows `offered` and the driver wants no more than `most`: a
    /// power of two but for a packed ring.
    pub fn size_for(offered: u16, most: u16, features: Features) -> u16 {
        match offered.min(most) {
            0 => 0,
            size if features.packed => size,
            size => 1 << size.ilog2(),
        }
    }

    /// Begins anew, as after every reset: empty rings of `size`. Requests in flight stay noted.
    /// `None` when there is no memory left for a ring of this size.
    pub fn begin(&mut self, size: u16, features: Features, notify: Notify) -> Option<()> {
        let bytes = Ring::bytes(size, features);
        let unchecked = self.mistakes.has(Mistake::QUEUE_SIZE_UNCHECKED);
        if self.memory.length() < bytes && !unchecked {
            self.memory = mem::dma(bytes)?;
        }
        self.size = size;
        self.features = features;
        self.notify = notify.window;
        self.name = notify.name.unwrap_or(self.index);
        self.next = 0;
        // In a ring the driver is mistaken once: what comes of it ends with the next set-up.
        let mistakes = match self.ring {
            None => self.mistakes,
            Some(_) => Mistakes::default(),
        };
        self.ring = Some(Ring::new(self.memory, size, features, mistakes));
        Some(())
    }

    /// Requests that fit, by the size of the ring and the memory. None does where a chain as long as a
    /// request's would have more descriptors than the queue has, also in a table (2.7.5.3.1).
    pub fn depth(&self) -> usize {
        let longer = self.mistakes.has(Mistake::TABLE_LONGER_THAN_QUEUE);
        if self.size < PARTS && !longer {
            return 0;
        }
        let each = if self.features.indirect { 1 } else { PARTS };
        self.slots.len().min(usize::from(self.size / each))
    }

    /// Physical addresses of the descriptors, the driver's and the device's area.
    pub fn addresses(&self) -> [u64; 3] {
        self.ring.as_ref().map_or([0; 3], Ring::addresses)
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

    /// When the ring is to be looked at for a request in flight, in microseconds since boot.
    pub fn deadline(&self) -> Option<u64> {
        let flying = self
            .slots
            .iter()
            .filter(|slot| slot.state == State::InFlight);
        flying.map(|slot| slot.look).min()
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
        let forgets = self.mistakes.has(Mistake::FORGETS_NOTIFICATION) && self.next == 4;
        let wanted = self.ring.as_mut().is_some_and(Ring::wants_notification);
        let always = self.mistakes.has(Mistake::ALWAYS_NOTIFIES);
        if self.next != old && (wanted || always) && !forgets {
            self.notify();
        }
    }

    fn expose(&mut self, n: usize, deadline: u64) {
        let patience = self.patience;
        let slot = &mut self.slots[n];
        slot.state = State::InFlight;
        slot.wait_until(deadline, patience);
        slot.suspected = false;
        slot.memory.write(slot::IN, slot::NO_ANSWER);
        let parts: Vec<Part> = slot.parts.iter().flatten().copied().collect();
        let table = slot.window(slot::TABLE);
        if let Some(ring) = &mut self.ring {
            ring.expose(&Chain {
                slot: n as u16,
                parts: &parts,
                table,
            });
            self.next = self.next.wrapping_add(1);
        }
    }

    /// A mistake: makes the first descriptor of each request that is out a byte shorter.
    pub fn shorten(&self) {
        let Some(ring) = &self.ring else { return };
        for at in (0..self.slots.len()).filter_map(|n| ring.held(n as u16)) {
            let length: u32 = self.memory.read(at + 8);
            self.memory.write(at + 8, length.saturating_sub(1));
        }
    }

    /// A mistake: writes into the first descriptor of the ring, whosever it is.
    pub fn scribble(&self) {
        self.memory.write(0, u64::MAX);
    }

    /// Where the queue is notified.
    pub fn notify_window(&self) -> Option<Registers> {
        self.notify
    }

    /// Notifies the device: by the queue's name and, with NOTIFICATION_DATA, where the next request
    /// will be (2.9).
    pub fn notify(&self) {
        let Some(window) = self.notify else { return };
        if self.features.notification_data {
            let mut position = self.ring.as_ref().map_or(0, Ring::position);
            if self.mistakes.has(Mistake::NOTIFICATION_DATA_AHEAD) {
                position = position.wrapping_add(1);
            }
            window.write(0, u32::from(position) << 16 | u32::from(self.name));
        } else {
            window.write(0, self.name);
        }
    }

    /// Whether the device has used something that was not taken yet.
    pub fn has_used(&self) -> bool {
        self.ring.as_ref().is_some_and(Ring::has_used)
    }

    /// The first request for which the ring is to be looked at.
    pub fn late(&self, now: u64) -> Option<usize> {
        let late = |slot: &Slot| slot.state == State::InFlight && slot.look <= now;
        self.slots.iter().position(late)
    }

    /// Takes what the device has used. The result is how many requests came back.
    ///
    /// # Errors
    /// The used index is nonsense.
    pub fn harvest(&mut self) -> Result<usize, RingError> {
        let mut back = 0;
        let index = self.index;
        loop {
            let in_flight = self.in_flight();
            let Some(ring) = &mut self.ring else {
                return Ok(back);
            };
            match ring.take(in_flight) {
                Ok(None) => return Ok(back),
                Ok(Some(Back::Slot(n, length))) if self.complete(n.into(), length) => back += 1,
                Ok(Some(Back::Slot(id, _))) => {
                    dbg_print!("VIRTIO: queue {index}: used slot {id} is not in flight");
                }
                Ok(Some(Back::Unknown(id))) if self.mistakes.has(Mistake::USED_ID_UNCHECKED) => {
                    let each = if self.features.indirect { 1 } else { PARTS };
                    back +=
                        usize::from(self.complete_unchecked((id / u32::from(each)) as usize, 0));
                }
                Ok(Some(Back::Unknown(id))) => {
                    dbg_print!("VIRTIO: queue {index}: used id {id} is not in flight");
                }
                Err(_) if self.mistakes.has(Mistake::IGNORES_INDEX_JUMP) => {}
                Err(TooFar { index: used, new }) => {
                    dbg_print!(
                        "VIRTIO: queue {index}: used index {used} is {new} ahead with {in_flight} in flight"
                    );
                    return Err(RingError);
                }
            }
        }
    }

    fn complete(&mut self, n: usize, length: u32) -> bool {
        let flying = |slot: &&mut Slot| slot.state == State::InFlight;
        let slot = self.slots.get_mut(n).filter(flying);
        let Some(slot) = slot else { return false };
        if self.mistakes.has(Mistake::USED_LEN_TRUSTED) {
            slot.read_to(length);
        }
        slot.state = State::Done(length);
        slot.order = self.completed;
        self.completed += 1;
        true
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

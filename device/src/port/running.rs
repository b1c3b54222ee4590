//! A ring that is being worked on: split or packed, it is driven in the same way.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use vhost_user_backend::VringState;
use virtio_queue::QueueT;
use vm_memory::GuestMemoryMmap;

use super::vring::SharedMemory;
use crate::backend::{
    BrokenRing, Chain, Packed, is_drained, needs_interrupt, peek, settle, take, write_used,
};
use crate::trace::Effect;

/// The state of a ring, locked.
pub struct Running<'a> {
    pub(super) state: MutexGuard<'a, VringState<SharedMemory>>,
    /// None: the ring is split.
    pub(super) packed: MutexGuard<'a, Option<Packed>>,
    /// A chain that is finished and about to be used.
    pub(super) served: MutexGuard<'a, Option<Served>>,
}

/// A chain that is finished: it only has to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub head: u16,
    pub len: u32,
}

impl Running<'_> {
    /// The position of the next chain, in the form of an event's.
    pub fn position(&self) -> u16 {
        match &*self.packed {
            Some(packed) => packed.base(),
            None => self.state.get_queue().next_avail(),
        }
    }

    /// Whether a chain seems to be there; its ring may be broken all the same.
    pub fn has_next(&self, memory: &GuestMemoryMmap) -> bool {
        match &*self.packed {
            Some(packed) => packed.is_drained(memory).is_ok_and(|drained| !drained),
            None => {
                let queue = self.state.get_queue();
                let available = queue.avail_idx(memory, Ordering::Acquire);
                available.is_ok_and(|index| {
                    let ahead = index.0.wrapping_sub(queue.next_avail());
                    (1..=queue.size()).contains(&ahead)
                })
            }
        }
    }

    /// Reads the next available chain into `chain`; returns whether there is one.
    ///
    /// # Errors
    /// The ring is broken.
    pub fn peek(
        &mut self,
        memory: &GuestMemoryMmap,
        chain: &mut Chain,
    ) -> Result<bool, BrokenRing> {
        match &mut *self.packed {
            Some(packed) => packed.peek(memory, chain),
            None => peek(self.state.get_queue_mut(), memory, chain),
        }
    }

    /// Whether every available chain was taken.
    ///
    /// # Errors
    /// The ring is not in the guest's memory.
    pub fn is_drained(&self, memory: &GuestMemoryMmap) -> Result<bool, BrokenRing> {
        match &*self.packed {
            Some(packed) => packed.is_drained(memory),
            None => is_drained(self.state.get_queue(), memory),
        }
    }

    /// The chain that was read last is the device's, until it is used.
    pub fn take(&mut self) {
        match &mut *self.packed {
            Some(packed) => packed.take(),
            None => take(self.state.get_queue_mut()),
        }
    }

    /// Makes a chain that was taken used.
    ///
    /// # Errors
    /// The ring is not in the guest's memory.
    pub fn settle(
        &mut self,
        memory: &GuestMemoryMmap,
        head: u16,
        len: u32,
    ) -> Result<(), BrokenRing> {
        match &mut *self.packed {
            Some(packed) => packed.settle(memory, head, len),
            None => settle(self.state.get_queue_mut(), memory, head, len),
        }
    }

    /// Writes what an observer makes of the used ring. Returns whether the driver wants an interrupt.
    ///
    /// # Errors
    /// The ring is not in the guest's memory.
    pub fn write_used(
        &mut self,
        memory: &GuestMemoryMmap,
        effects: &[Effect],
    ) -> Result<bool, BrokenRing> {
        if let Some(packed) = &mut *self.packed {
            return packed.write_used(memory, effects);
        }
        let (next, interrupt) = write_used(self.state.get_queue(), memory, effects)?;
        self.state.get_queue_mut().set_next_used(next);
        Ok(interrupt)
    }

    /// Whether the driver wants an interrupt for what was used since it was asked last.
    ///
    /// # Errors
    /// The ring is not in the guest's memory.
    pub fn needs_interrupt(&mut self, memory: &GuestMemoryMmap) -> Result<bool, BrokenRing> {
        match &mut *self.packed {
            Some(packed) => packed.needs_interrupt(memory),
            None => needs_interrupt(self.state.get_queue_mut(), memory),
        }
    }

    /// Asks to be notified of the next chain; returns whether there is one already.
    ///
    /// # Errors
    /// The ring is not in the guest's memory.
    pub fn enable_notification(&mut self, memory: &GuestMemoryMmap) -> Result<bool, BrokenRing> {
        match &mut *self.packed {
            Some(packed) => packed.enable_notification(memory),
            None => Ok(self.state.get_queue_mut().enable_notification(memory)?),
        }
    }
}

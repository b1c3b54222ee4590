//! The device's side of a split ring (2.7), on `virtio-queue`.

use std::sync::atomic::Ordering;

use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemory};

use super::chain::{Chain, NoStatus};
use crate::trace::{Effect, RingWrite};

/// The driver left the ring in a state from which the device can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenRing {
    /// A part of the ring is not in the guest's memory.
    #[error("the ring is not in the guest's memory")]
    Unmapped,
    /// The available index moved by more than the queue's size.
    #[error("the available index jumped")]
    Index,
    /// An available entry names a descriptor beyond the table.
    #[error("descriptor {0} is beyond the table")]
    Head(u16),
    /// A chain that can't be completed.
    #[error("chain {head} can't be completed")]
    Chain {
        /// Its first descriptor.
        head: u16,
        /// Why.
        source: NoStatus,
    },
}

impl From<virtio_queue::Error> for BrokenRing {
    fn from(error: virtio_queue::Error) -> Self {
        match error {
            virtio_queue::Error::InvalidAvailRingIndex => Self::Index,
            _ => Self::Unmapped,
        }
    }
}

/// Reads the next available chain into `chain`. It stays available until [`take`].
///
/// Returns whether there is one.
///
/// # Errors
/// The ring is broken.
pub fn peek<M: GuestMemory>(
    queue: &mut Queue,
    memory: &M,
    chain: &mut Chain,
) -> Result<bool, BrokenRing> {
    let size = queue.size();
    // The index is looked at once: a driver that makes a chain available meanwhile is not at fault.
    if is_drained(queue, memory)? {
        return Ok(false);
    }
    // There is a chain, so the iterator ends only where it can't read the entry.
    let found = queue.iter(memory)?.next().ok_or(BrokenRing::Unmapped)?;
    queue.go_to_previous_position();
    let head = found.head_index();
    if head >= size {
        return Err(BrokenRing::Head(head));
    }
    chain
        .fetch(found, size)
        .map_err(|source| BrokenRing::Chain { head, source })?;
    Ok(true)
}

/// Whether every chain that the driver made available was taken.
///
/// # Errors
/// The available ring is not in the guest's memory.
pub fn is_drained<M: GuestMemory>(queue: &Queue, memory: &M) -> Result<bool, BrokenRing> {
    Ok(queue.avail_idx(memory, Ordering::Acquire)?.0 == queue.next_avail())
}

/// The chain that [`peek`] read is the device's, until it is used.
pub fn take(queue: &mut Queue) {
    queue.set_next_avail(queue.next_avail().wrapping_add(1));
}

/// Makes a chain that was taken used.
///
/// The device asks to be notified of the next chain before the driver can see this one used. So a
/// driver with one request at a time notifies every time, whichever of the two is faster. While others
/// are available it needs no notification, also when it lets them wait.
///
/// # Errors
/// The used ring is not in the guest's memory.
pub fn settle<M: GuestMemory>(
    queue: &mut Queue,
    memory: &M,
    head: u16,
    len: u32,
) -> Result<(), BrokenRing> {
    if is_drained(queue, memory)? {
        queue.enable_notification(memory)?;
    }
    Ok(queue.add_used(memory, head, len)?)
}

/// Whether the driver wants an interrupt for what was used since it was asked last (2.7.7.2).
///
/// # Errors
/// The available ring is not in the guest's memory.
pub fn needs_interrupt<M: GuestMemory>(queue: &mut Queue, memory: &M) -> Result<bool, BrokenRing> {
    // Also passes the barrier between the used index and the driver's wish.
    let wanted = queue.needs_notification(memory)?;
    if queue.event_idx_enabled() {
        return Ok(wanted);
    }
    let flags: u16 = memory
        .load(GuestAddress(queue.avail_ring()), Ordering::Relaxed)
        .map_err(|_| BrokenRing::Unmapped)?;
    Ok(u16::from_le(flags) & VRING_AVAIL_F_NO_INTERRUPT as u16 == 0)
}

/// Writes into a used ring what an observer makes of it: elements, and whatever else. The used index goes
/// on from where it is in memory. Returns it, and whether the driver wants an interrupt for the elements
/// (2.7.7.2).
///
/// # Errors
/// A part of the ring is not in the guest's memory.
pub fn write_used<M: GuestMemory>(
    queue: &Queue,
    memory: &M,
    effects: &[Effect],
) -> Result<(u16, bool), BrokenRing> {
    let (used, size) = (queue.used_ring(), u64::from(queue.size().max(1)));
    let load = |base: u64, offset: u64| -> Result<u16, BrokenRing> {
        let at = base.checked_add(offset).ok_or(BrokenRing::Unmapped)?;
        let word: u16 = memory
            .load(GuestAddress(at), Ordering::Acquire)
            .map_err(|_| BrokenRing::Unmapped)?;
        Ok(u16::from_le(word))
    };
    let store = |offset: u64, word: u16| -> Result<(), BrokenRing> {
        let at = used.checked_add(offset).ok_or(BrokenRing::Unmapped)?;
        memory
            .store(word.to_le(), GuestAddress(at), Ordering::Release)
            .map_err(|_| BrokenRing::Unmapped)
    };
    let old = load(used, 2)?;
    let mut index = old;
    for effect in effects {
        match effect {
            Effect::Complete { id, len, .. } => {
                let at = used.checked_add(4 + 8 * (u64::from(index) % size));
                let at = GuestAddress(at.ok_or(BrokenRing::Unmapped)?);
                let mut element = [0; 8];
                element[..4].copy_from_slice(&id.to_le_bytes());
                element[4..].copy_from_slice(&len.to_le_bytes());
                memory
                    .write_slice(&element, at)
                    .map_err(|_| BrokenRing::Unmapped)?;
                index = index.wrapping_add(1);
            }
            Effect::Ring { write, .. } => match write {
                RingWrite::Jump(by) => index = index.wrapping_add(*by),
                RingWrite::Flags(flags) => store(0, *flags)?,
                RingWrite::AvailEvent(at) => store(4 + 8 * size, *at)?,
            },
            _ => {}
        }
    }
    if index == old {
        return Ok((index, false));
    }
    store(2, index)?;
    std::sync::atomic::fence(Ordering::SeqCst);
    let wanted = if queue.event_idx_enabled() {
        let event = load(queue.avail_ring(), 4 + 2 * size)?;
        index.wrapping_sub(event).wrapping_sub(1) < index.wrapping_sub(old)
    } else {
        load(queue.avail_ring(), 0)? & VRING_AVAIL_F_NO_INTERRUPT as u16 == 0
    };
    Ok((index, wanted))
}

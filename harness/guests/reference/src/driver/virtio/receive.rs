//! Buffers that are with the device before anything comes: for frames, for input, for events.

use super::base::{Base, Tally};
use super::queue::{Part, State};
use crate::dbg_print;
use crate::hal::mmio::Mmio;
use crate::hal::time;

/// How long a late interrupt is waited for when the buffer is back already, in microseconds.
const GRACE_US: u64 = 6_000;

impl Base {
    /// Gives the device every free slot of a queue, each with `size` bytes to write to.
    pub fn post(&mut self, place: usize, size: usize) {
        let Some(queue) = self.active().get_mut(place) else {
            return;
        };
        let depth = queue.depth();
        for n in 0..depth {
            if queue.slots[n].state == State::Free {
                let Some(data) = queue.data(n, size) else {
                    return;
                };
                queue.slots[n].parts = [Some(Part::into(data, size as u32)), None, None];
            }
        }
        let free: u64 = (0..depth)
            .filter(|&n| queue.slots[n].state == State::Free)
            .fold(0, |free, n| free | 1 << n);
        queue.submit_all((0..depth).filter(|n| free >> n & 1 != 0), u64::MAX);
    }

    /// Takes the buffers that are back: `take` is given each one's memory and how much of it the
    /// device says that it has written, which is never more than there is.
    pub fn receive(&mut self, place: usize, mut take: impl FnMut(Mmio, usize)) {
        let Some(queue) = self.active().get_mut(place) else {
            return;
        };
        while let Some(n) = queue.oldest_done() {
            let slot = &mut queue.slots[n];
            if let (State::Done(length), Some(data), [Some(part), ..]) =
                (slot.state, slot.data(), slot.parts)
            {
                take(data, length.min(part.length) as usize);
            }
            slot.state = State::Free;
        }
    }

    /// What was awaited on a queue has not come. If it is in the ring, only the interrupt may be
    /// late or lost; else it is not going to come.
    pub fn miss(&mut self, place: usize, deadline: &mut u64, tally: &mut Tally) {
        let Some(queue) = self.active().get_mut(place) else {
            return;
        };
        let index = queue.index;
        if !queue.has_used() {
            dbg_print!("VIRTIO: queue {index}: nothing came");
            tally.timeouts += 1;
            tally.reason = Some("timeout");
        } else if !core::mem::replace(&mut queue.suspected, true) {
            self.catch_up();
            *deadline = time::now() + GRACE_US;
        } else {
            queue.suspected = false;
            dbg_print!("VIRTIO: queue {index}: lost interrupt?");
            self.lost += 1;
            tally.lost += 1;
            self.take_used(place);
        }
    }
}

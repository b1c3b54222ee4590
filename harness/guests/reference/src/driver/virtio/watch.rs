//! Requests that are late.

use super::Virtio;
use super::base::Base;
use super::function::Function;
use super::queue::{Slot, State};
use crate::dbg_print;
use crate::driver::mistake::Mistake;
use crate::hal::time;
use crate::nt::dispatch;
use crate::nt::pnp::WdfDevice;

/// How long a late interrupt is waited for when its request is back already, in microseconds.
const GRACE_US: u64 = 6_000;

impl<F: Function> Virtio<F> {
    /// Requests that take long: perhaps only the interrupt was lost, so the ring is looked at; if
    /// the request is not there and late, the device is reset and the request issued again, once.
    pub(super) fn watch(&mut self, device: &mut WdfDevice) {
        if !self.base.live || dispatch::is_pending() || self.base.makes(Mistake::NO_WATCHDOG) {
            return;
        }
        let now = time::now();
        for place in 0..self.base.active().len() {
            let Some(n) = self.base.queues[place].late(now) else {
                continue;
            };
            let queue = &mut self.base.queues[place];
            if queue.has_used() {
                self.base.suspect(place, n, now);
            } else if queue.slots[n].looked(now, queue.patience) {
                self.time_out(place, n, device);
                return;
            }
        }
    }

    fn time_out(&mut self, place: usize, n: usize, device: &mut WdfDevice) {
        if self.function.timed_out(&mut self.base, place, n) {
            return;
        }
        let queue = &mut self.base.queues[place];
        let index = queue.index;
        let again = core::mem::replace(&mut queue.slots[n].retried, true);
        if let Some(load) = &mut self.base.load {
            load.timeouts += 1;
            load.reason = again.then_some("timeout");
        }
        if again {
            dbg_print!("VIRTIO: queue {index}: request timed out again");
            self.cancel(device);
        } else {
            dbg_print!("VIRTIO: queue {index}: request timed out, resetting the device");
            self.recover(device);
        }
    }

    /// Takes back every request. Only a reset makes the device let go of them.
    fn cancel(&mut self, device: &mut WdfDevice) {
        let slots = self
            .base
            .queues
            .iter_mut()
            .flat_map(|queue| &mut queue.slots);
        slots.for_each(|slot: &mut Slot| slot.state = State::Free);
        self.recover(device);
    }
}

impl Base {
    /// A late request, and the device has used something: its interrupt may be on the way.
    fn suspect(&mut self, place: usize, n: usize, now: u64) {
        if !self.queues[place].slots[n].suspected {
            self.catch_up();
            let slot = &mut self.queues[place].slots[n];
            slot.suspected = true;
            slot.look = now + GRACE_US;
            return;
        }
        let queue = &mut self.queues[place];
        dbg_print!("VIRTIO: queue {}: lost interrupt?", queue.index);
        self.lost += 1;
        if let Some(load) = &mut self.load {
            load.lost += 1;
        }
        self.take_used(place);
    }
}

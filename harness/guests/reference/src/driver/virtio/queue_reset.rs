//! The reset of one queue while the device lives, and its return (virtio 1.3, 2.6.1).

use super::base::Base;
use super::slip::Moment;
use super::spec::feature;
use super::vectors::{Mapper, Plan};
use crate::dbg_print;
use crate::driver::mistake::Mistake;
use crate::hal::time;
use alloc::vec::Vec;

impl Base {
    /// Resets the queue with this number, waits for it, and sets it up anew: vector, size, addresses.
    /// What was in flight is issued again.
    ///
    /// # Errors
    /// A word for what went wrong.
    pub(super) fn reset_queue(&mut self, index: u16) -> Result<(), &'static str> {
        let agreed = self.has(feature::RING_RESET) || self.makes(Mistake::QUEUE_RESET_UNNEGOTIATED);
        if !agreed {
            return Err("unsupported");
        }
        let transport = self.transport.filter(|_| self.live).ok_or("stopped")?;
        let active = self.active();
        let place = active.iter().position(|queue| queue.index == index);
        let place = place.ok_or("usage")?;
        transport.select(index);
        if !transport.reset_queue() {
            return Err("unsupported");
        }
        if self.makes(Mistake::QUEUE_RESET_UNNEGOTIATED) {
            return Ok(());
        }
        if self.makes(Mistake::QUEUE_MEMORY_REUSED) {
            // The device has heard the write when a read comes back.
            transport.status();
            self.queues[place].scribble();
        }
        let limit = self.settings.timeout_ms;
        let awaited = self.makes(Mistake::QUEUE_RESET_NOT_AWAITED)
            || time::poll(limit * 1000, || !transport.queue_resets());
        if !awaited {
            dbg_print!("VIRTIO: queue {index}: reset not finished after {limit} ms");
            return Err("timeout");
        }
        if self.plan != Plan::IsrStatus && !self.makes(Mistake::QUEUE_VECTOR_NOT_RESTORED) {
            let queues: Vec<u16> = self.wanted.iter().map(|wanted| wanted.index).collect();
            let mapper = Mapper {
                transport: &transport,
                messages: &self.messages,
                queues: &queues,
                again: true,
                mistakes: self.settings.mistakes,
            };
            if !mapper.map_queue(self.plan, index) {
                return Err("device");
            }
        }
        transport.select(index);
        if self.makes(Mistake::QUEUE_RESET_NOT_AWAITED) {
            // Late: only the memory is left to whom it belongs.
            time::poll(limit * 1000, || !transport.queue_resets());
        }
        if !self.makes(Mistake::QUEUE_ENABLED_WITHOUT_SET_UP) {
            self.fill(&transport, place).map_err(|_| "device")?;
        }
        transport.enable_queue();
        self.slip(Moment::Enabled);
        dbg_print!("VIRTIO: queue {index} was reset");
        self.submit_again(place);
        Ok(())
    }
}

//! What interrupts lead to: used buffers are taken, changes of the configuration looked at.

use super::Virtio;
use super::base::Base;
use super::function::Function;
use super::spec::{isr, status};
use super::transport::Transport;
use super::vectors::Plan;
use crate::driver::mistake::Mistake;
use crate::nt::dispatch;

impl<F: Function> Virtio<F> {
    /// The DPC of a message, or of the line.
    pub(super) fn on_message(&mut self, message: u32) {
        if !self.base.live {
            return;
        }
        match self.base.plan {
            Plan::PerQueue if message == 0 => self.on_config_change(),
            Plan::PerQueue => self.base.take_used((message - 1) as usize),
            Plan::Shared => {
                self.base.take_all_used();
                self.look_for_change();
            }
            Plan::IsrStatus => {
                let bits = self.base.isr.take();
                if bits & isr::QUEUE != 0 {
                    self.base.take_all_used();
                }
                if bits & isr::CONFIG != 0 {
                    self.on_config_change();
                }
            }
        }
    }

    /// A message that may be about the configuration: the generation tells, or the status.
    fn look_for_change(&mut self) {
        let Some(transport) = self.base.transport else {
            return;
        };
        if transport.generation() != self.base.generation {
            self.on_config_change();
        } else {
            self.base.look_at_status(&transport);
        }
    }

    fn on_config_change(&mut self) {
        let Some(transport) = self.base.transport else {
            return;
        };
        dispatch::progress();
        self.base.look_at_status(&transport);
        let change = self.function.config_changed(&mut self.base);
        self.base.changes += 1;
        self.base.change = Some(change);
    }
}

impl Base {
    /// Takes what the device has used of the queue at this place.
    pub(super) fn take_used(&mut self, place: usize) {
        let Some(queue) = self.active().get_mut(place) else {
            return;
        };
        match queue.harvest() {
            Ok(0) => {}
            Ok(_) => dispatch::progress(),
            Err(_) => self.ring_error = true,
        }
    }

    fn take_all_used(&mut self) {
        (0..self.used()).for_each(|place| self.take_used(place));
    }

    fn look_at_status(&mut self, transport: &Transport) {
        let needs_reset = transport.status() & status::NEEDS_RESET != 0;
        if needs_reset && !self.makes(Mistake::IgnoresNeedsReset) {
            self.needs_reset = true;
        }
    }
}

//! What interrupts lead to: used buffers are taken, changes of the configuration looked at.

use super::Virtio;
use super::base::Base;
use super::function::Function;
use super::spec::{isr, status};
use super::transport::Transport;
use super::vectors::Plan;
use crate::driver::mistake::Mistake;
use crate::nt::dispatch;

/// After so many interrupts for nothing the driver with that mistake gives up.
const MOST_FRUITLESS: u32 = 20;

impl<F: Function> Virtio<F> {
    /// The DPC of a message, or of the line.
    pub(super) fn on_message(&mut self, message: u32) {
        if !self.base.live {
            return;
        }
        match self.base.plan {
            Plan::PerQueue if message == 0 => self.on_config_change(),
            Plan::Polled => self.on_config_change(),
            Plan::PerQueue => {
                let place = (message - 1) as usize;
                if self.base.makes(Mistake::MESSAGE_WITHOUT_QUEUE) {
                    assert!(place < self.base.used(), "a queue for each message");
                }
                self.base.take_used(place);
            }
            Plan::Shared => {
                let but = usize::from(self.base.makes(Mistake::LAST_QUEUE_UNSERVED_WHEN_SHARED));
                (0..self.base.used() - but).for_each(|place| self.base.take_used(place));
                if !self.base.makes(Mistake::CONFIG_UNSERVED_WHEN_SHARED) {
                    self.look_for_change();
                }
            }
            Plan::IsrStatus => {
                let bits = self.base.isr.take();
                if bits & isr::QUEUE != 0 {
                    let used = self.base.used();
                    (0..used).for_each(|place| self.base.take_used(place));
                }
                if bits & isr::CONFIG != 0 && !self.base.makes(Mistake::CONFIG_UNSERVED_ON_LINE) {
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
        if self.base.makes(Mistake::RELIES_ON_ISR_WITH_MSIX)
            && transport.isr().read::<u8>(0) & isr::CONFIG == 0
        {
            return;
        }
        if transport.is_legacy() {
            self.base.look_at_status(&transport);
            self.compare_configuration();
        } else if transport.generation() != self.base.generation {
            self.on_config_change();
        } else {
            self.base.look_at_status(&transport);
        }
    }

    /// Without a generation only the configuration itself tells whether it has changed.
    pub(super) fn compare_configuration(&mut self) {
        let now = self.function.config_changed(&mut self.base);
        let before = self.base.said.replace(now.clone());
        if before.is_some_and(|before| before != now) {
            dispatch::progress();
            self.base.changes += 1;
            self.base.change = Some(now);
        }
    }

    fn on_config_change(&mut self) {
        let Some(transport) = self.base.transport else {
            return;
        };
        dispatch::progress();
        if self.base.changes > 0 && self.base.makes(Mistake::CONFIG_SERVED_ONCE) {
            return;
        }
        self.base.look_at_status(&transport);
        if self.base.makes(Mistake::RESETS_ON_CONFIG_CHANGE) {
            self.base.needs_reset = true;
        }
        let before = self.base.generation;
        let change = self.function.config_changed(&mut self.base);
        if self.base.makes(Mistake::CONFIG_INTERRUPT_FATAL) {
            assert!(before != self.base.generation, "something changed");
        }
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
            Ok(0) => {
                let never = self.makes(Mistake::SPURIOUS_FATAL);
                assert!(!never, "an interrupt for nothing");
                self.fruitless += 1;
                if self.makes(Mistake::SPURIOUS_GIVES_UP) && self.fruitless > MOST_FRUITLESS {
                    self.give_up();
                }
            }
            Ok(_) => dispatch::progress(),
            Err(_) => self.ring_error = true,
        }
    }

    /// Reads the status, and notes whether the device needs a reset.
    pub(super) fn look_at_status(&mut self, transport: &Transport) -> u8 {
        let shown = transport.status();
        let needs_reset = shown & status::NEEDS_RESET != 0;
        if needs_reset && !self.makes(Mistake::IGNORES_NEEDS_RESET) {
            self.needs_reset = true;
        }
        shown
    }
}

//! The suspend that the driver asks for by the device status (virtio 1.4, 3.4).

use super::Virtio;
use crate::function::interrupts::Interrupts;
use crate::function::pci::Pci;
use crate::spec::{SUSPEND, Status};
use crate::trace::{Cause, Effects};

impl Virtio {
    /// Takes the status that the driver writes, and suspends or resumes if it asks for that.
    pub(super) fn take_status(
        &mut self,
        new: Status,
        pci: &mut Pci,
        interrupts: &mut Interrupts,
        effects: &mut Effects,
    ) {
        let agreed = self.driver.started && self.agreed(SUSPEND);
        let driver = &mut self.driver;
        driver.status = driver.status.suspended_by(new, agreed);
        let halts = driver.status.has(Status::SUSPEND);
        match (std::mem::replace(&mut driver.halted, halts), halts) {
            (false, true) => self.suspend(effects),
            (true, false) => self.go_on(pci, interrupts, effects),
            _ => {}
        }
    }

    /// Runs again, and tells what was not to be told while suspended.
    fn go_on(&mut self, pci: &mut Pci, interrupts: &mut Interrupts, effects: &mut Effects) {
        if let Some(next) = self.next_config.take() {
            self.config = next;
            self.generation = self.generation.wrapping_add(1);
        }
        if pci.control().bus_master() {
            self.resume(effects);
        }
        for cause in std::mem::take(&mut self.driver.late) {
            match cause {
                Cause::Queue(queue) => self.used(queue, pci, interrupts, effects),
                _ => self.notify_config(pci, interrupts, effects),
            }
        }
        self.kick_all(pci, effects);
    }

    /// Keeps a notification until the device goes on.
    pub(super) fn tell_later(&mut self, cause: Cause) {
        if !self.driver.late.contains(&cause) {
            self.driver.late.push(cause);
        }
    }

    /// Whether the driver has suspended the device.
    #[cfg(test)]
    pub fn is_halted(&self) -> bool {
        self.driver.halted
    }
}

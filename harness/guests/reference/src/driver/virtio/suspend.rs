//! A device that the driver suspends by its status, and its return (virtio 1.4, 3.4).

use super::base::Base;
use super::spec::{feature, status};
use super::transport::Transport;
use crate::dbg_print;
use crate::driver::mistake::Mistake;
use crate::hal::time;

/// What tells whether a device is suspended.
const STATE: u8 = status::SUSPEND | status::DRIVER_OK;

impl Base {
    /// Suspends the device, and waits until it is. It is not live until it is resumed, or reset.
    ///
    /// # Errors
    /// A word for what went wrong.
    pub(super) fn suspend(&mut self) -> Result<(), &'static str> {
        let unasked = self.makes(Mistake::SUSPEND_UNNEGOTIATED);
        if !self.has(feature::SUSPEND) && !unasked {
            return Err("unsupported");
        }
        let transport = self.transport.filter(|_| self.live).ok_or("stopped")?;
        transport.set_status(self.status | status::SUSPEND);
        if unasked {
            return Ok(());
        }
        self.live = false;
        self.suspended = true;
        if !self.makes(Mistake::SUSPEND_NOT_AWAITED) {
            self.await_state(&transport, status::SUSPEND)?;
        }
        dbg_print!("VIRTIO: the device is suspended");
        Ok(())
    }

    /// Lets the device go on, and waits until it does. The bit that the device clears stays set in
    /// what is written: a driver clears none (2.1.1).
    ///
    /// # Errors
    /// A word for what went wrong.
    pub(super) fn resume(&mut self) -> Result<(), &'static str> {
        let waits = self.suspended && !self.live && self.status & status::DRIVER_OK != 0;
        let transport = self.transport.filter(|_| waits).ok_or("stopped")?;
        transport.set_status(self.status | status::SUSPEND);
        if !self.makes(Mistake::RESUME_NOT_AWAITED) {
            self.await_state(&transport, status::DRIVER_OK)?;
        }
        self.suspended = false;
        self.live = true;
        dbg_print!("VIRTIO: the device was resumed");
        Ok(())
    }

    /// Reads the status until of both bits it shows this one.
    fn await_state(&self, transport: &Transport, state: u8) -> Result<(), &'static str> {
        let limit = self.settings.timeout_ms;
        let mut shown = 0;
        time::poll(limit * 1000, || {
            shown = transport.status();
            shown & STATE == state || shown & status::NEEDS_RESET != 0
        });
        if shown & STATE == state && shown & status::NEEDS_RESET == 0 {
            return Ok(());
        }
        dbg_print!("VIRTIO: status {shown:#04x} instead of {state:#04x}");
        Err("device")
    }
}

//! The interrupts that PnP has handed out, and the objects for them.

use super::base::Base;
use crate::dbg_print;
use crate::driver::Style;
use crate::driver::mistake::Mistake;
use crate::nt::interrupt::Config;
use crate::nt::pnp::WdfDevice;
use crate::nt::status::NtStatus;
use alloc::vec::Vec;

impl Base {
    /// Creates the interrupt objects and notes what they got.
    ///
    /// # Errors
    /// What the framework says, or there is none.
    pub fn take_interrupts(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        if device.message_kind().is_none() && self.makes(Mistake::LINE_NOT_CONNECTED) {
            return Ok(());
        }
        self.create_interrupts(device)?;
        let infos: Vec<_> = (0..device.interrupt_count())
            .filter_map(|handle| device.interrupt_info(handle))
            .collect();
        for info in &infos {
            dbg_print!(
                "WDFINT: MessageSignaled={} MessageNumber={} Vector={} Irql={} Affinity={:#x}",
                u8::from(info.message_signaled),
                info.message_number,
                info.vector,
                info.irql,
                info.affinity
            );
        }
        if infos.is_empty() {
            dbg_print!("VIRTIO: no interrupt was assigned");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        if self.starts > 1 && self.makes(Mistake::KEEPS_MESSAGES) {
            return Ok(());
        }
        self.messages = infos;
        self.messages.retain(|info| info.message_signaled);
        Ok(())
    }

    /// Prints what PnP has handed out and, for the style that does it here, creates an object for
    /// each message or for the line.
    fn create_interrupts(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let (raw, translated) = (
            device.resources.raw.clone(),
            device.resources.translated.clone(),
        );
        let mut counted = 0;
        for (n, (raw, translated)) in raw.iter().zip(&translated).enumerate() {
            if !translated.is_message() {
                dbg_print!(
                    "INT: INTx Level={} Vector={} Affinity={:#x} Flags={:#x}",
                    translated.level(),
                    translated.vector(),
                    translated.affinity(),
                    translated.flags
                );
                if self.makes(Mistake::NO_INTX_FALLBACK) {
                    dbg_print!("VIRTIO: line-based interrupts are not supported");
                    return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
                }
                self.create(device, n)?;
                continue;
            }
            let count = if self.makes(Mistake::COUNT_FROM_TRANSLATED) {
                translated.message_count()
            } else {
                raw.message_count()
            };
            dbg_print!(
                "INT: MSI/MSI-X Level={} Vector={} Affinity={:#x} MessageCount={count} Flags={:#x}",
                translated.level(),
                translated.vector(),
                translated.affinity(),
                translated.flags
            );
            counted += usize::from(count);
            if !self.makes(Mistake::ONE_OBJECT_PER_PORT) {
                (0..count).try_for_each(|_| self.create(device, n))?;
            } else if n == 0 {
                (0..=self.settings.queues).try_for_each(|_| self.create(device, 0))?;
            }
        }
        if counted == 0 && device.message_kind().is_some() {
            dbg_print!("VIRTIO: no message was granted");
            device.request_line();
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        Ok(())
    }

    fn create(&self, device: &mut WdfDevice, descriptor: usize) -> Result<(), NtStatus> {
        if self.settings.style == Style::Add {
            return Ok(());
        }
        let config = Config {
            raw: Some(descriptor),
            translated: Some(descriptor),
        };
        device.interrupt_create(config, self.isr).map(|_| ())
    }
}

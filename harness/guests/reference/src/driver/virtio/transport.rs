//! The registers of a virtio PCI function, each by its own width (virtio 1.3, 4.1).

use super::legacy::{self, Legacy};
use super::registers::Registers;
use super::spec::{common, status};
use crate::driver::mistake::{Mistake, Mistakes};

/// How often a configuration that keeps changing is read again.
const MOST_READS: usize = 16;
/// The multiplier that most devices have.
const USUAL_MULTIPLIER: u32 = 4;

/// Where the registers lie that both interfaces have, in bytes.
pub struct Fields {
    /// `device_status`.
    pub status: usize,
    /// `queue_select`.
    pub select: usize,
    /// `queue_size`.
    pub size: usize,
    /// `config_msix_vector`.
    pub config_vector: usize,
    /// `queue_msix_vector`.
    pub queue_vector: usize,
}

const MODERN: Fields = Fields {
    status: common::DEVICE_STATUS,
    select: common::QUEUE_SELECT,
    size: common::QUEUE_SIZE,
    config_vector: common::CONFIG_MSIX_VECTOR,
    queue_vector: common::QUEUE_MSIX_VECTOR,
};

/// The structures that the capabilities point to, or the legacy header.
#[derive(Clone, Copy)]
pub struct Transport {
    common: Registers,
    fields: &'static Fields,
    legacy: Option<Legacy>,
    notify: Registers,
    multiplier: u32,
    isr: Registers,
    device: Option<Registers>,
    mistakes: Mistakes,
}

impl Transport {
    /// With these structures; the notifications' with its multiplier.
    pub fn new(
        common: Registers,
        (notify, multiplier): (Registers, u32),
        isr: Registers,
        device: Option<Registers>,
        mistakes: Mistakes,
    ) -> Self {
        let ignored = mistakes.has(Mistake::NOTIFY_MULTIPLIER_IGNORED);
        Self {
            common,
            fields: &MODERN,
            legacy: None,
            notify,
            multiplier: if ignored {
                USUAL_MULTIPLIER
            } else {
                multiplier
            },
            isr,
            device,
            mistakes,
        }
    }

    /// By the legacy interface: header, `queue_notify` and ISR status.
    pub fn legacy(
        legacy: Legacy,
        header: Registers,
        notify: Registers,
        isr: Registers,
        mistakes: Mistakes,
    ) -> Self {
        Self {
            common: header,
            fields: &legacy::FIELDS,
            legacy: Some(legacy),
            notify,
            multiplier: 0,
            isr,
            device: None,
            mistakes,
        }
    }

    /// Whether the driver uses the legacy interface.
    pub fn is_legacy(&self) -> bool {
        self.legacy.is_some()
    }

    /// The common configuration.
    pub fn common(&self) -> Registers {
        self.common
    }

    /// Where queue `n` would be notified if each had its place in the order of the queues.
    pub fn notify_place(&self, n: u16) -> Option<Registers> {
        let at = usize::from(n) * self.multiplier as usize;
        let window = self.notify.part(at, 2)?;
        (window.length() == 2).then_some(window)
    }

    /// The ISR status: one byte, and reading it clears it and takes the line down.
    pub fn isr(&self) -> Registers {
        self.isr
    }

    /// `device_status`.
    pub fn status(&self) -> u8 {
        self.common.read(self.fields.status)
    }

    /// Writes `device_status`.
    pub fn set_status(&self, value: u8) {
        self.common.write(self.fields.status, value);
    }

    /// `FAILED`, beside what the device shows; not where nobody answers.
    pub fn set_failed(&self) {
        let shown = self.status();
        if shown != status::NOBODY {
            self.set_status(shown | status::FAILED);
        }
    }

    /// The features that the device offers.
    pub fn offered(&self) -> u64 {
        if let Some(legacy) = self.legacy {
            return legacy.offered();
        }
        let word = |n: u32| {
            self.common.write(common::DEVICE_FEATURE_SELECT, n);
            u64::from(self.common.read::<u32>(common::DEVICE_FEATURE))
        };
        word(0) | word(1) << 32
    }

    /// The features that the driver accepts.
    pub fn accept(&self, features: u64) {
        if let Some(legacy) = self.legacy {
            return legacy.accept(features);
        }
        for (n, word) in [(0u32, features as u32), (1, (features >> 32) as u32)] {
            self.common.write(common::DRIVER_FEATURE_SELECT, n);
            self.common.write(common::DRIVER_FEATURE, word);
        }
    }

    /// `num_queues`, or what there is in its place.
    pub fn queues(&self) -> u16 {
        match self.legacy {
            Some(legacy) => legacy.queues(),
            None => self.common.read(common::NUM_QUEUES),
        }
    }

    /// `config_generation`; the legacy interface has none.
    pub fn generation(&self) -> u8 {
        match self.legacy {
            Some(_) => 0,
            None => self.common.read(common::CONFIG_GENERATION),
        }
    }

    /// Reads something of the device configuration between two equal generations (2.5.1). The
    /// second value is that generation. `None` when there is no configuration, or no end to its changes.
    pub fn config<T: PartialEq>(
        &self,
        mistakes: Mistakes,
        read: impl Fn(Registers) -> T,
    ) -> Option<(T, u8)> {
        if let Some(legacy) = self.legacy {
            return Some((legacy.config(read)?, 0));
        }
        let device = self.device?;
        if mistakes.has(Mistake::GENERATION_NOT_READ) {
            return Some((read(device), 0));
        }
        let most = if mistakes.has(Mistake::UNBOUNDED_CONFIG_RETRY) {
            usize::MAX
        } else {
            MOST_READS
        };
        let mut before = self.generation();
        for _ in 0..most {
            let value = read(device);
            let after = self.generation();
            if before == after || mistakes.has(Mistake::GENERATION_NOT_COMPARED) {
                return Some((value, after));
            }
            before = after;
        }
        None
    }

    /// The device configuration, if there is one.
    pub fn device(&self) -> Option<Registers> {
        match self.legacy {
            Some(legacy) => legacy.device(),
            None => self.device,
        }
    }

    /// Selects the queue that the following fields are about.
    pub fn select(&self, queue: u16) {
        self.common.write(self.fields.select, queue);
    }

    /// `queue_size`.
    pub fn queue_size(&self) -> u16 {
        self.common.read(self.fields.size)
    }

    /// Writes `queue_size`.
    pub fn set_queue_size(&self, size: u16) {
        self.common.write(self.fields.size, size);
    }

    /// Writes the addresses of the descriptors and of the two rings, by halves; with the legacy
    /// interface the first page, behind which everything has its place.
    pub fn set_queue_addresses(&self, descriptors: u64, available: u64, used: u64) {
        if let Some(legacy) = self.legacy {
            return legacy.place_queue(descriptors);
        }
        for (field, address) in [
            (common::QUEUE_DESC, descriptors),
            (common::QUEUE_DRIVER, available),
            (common::QUEUE_DEVICE, used),
        ] {
            self.common.write(field, address as u32);
            self.common.write(field + 4, (address >> 32) as u32);
        }
    }

    /// `queue_enable := 1`. With the legacy interface the address has done it.
    pub fn enable_queue(&self) {
        if self.legacy.is_none() {
            self.common.write(common::QUEUE_ENABLE, 1u16);
        }
    }

    /// Where queue `index`, which is selected, is notified with so many bytes; `None` when that is outside the window.
    pub fn notify_window(&self, index: u16, width: usize) -> Option<Registers> {
        if self.legacy.is_some() {
            return Some(self.notify);
        }
        let off: u16 = self.common.read(common::QUEUE_NOTIFY_OFF);
        let ignored = self.mistakes.has(Mistake::NOTIFY_OFF_IGNORED);
        let off = if ignored { index } else { off };
        let at = usize::from(off) * self.multiplier as usize;
        // With NOTIFICATION_DATA it takes four bytes (4.1.5.2.1).
        self.notify
            .part(at, 4)
            .filter(|window| window.length() >= width)
    }

    /// `queue_notif_config_data` of the selected queue; only with its feature.
    pub fn notify_name(&self) -> Option<u16> {
        let there = self.common.length() >= common::QUEUE_RESET;
        there.then(|| self.common.read(common::QUEUE_NOTIF_CONFIG_DATA))
    }

    /// `queue_reset := 1` of the selected queue; only with its feature. `false` when there is no
    /// such field.
    pub fn reset_queue(&self) -> bool {
        let there = !self.is_legacy() && self.common.length() >= common::QUEUE_RESET + 2;
        if there {
            self.common.write(common::QUEUE_RESET, 1u16);
        }
        there
    }

    /// Reads `queue_reset` of the selected queue.
    pub fn queue_resets(&self) -> bool {
        self.common.read::<u16>(common::QUEUE_RESET) != 0
    }

    /// Writes `config_msix_vector`.
    pub fn set_config_vector(&self, vector: u16) {
        self.common.write(self.fields.config_vector, vector);
    }

    /// Reads `config_msix_vector`.
    pub fn config_vector(&self) -> u16 {
        self.common.read(self.fields.config_vector)
    }

    /// Writes `queue_msix_vector` of the selected queue.
    pub fn set_queue_vector(&self, vector: u16) {
        self.common.write(self.fields.queue_vector, vector);
    }

    /// Reads `queue_msix_vector` of the selected queue.
    pub fn queue_vector(&self) -> u16 {
        self.common.read(self.fields.queue_vector)
    }
}

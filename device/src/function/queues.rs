//! The queue registers behind `queue_select`.

use crate::spec::{CommonCfg, NO_VECTOR};
use crate::trace::QueueSetup;

/// What is added to a queue's index for queue_notif_config_data, so that the two differ.
pub const NOTIF_CONFIG_BASE: u16 = 0x5100;

/// The registers of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub size: u16,
    pub vector: u16,
    pub enabled: bool,
    /// It was reset since DRIVER_OK, and may be enabled again.
    pub was_reset: bool,
    pub desc: u64,
    pub driver: u64,
    pub device: u64,
}

impl Queue {
    pub fn new(size: u16) -> Self {
        Self {
            size,
            vector: NO_VECTOR,
            enabled: false,
            was_reset: false,
            desc: 0,
            driver: 0,
            device: 0,
        }
    }

    /// Reads a register of queue scope; `notify_off` is where the queue is notified.
    pub fn read(&self, index: u16, notify_off: u16, register: CommonCfg) -> u64 {
        match register {
            CommonCfg::QueueSize => self.size.into(),
            CommonCfg::QueueMsixVector => self.vector.into(),
            CommonCfg::QueueEnable => self.enabled.into(),
            CommonCfg::QueueNotifyOff => notify_off.into(),
            CommonCfg::QueueNotifConfigData => NOTIF_CONFIG_BASE.wrapping_add(index).into(),
            CommonCfg::QueueDescLo => self.desc & 0xffff_ffff,
            CommonCfg::QueueDescHi => self.desc >> 32,
            CommonCfg::QueueDriverLo => self.driver & 0xffff_ffff,
            CommonCfg::QueueDriverHi => self.driver >> 32,
            CommonCfg::QueueDeviceLo => self.device & 0xffff_ffff,
            CommonCfg::QueueDeviceHi => self.device >> 32,
            _ => 0,
        }
    }

    /// Writes a register of queue scope. A size that the queue can't have, and a vector beyond the
    /// table, are refused as the specification tells (4.1.4.3.1, 4.1.5.1.2.1).
    pub fn write(
        &mut self,
        register: CommonCfg,
        val: u64,
        max_size: u16,
        table: u16,
        packed: bool,
    ) {
        let low = |old: u64| (old & !0xffff_ffff) | (val & 0xffff_ffff);
        let high = |old: u64| (old & 0xffff_ffff) | (val << 32);
        match register {
            CommonCfg::QueueSize
                if (val as u16).is_power_of_two() && val as u16 <= max_size
                    || packed && (1..=max_size).contains(&(val as u16)) =>
            {
                self.size = val as u16
            }
            CommonCfg::QueueMsixVector => self.vector = accepted(val as u16, table),
            CommonCfg::QueueEnable if val == 1 => self.enabled = true,
            CommonCfg::QueueDescLo => self.desc = low(self.desc),
            CommonCfg::QueueDescHi => self.desc = high(self.desc),
            CommonCfg::QueueDriverLo => self.driver = low(self.driver),
            CommonCfg::QueueDriverHi => self.driver = high(self.driver),
            CommonCfg::QueueDeviceLo => self.device = low(self.device),
            CommonCfg::QueueDeviceHi => self.device = high(self.device),
            _ => {}
        }
    }

    /// What the backend needs to run the queue.
    pub fn setup(&self, index: u16) -> QueueSetup {
        let Self {
            size,
            vector,
            enabled: _,
            was_reset: _,
            desc,
            driver,
            device,
        } = *self;
        QueueSetup {
            index,
            size,
            desc,
            driver,
            device,
            vector,
        }
    }
}

/// The vector that the device holds after `vector` was written (4.1.5.1.2.1).
pub const fn accepted(vector: u16, table: u16) -> u16 {
    if vector < table { vector } else { NO_VECTOR }
}

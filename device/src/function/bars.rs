//! Where everything lies in the base address registers.

use crate::shape::MAX_QUEUES;
use crate::spec::{CommonCfg, MSIX_ENTRY_BYTES, msix_control};

/// The regions of BAR 0 of a virtio function, and of BAR 2.
#[derive(Clone, Copy, Debug)]
pub struct BarLayout;

impl BarLayout {
    /// BAR 0: common configuration.
    pub const COMMON: u64 = 0x0000;
    /// BAR 0: the ISR status byte.
    pub const ISR: u64 = 0x1000;
    /// BAR 0: device-specific configuration.
    pub const DEVICE: u64 = 0x2000;
    /// Length of the device-specific window.
    pub const DEVICE_BYTES: u64 = 0x100;
    /// BAR 0: notifications.
    pub const NOTIFY: u64 = 0x3000;
    /// `notify_off_multiplier`: bytes between the notification registers of two queues (4.1.4.4).
    pub const NOTIFY_MULTIPLIER: u32 = 4;
    /// Length of the notification window.
    pub const NOTIFY_BYTES: u64 = MAX_QUEUES as u64 * Self::NOTIFY_MULTIPLIER as u64;
    /// BAR 2: the MSI-X table.
    pub const TABLE: u64 = 0;
    /// BAR 2: the pending bit array.
    pub const PBA: u64 = msix_control::MAX_TABLE as u64 * MSIX_ENTRY_BYTES;
    /// Length of the common configuration window.
    pub const COMMON_BYTES: u64 = CommonCfg::SIZE;
}

/// Bytes of each BAR of a virtio function or a port-card; 0: not there.
pub const BAR_SIZES: [u64; 6] = [0x4000, 0, 0x10000, 0, 0, 0];

/// Bytes of BAR `n` of a function with this many table entries.
pub const fn bar_size(n: usize, table: u16) -> u64 {
    if n == 2 && table == 0 || n >= BAR_SIZES.len() {
        0
    } else {
        BAR_SIZES[n]
    }
}

//! The legacy interface of a PCI function: its registers in the I/O ports of BAR 0.

use virtio_bindings::virtio_config::{VIRTIO_F_ANY_LAYOUT, VIRTIO_F_NOTIFY_ON_EMPTY};

use super::{CommonCfg, Field, NO_VECTOR, registers};

registers! {
    /// The legacy header (4.1.4.10). Its last two registers are there only while MSI-X is enabled.
    pub enum LegacyCfg, size 0x18 {
        0x00: u32 ro device => DeviceFeatures "device_features",
        0x04: u32 rw device => DriverFeatures "driver_features",
        0x08: u32 rw queue  => QueueAddress "queue_address",
        0x0c: u16 ro queue  => QueueSize "queue_size",
        0x0e: u16 rw device => QueueSelect "queue_select",
        0x10: u16 rw device => QueueNotify "queue_notify",
        0x12: u8  rw device => DeviceStatus "device_status",
        0x13: u8  rc device => IsrStatus "isr_status",
        0x14: u16 rw device => ConfigMsixVector "config_msix_vector" = NO_VECTOR,
        0x16: u16 rw queue  => QueueMsixVector "queue_msix_vector" = NO_VECTOR,
    }
}

impl LegacyCfg {
    /// Bytes of the header, behind which device configuration begins (4.1.4.10).
    pub const fn header_bytes(msix: bool) -> u64 {
        if msix {
            Self::SIZE
        } else {
            Self::ConfigMsixVector.offset()
        }
    }

    /// The register of the modern interface that means the same; the address of a whole queue has
    /// none.
    pub const fn modern(self) -> Option<Field> {
        Some(match self {
            Self::DeviceFeatures => Field::Common(CommonCfg::DeviceFeature),
            Self::DriverFeatures => Field::Common(CommonCfg::DriverFeature),
            Self::QueueAddress => return None,
            Self::QueueSize => Field::Common(CommonCfg::QueueSize),
            Self::QueueSelect => Field::Common(CommonCfg::QueueSelect),
            Self::QueueNotify => Field::Notify,
            Self::DeviceStatus => Field::Common(CommonCfg::DeviceStatus),
            Self::IsrStatus => Field::Isr,
            Self::ConfigMsixVector => Field::Common(CommonCfg::ConfigMsixVector),
            Self::QueueMsixVector => Field::Common(CommonCfg::QueueMsixVector),
        })
    }
}

/// The alignment of a queue's place and of its used ring, and the unit of `queue_address` (4.1.5.1.3.1).
pub const LEGACY_ALIGN: u64 = 4096;

/// The features that only drivers of the legacy interface find, and that a transitional device offers
/// (6.3): ANY_LAYOUT, and the bit by which QEMU knows drivers that do not negotiate.
pub const LEGACY_OFFERED: u128 = 1 << VIRTIO_F_ANY_LAYOUT | 1 << LEGACY_UNUSED;
/// The bits that have a meaning only with the legacy interface (6.3).
pub const LEGACY_FEATURES: &[(u8, &str)] = &[
    (VIRTIO_F_NOTIFY_ON_EMPTY as u8, "NOTIFY_ON_EMPTY"),
    (VIRTIO_F_ANY_LAYOUT as u8, "ANY_LAYOUT"),
    (LEGACY_UNUSED, "UNUSED"),
];
/// A feature bit that legacy drivers are offered and should not accept (6.3).
pub const LEGACY_UNUSED: u8 = 30;
/// The feature bits that the legacy interface reaches (4.1.4.10).
pub const LEGACY_REACH: u128 = 0xffff_ffff;

/// Guest physical addresses of the descriptor table, the available and the used ring of a queue of
/// `size` elements that begins at page `page` (2.7.2, 4.1.5.1.3.1).
pub fn legacy_areas(page: u32, size: u16) -> [u64; 3] {
    const DESCRIPTOR_BYTES: u64 = 16;
    const ENTRY_BYTES: u64 = 2;
    /// flags, idx and used_event.
    const OTHERS: u64 = 3;
    let (table, size) = (u64::from(page) * LEGACY_ALIGN, u64::from(size));
    let available = table + DESCRIPTOR_BYTES * size;
    let end = available + ENTRY_BYTES * (OTHERS + size);
    [table, available, end.next_multiple_of(LEGACY_ALIGN)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_used_ring_of_a_legacy_queue_begins_on_a_page_of_its_own() {
        assert_eq!(
            legacy_areas(0x10, 128),
            [0x10_000, 0x10_800, 0x11_000],
            "2048 bytes of descriptors and 262 of the available ring"
        );
        assert_eq!(legacy_areas(1, 256), [0x1000, 0x2000, 0x3000]);
        let [_, _, used] = legacy_areas(u32::MAX, 32768);
        assert!(used.is_multiple_of(LEGACY_ALIGN));
    }

    #[test]
    fn the_vector_registers_are_there_while_msix_is_enabled() {
        assert_eq!(LegacyCfg::header_bytes(false), 20);
        assert_eq!(LegacyCfg::header_bytes(true), 24);
    }
}

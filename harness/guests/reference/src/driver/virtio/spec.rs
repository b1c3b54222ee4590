//! Numbers of the virtio 1.3 specification; the sections are given where they are.

/// Vendor of every virtio device (4.1.2).
pub const VENDOR: u16 = 0x1af4;
/// Device ids of modern devices (4.1.2): 0x1040 and the type (5).
pub mod device {
    pub const NET: u16 = 0x1041;
    pub const BLOCK: u16 = 0x1042;
    pub const CONSOLE: u16 = 0x1043;
    pub const RNG: u16 = 0x1044;
    pub const SCSI: u16 = 0x1048;
    /// The same for devices with the legacy interface (4.1.2.1).
    pub const LEGACY_NET: u16 = 0x1000;
    pub const LEGACY_BLOCK: u16 = 0x1001;
    pub const LEGACY_CONSOLE: u16 = 0x1003;
    pub const LEGACY_SCSI: u16 = 0x1004;
    pub const LEGACY_RNG: u16 = 0x1005;

    /// Whether a device id is one of these.
    pub fn is_legacy(id: u16) -> bool {
        (0x1000..0x1040).contains(&id)
    }
}

/// "No vector" in the vector fields (4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;

/// Fields of the vendor capability, in bytes (4.1.4).
pub mod cap {
    pub const LENGTH: u16 = 2;
    pub const TYPE: u16 = 3;
    pub const BAR: u16 = 4;
    pub const OFFSET: u16 = 8;
    pub const SIZE: u16 = 12;
    pub const NOTIFY_MULTIPLIER: u16 = 16;
    pub const WINDOW_DATA: u16 = 16;
    /// `vendor_id` of a vendor data capability (4.1.4.8); its data follow.
    pub const VENDOR_ID: u16 = 4;
    /// The vendor whose data are known here.
    pub const KNOWN_VENDOR: u16 = 0x1234;
    /// Bytes that every capability of a structure has.
    pub const SMALLEST: u8 = 16;
    /// Values of `cfg_type`.
    pub const COMMON: u8 = 1;
    pub const NOTIFY: u8 = 2;
    pub const ISR: u8 = 3;
    pub const DEVICE: u8 = 4;
    pub const WINDOW: u8 = 5;
    pub const SHARED_MEMORY: u8 = 8;
    pub const VENDOR_DATA: u8 = 9;
    /// The types that are not reserved.
    pub const KNOWN: [u8; 7] = [
        COMMON,
        NOTIFY,
        ISR,
        DEVICE,
        WINDOW,
        SHARED_MEMORY,
        VENDOR_DATA,
    ];

    /// Bytes of a capability of this type without anything behind it.
    pub fn bytes(kind: u8) -> u8 {
        match kind {
            NOTIFY | WINDOW => 20,
            SHARED_MEMORY => 24,
            _ => SMALLEST,
        }
    }
}

/// `struct virtio_pci_common_cfg` (4.1.4.3): offset of each field in bytes.
pub mod common {
    pub const DEVICE_FEATURE_SELECT: usize = 0;
    pub const DEVICE_FEATURE: usize = 4;
    pub const DRIVER_FEATURE_SELECT: usize = 8;
    pub const DRIVER_FEATURE: usize = 12;
    pub const CONFIG_MSIX_VECTOR: usize = 16;
    pub const NUM_QUEUES: usize = 18;
    pub const DEVICE_STATUS: usize = 20;
    pub const CONFIG_GENERATION: usize = 21;
    pub const QUEUE_SELECT: usize = 22;
    pub const QUEUE_SIZE: usize = 24;
    pub const QUEUE_MSIX_VECTOR: usize = 26;
    pub const QUEUE_ENABLE: usize = 28;
    pub const QUEUE_NOTIFY_OFF: usize = 30;
    pub const QUEUE_DESC: usize = 32;
    pub const QUEUE_DRIVER: usize = 40;
    pub const QUEUE_DEVICE: usize = 48;
    /// With NOTIF_CONFIG_DATA.
    pub const QUEUE_NOTIF_CONFIG_DATA: usize = 56;
    /// With RING_RESET.
    pub const QUEUE_RESET: usize = 58;
    pub const SIZE: usize = 56;
}

/// The legacy header (4.1.4.10): offset of each field in bytes.
pub mod legacy {
    pub const DEVICE_FEATURES: usize = 0;
    pub const DRIVER_FEATURES: usize = 4;
    pub const QUEUE_ADDRESS: usize = 8;
    pub const QUEUE_SIZE: usize = 12;
    pub const QUEUE_SELECT: usize = 14;
    pub const QUEUE_NOTIFY: usize = 16;
    pub const DEVICE_STATUS: usize = 18;
    pub const ISR_STATUS: usize = 19;
    /// Bytes without MSI-X; with it two vectors follow.
    pub const HEADER: usize = 20;
    pub const CONFIG_MSIX_VECTOR: usize = 20;
    pub const QUEUE_MSIX_VECTOR: usize = 22;
    pub const HEADER_WITH_VECTORS: usize = 24;
}

/// Bits of the device status (2.1).
pub mod status {
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    /// With SUSPEND.
    pub const SUSPEND: u8 = 16;
    pub const NEEDS_RESET: u8 = 64;
    pub const FAILED: u8 = 128;
    /// What is read where no device answers.
    pub const NOBODY: u8 = 0xff;
}

/// Bits of the ISR status (4.1.4.5).
pub mod isr {
    pub const QUEUE: u8 = 1;
    pub const CONFIG: u8 = 2;
}

/// Feature bits (5.1.3, 5.2.3, 5.3.3, 5.6.3 and 6).
pub mod feature {
    pub const CONSOLE_SIZE: u64 = 1 << 0;
    pub const SCSI_HOTPLUG: u64 = 1 << 1;
    pub const SCSI_CHANGE: u64 = 1 << 2;
    pub const NET_MAC: u64 = 1 << 5;
    pub const NET_STATUS: u64 = 1 << 16;
    pub const NET_CTRL_VQ: u64 = 1 << 17;
    pub const NET_CTRL_RX: u64 = 1 << 18;
    pub const NET_CTRL_VLAN: u64 = 1 << 19;
    pub const NET_GUEST_ANNOUNCE: u64 = 1 << 21;
    pub const NET_MQ: u64 = 1 << 22;
    pub const NET_CTRL_MAC_ADDR: u64 = 1 << 23;
    pub const BLK_FLUSH: u64 = 1 << 9;
    pub const BLK_MQ: u64 = 1 << 12;
    pub const BLK_DISCARD: u64 = 1 << 13;
    pub const BLK_WRITE_ZEROES: u64 = 1 << 14;
    /// With the legacy interface (6.3).
    pub const ANY_LAYOUT: u64 = 1 << 27;
    pub const INDIRECT_DESC: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
    /// Bits that are reserved (2.2): between those of the legacy interface, and behind those of the
    /// specification.
    pub const UNKNOWN: u64 = 1 << 25 | 1 << 26 | 1 << 30 | 1 << 31 | 0x3f << 44;
    pub const RING_PACKED: u64 = 1 << 34;
    pub const IN_ORDER: u64 = 1 << 35;
    /// It needs a capability which no device here has (6.1).
    pub const SR_IOV: u64 = 1 << 37;
    pub const NOTIFICATION_DATA: u64 = 1 << 38;
    pub const NOTIF_CONFIG_DATA: u64 = 1 << 39;
    pub const RING_RESET: u64 = 1 << 40;
    /// Of virtio 1.4, 3.4.
    pub const SUSPEND: u64 = 1 << 43;
    /// Addresses are the platform's: here they are physical ones.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
}

/// `struct virtio_blk_config` (5.2.4), in bytes.
pub mod block {
    pub const CAPACITY: usize = 0;
    pub const WRITEBACK: usize = 32;
    pub const NUM_QUEUES: usize = 34;
}

/// Requests of a block device (5.2.6).
pub mod request {
    pub const IN: u32 = 0;
    pub const OUT: u32 = 1;
    pub const FLUSH: u32 = 4;
    pub const DISCARD: u32 = 11;
    pub const OK: u8 = 0;
}

/// The split virtqueue (2.7).
pub mod ring {
    /// The most descriptors of a request that this driver makes.
    pub const MOST_PARTS: u16 = 3;
    pub const NEXT: u16 = 1;
    pub const WRITE: u16 = 2;
    pub const INDIRECT: u16 = 4;
    pub const NO_NOTIFY: u16 = 1;
    /// Bytes of a descriptor.
    pub const DESCRIPTOR: usize = 16;
    /// Offset of the index and of the entries in the available and the used ring.
    pub const INDEX: usize = 2;
    pub const ENTRIES: usize = 4;
    /// The used ring of a legacy queue, and the queue itself, begin at a multiple of this (2.7.2).
    pub const LEGACY_ALIGN: usize = 4096;
    /// Bytes of a used element.
    pub const USED_ELEMENT: usize = 8;
}

/// The packed virtqueue (2.8).
pub mod packed {
    /// Offset of the buffer id and of the flags in a descriptor, in bytes.
    pub const ID: usize = 12;
    pub const FLAGS: usize = 14;
    /// Flags by which a descriptor is made available, and used.
    pub const AVAILABLE: u16 = 1 << 7;
    pub const USED: u16 = 1 << 15;
    /// Bytes of an event suppression structure: a place, then flags.
    pub const SUPPRESSION: usize = 4;
    pub const EVENT_MASK: u16 = 3;
    pub const ENABLE: u16 = 0;
    #[cfg(test)]
    pub const DISABLE: u16 = 1;
    pub const DESC: u16 = 2;
}

/// `struct virtio_console_config` (5.3.4), in bytes.
pub mod console {
    pub const COLS: usize = 0;
    pub const ROWS: usize = 2;
}

/// `struct virtio_net_config` (5.1.4), in bytes, and what goes with it.
pub mod net {
    pub const MAC: usize = 0;
    pub const STATUS: usize = 6;
    pub const MAX_PAIRS: usize = 8;
    /// Bits of the status.
    pub const LINK_UP: u16 = 1;
    pub const ANNOUNCE: u16 = 2;
    /// Bytes before each frame (5.1.6) in a device with VERSION_1, and in one without.
    pub const HEADER: u32 = 12;
    pub const SHORT_HEADER: u32 = 10;
}

/// Commands of the control queue (5.1.6.5): class and command.
pub mod control {
    pub const RX_PROMISC: (u8, u8) = (0, 0);
    pub const RX_ALLMULTI: (u8, u8) = (0, 1);
    pub const MAC_TABLE_SET: (u8, u8) = (1, 0);
    pub const MAC_ADDR_SET: (u8, u8) = (1, 1);
    pub const VLAN_ADD: (u8, u8) = (2, 0);
    pub const VLAN_DEL: (u8, u8) = (2, 1);
    pub const ANNOUNCE_ACK: (u8, u8) = (3, 0);
    pub const MQ_PAIRS_SET: (u8, u8) = (4, 0);
    /// The answer to a command that was obeyed.
    pub const OK: u8 = 0;
}

/// A SCSI host: configuration (5.6.4), requests and their answers (5.6.6.1), task management
/// (5.6.6.2) and events (5.6.6.3). Offsets in bytes.
pub mod scsi {
    pub const NUM_QUEUES: usize = 0;
    pub const SEG_MAX: usize = 4;

    /// A request: behind the address of the unit.
    pub const ID: usize = 8;
    pub const ATTRIBUTE: usize = 16;
    pub const CDB: usize = 19;
    /// Its answer.
    pub const STATUS: usize = 10;
    pub const RESPONSE: usize = 11;
    pub const SENSE: usize = 12;
    /// Responses.
    pub const OK: u8 = 0;
    pub const ABORTED: u8 = 2;
    pub const RESET: u8 = 4;
    pub const FUNCTION_COMPLETE: u8 = 0;
    pub const FUNCTION_SUCCEEDED: u8 = 10;
    pub const FUNCTION_REJECTED: u8 = 11;
    /// Statuses and a sense key of SCSI itself (SAM, SPC).
    pub const GOOD: u8 = 0;
    pub const CHECK_CONDITION: u8 = 2;
    pub const UNIT_ATTENTION: u8 = 6;

    /// Task management.
    pub const TMF_TYPE: usize = 0;
    pub const TMF_SUBTYPE: usize = 4;
    pub const TMF_LUN: usize = 8;
    pub const TMF_ID: usize = 16;
    pub const TMF_SIZE: u32 = 24;
    pub const ABORT_TASK: u32 = 0;
    pub const UNIT_RESET: u32 = 5;

    /// Events.
    pub const EVENT_REASON: usize = 12;
    pub const EVENTS_MISSED: u32 = 1 << 31;
    pub const EVENT_TRANSPORT_RESET: u32 = 1;
    pub const EVENT_PARAMETER: u32 = 3;
    pub const RESET_RESCAN: u32 = 1;
    pub const RESET_REMOVED: u32 = 2;
    /// Additional sense code and qualifier: capacity data has changed.
    pub const CAPACITY_CHANGED: u32 = 0x2a | 0x09 << 8;

    /// Operation codes (SPC, SBC).
    pub mod op {
        pub const INQUIRY: u8 = 0x12;
        pub const READ_CAPACITY_10: u8 = 0x25;
        pub const READ_10: u8 = 0x28;
        pub const WRITE_10: u8 = 0x2a;
        pub const SYNCHRONIZE_CACHE_10: u8 = 0x35;
        pub const UNMAP: u8 = 0x42;
        pub const READ_16: u8 = 0x88;
        pub const WRITE_16: u8 = 0x8a;
        pub const SERVICE_ACTION_IN_16: u8 = 0x9e;
        /// A service action of the one above.
        pub const READ_CAPACITY_16: u8 = 0x10;
        pub const REPORT_LUNS: u8 = 0xa0;
    }
}

//! PCI configuration space, and the virtio structures in it.

use super::registers;

registers! {
    /// The type 0 configuration header (PCI Local Bus 3.0, 6.1 and 6.2).
    pub enum PciHeader, size 0x40 {
        0x00: u16 ro device => VendorId "vendor_id",
        0x02: u16 ro device => DeviceId "device_id",
        0x04: u16 rw device => Command "cmd",
        0x06: u16 w1c device => PciStatus "status",
        0x08: u8  ro device => RevisionId "revision_id",
        0x09: u8  ro device => ProgIf "prog_if",
        0x0a: u16 ro device => ClassCode "class_code",
        0x0c: u8  rw device => CacheLineSize "cache_line_size",
        0x0d: u8  ro device => LatencyTimer "latency_timer",
        0x0e: u8  ro device => HeaderType "header_type",
        0x0f: u8  ro device => Bist "bist",
        0x10: u32 rw device => Bar0 "bar0",
        0x14: u32 rw device => Bar1 "bar1",
        0x18: u32 rw device => Bar2 "bar2",
        0x1c: u32 rw device => Bar3 "bar3",
        0x20: u32 rw device => Bar4 "bar4",
        0x24: u32 rw device => Bar5 "bar5",
        0x28: u32 ro device => CardbusCis "cardbus_cis",
        0x2c: u16 ro device => SubsystemVendorId "subsystem_vendor_id",
        0x2e: u16 ro device => SubsystemId "subsystem_id",
        0x30: u32 rw device => RomBar "rom_bar",
        0x34: u8  ro device => CapabilitiesPointer "capabilities_pointer",
        0x3c: u8  rw device => InterruptLine "interrupt_line",
        0x3d: u8  ro device => InterruptPin "interrupt_pin",
        0x3e: u8  ro device => MinGnt "min_gnt",
        0x3f: u8  ro device => MaxLat "max_lat",
    }
}

registers! {
    /// The power management capability (PCI PM 1.2, 3.2).
    pub enum PowerCap, size 0x08 {
        0x02: u16 ro device => Capabilities "pmc",
        0x04: u16 rw device => Control "pmcsr",
    }
}

registers! {
    /// The PCI Express capability of an endpoint, version 1 (PCI Express 3.0, 7.8).
    pub enum ExpressCap, size 0x14 {
        0x02: u16 ro device => Capabilities "pcie_capabilities",
        0x04: u32 ro device => DeviceCapabilities "device_capabilities",
        0x08: u16 rw device => DeviceControl "device_control",
        0x0c: u32 ro device => LinkCapabilities "link_capabilities",
        0x12: u16 ro device => LinkStatus "link_status",
    }
}

registers! {
    /// The MSI capability with a 64-bit address and per-vector masking (PCI 3.0, 6.8.1).
    pub enum MsiCap, size 0x18 {
        0x02: u16 rw device => Control "message_control",
        0x04: u32 rw device => AddressLo "message_address",
        0x08: u32 rw device => AddressHi "message_upper_address",
        0x0c: u16 rw device => Data "message_data",
        0x10: u32 rw device => Mask "mask_bits",
        0x14: u32 ro device => Pending "pending_bits",
    }
}

impl MsiCap {
    /// Bytes of a capability with or without the upper half of the address and masking. Without the
    /// upper half everything behind it lies four bytes lower.
    pub const fn bytes(address_64: bool, masking: bool) -> u64 {
        let end = if masking {
            Self::SIZE
        } else {
            Self::Data.offset() + 2
        };
        if address_64 { end } else { end - 4 }
    }
}

registers! {
    /// The MSI-X capability (PCI 3.0, 6.8.2).
    pub enum MsixCap, size 0x0c {
        0x02: u16 rw device => Control "message_control",
        0x04: u32 ro device => Table "table_offset",
        0x08: u32 ro device => Pba "pba_offset",
    }
}

/// Bits of the command register (6.2.2).
pub mod command {
    /// Answer I/O space accesses.
    pub const IO: u16 = 1 << 0;
    /// Answer memory space accesses.
    pub const MEMORY: u16 = 1 << 1;
    /// May act as a bus master, which includes sending messages.
    pub const BUS_MASTER: u16 = 1 << 2;
    /// May not assert INTx.
    pub const INTX_DISABLE: u16 = 1 << 10;
}

/// Bits of the status register (6.2.3).
pub mod pci_status {
    /// An INTx interrupt is pending inside the function.
    pub const INTERRUPT: u16 = 1 << 3;
    /// There is a capability list.
    pub const CAPABILITIES: u16 = 1 << 4;
}

/// Capability ids (PCI Code and ID Assignment).
pub mod cap_id {
    /// Power management.
    pub const POWER_MANAGEMENT: u8 = 0x01;
    /// Message-signalled interrupts.
    pub const MSI: u8 = 0x05;
    /// Vendor specific: the virtio structures.
    pub const VENDOR: u8 = 0x09;
    /// PCI Express.
    pub const EXPRESS: u8 = 0x10;
    /// MSI-X.
    pub const MSIX: u8 = 0x11;
}

/// The most capabilities that a header has room for: each takes four bytes at least, behind the header.
pub const MOST_CAPABILITIES: usize = 48;

/// The ports through which a PC reaches configuration space (PCI Local Bus 3.0, 3.2.2.3.2).
pub mod config_ports {
    /// CONFIG_ADDRESS.
    pub const ADDRESS: u16 = 0xcf8;
    /// CONFIG_DATA, four ports.
    pub const DATA: u16 = 0xcfc;
    /// In CONFIG_ADDRESS: the data ports are configuration space.
    pub const ENABLE: u32 = 1 << 31;
    /// In CONFIG_ADDRESS: where the device number begins.
    pub const DEVICE_SHIFT: u32 = 11;
}

/// Slot control of a root port (PCI Express 3.0, 7.8.10).
pub mod slot_control {
    /// Where the register is in the PCI Express capability.
    pub const OFFSET: u8 = 0x18;
    /// Power indicator control and power controller control.
    pub const POWER: u16 = 0b111 << 8;
    /// Indicator on, power on.
    pub const ON: u16 = 0b001 << 8;
    /// Indicator on, power off.
    pub const OFF_LIT: u16 = 0b101 << 8;
}

/// Bits of the MSI-X message control word (6.8.2.3).
pub mod msix_control {
    /// MSI-X enable.
    pub const ENABLE: u16 = 1 << 15;
    /// Function mask.
    pub const FUNCTION_MASK: u16 = 1 << 14;
    /// Table size minus one.
    pub const TABLE_SIZE: u16 = 0x7ff;
    /// The most entries a table can have.
    pub const MAX_TABLE: u16 = 2048;
}

/// Bits of the MSI message control word (6.8.1.3).
pub mod msi_control {
    /// MSI enable.
    pub const ENABLE: u16 = 1 << 0;
    /// Shift of Multiple Message Capable (log2).
    pub const CAPABLE_SHIFT: u16 = 1;
    /// Multiple Message Enable, a field of three bits (log2).
    pub const ENABLED_MASK: u16 = 0b111 << 4;
    /// Shift of Multiple Message Enable.
    pub const ENABLED_SHIFT: u16 = 4;
    /// 64-bit address capable.
    pub const ADDRESS_64: u16 = 1 << 7;
    /// Per-vector masking capable.
    pub const MASKABLE: u16 = 1 << 8;
    /// The most messages the capability can ask for.
    pub const MAX_MESSAGES: u16 = 32;
}

/// `cfg_type` of a virtio vendor capability (4.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum VirtioCap {
    /// Common configuration.
    Common = 1,
    /// Notifications.
    Notify = 2,
    /// ISR status.
    Isr = 3,
    /// Device-specific configuration.
    Device = 4,
    /// The PCI configuration access window.
    PciCfg = 5,
    /// A region of shared memory.
    SharedMemory = 8,
    /// Vendor data.
    Vendor = 9,
}

registers! {
    /// `struct virtio_pci_cap`, then the members that some types add (4.1.4, 4.1.4.4, 4.1.4.9).
    pub enum VirtioCapField, size 0x14 {
        0x00: u8  ro device => CapVndr "cap_vndr",
        0x01: u8  ro device => CapNext "cap_next",
        0x02: u8  ro device => CapLen "cap_len",
        0x03: u8  ro device => CfgType "cfg_type",
        0x04: u8  rw device => CapBar "bar",
        0x05: u8  ro device => CapUid "id",
        0x08: u32 rw device => CapOffset "offset",
        0x0c: u32 rw device => CapLength "length",
        0x10: u32 rw device => CapExtra "pci_cfg_data",
    }
}

/// Bytes of `struct virtio_pci_cap64`: upper halves of offset and length behind the others (4.1.4).
pub const VIRTIO_CAP64_BYTES: u64 = 0x18;
/// Bytes of our vendor data capability: the header, and four bytes of data behind `vendor_id`
/// (4.1.4.8).
pub const VENDOR_DATA_BYTES: u64 = 0x0c;
/// Offset of `vendor_id` in it.
pub const VENDOR_DATA_ID: u64 = 0x04;
/// A `cfg_type` that is reserved (4.1.4).
pub const RESERVED_CFG_TYPE: u8 = 0x55;
/// A `bar` that is reserved: the first behind the six (4.1.4).
pub const RESERVED_BAR: u8 = 6;

/// ISR status bits (4.1.4.5).
pub mod isr {
    /// A queue has used buffers.
    pub const QUEUE: u8 = 1;
    /// The device configuration changed.
    pub const CONFIG: u8 = 2;
}

/// Vendor id of virtio devices (4.1.2).
pub const VIRTIO_VENDOR: u16 = 0x1af4;
/// Device id of virtio device type 0; the type is added (4.1.2).
pub const VIRTIO_MODERN_DEVICE: u16 = 0x1040;
/// Bytes of one MSI-X table entry (PCI 6.8.2).
pub const MSIX_ENTRY_BYTES: u64 = 16;
/// Bytes of conventional configuration space.
pub const CONFIG_BYTES: u64 = 256;
/// Bytes of the configuration space of a PCI Express function (PCI Express 3.0, 7.2). Behind the conventional ones
/// come its extended capabilities; zeros are none (7.9.1).
pub const EXPRESS_CONFIG_BYTES: u64 = 4096;

//! Layouts and numbers that a miniport and its port driver share. Sources: the page of the same name in
//! Microsoft's driver documentation; where that has no number, docs/nt-guest.md says whose it is.

use core::mem::offset_of;

/// `HW_INITIALIZATION_DATA`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct HwInitializationData {
    pub size: u32,
    pub interface: u32,
    pub initialize: u64,
    pub start_io: u64,
    pub interrupt: u64,
    pub find_adapter: u64,
    pub reset_bus: u64,
    pub dma_started: u64,
    pub adapter_state: u64,
    pub device_extension_size: u32,
    pub lu_extension_size: u32,
    pub srb_extension_size: u32,
    pub access_ranges: u32,
    pub reserved: u64,
    pub map_buffers: u8,
    pub need_physical_addresses: u8,
    pub tagged_queuing: u8,
    pub auto_request_sense: u8,
    pub multiple_request_per_lu: u8,
    pub receive_event: u8,
    pub vendor_id_length: u16,
    pub vendor_id: u64,
    pub port_version_flags: u16,
    pub device_id_length: u16,
    pub device_id: u64,
    pub adapter_control: u64,
    pub build_io: u64,
    pub others: [u64; 6],
    pub feature_support: u32,
    pub srb_type_flags: u32,
    pub address_type_flags: u32,
    pub reserved1: u32,
    pub unit_control: u64,
}

const _: () = {
    assert!(size_of::<HwInitializationData>() == 208);
    assert!(offset_of!(HwInitializationData, adapter_control) == 120);
    assert!(offset_of!(HwInitializationData, srb_type_flags) == 188);
};

/// `HW_INITIALIZATION_DATA` ended here before Windows 8.
pub const OLD_INITIALIZATION_SIZE: u32 = offset_of!(HwInitializationData, others) as u32;

/// `SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK`.
pub const EXTENDED_SRB: u32 = 2;

/// `PORT_CONFIGURATION_INFORMATION`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct PortConfiguration {
    pub length: u32,
    pub bus_number: u32,
    pub interface: u32,
    pub interrupt_level: u32,
    pub interrupt_vector: u32,
    pub interrupt_mode: u32,
    pub maximum_transfer_length: u32,
    pub physical_breaks: u32,
    pub dma: [u32; 4],
    pub alignment_mask: u32,
    pub number_of_ranges: u32,
    pub ranges: u64,
    pub dump_data: u64,
    pub number_of_buses: u8,
    pub initiator_bus_id: [u8; 8],
    pub scatter_gather: u8,
    pub master: u8,
    pub caches_data: u8,
    pub scans_down: u8,
    pub atdisk: [u8; 2],
    pub dma_32_bit: u8,
    pub demand_mode: u8,
    pub map_buffers: u8,
    pub need_physical_addresses: u8,
    pub tagged_queuing: u8,
    pub auto_request_sense: u8,
    pub multiple_request_per_lu: u8,
    pub receive_event: u8,
    pub real_mode: u8,
    pub buffer_access: u8,
    pub targets: u8,
    pub srb_type: u8,
    pub address_type: u8,
    pub slot: u32,
    pub second: [u32; 7],
    pub device_extension_size: u32,
    pub lu_extension_size: u32,
    pub srb_extension_size: u32,
    pub dma_64_bit: u8,
    pub reset_target: u8,
    pub logical_units: u8,
    pub wmi: u8,
    pub synchronization_model: u32,
    pub message_routine: u64,
    pub message_synchronization: u32,
    pub pad: u32,
    pub dump_region: [u64; 3],
    pub dump_buffer_size: u32,
    pub virtual_device: u8,
    pub dump_mode: u8,
    pub pad2: u16,
    pub extended_flags: u32,
    pub max_number_of_io: u32,
    pub max_ios_per_lun: u32,
    pub initial_lun_queue_depth: u32,
    pub bus_reset_hold_time: u32,
    pub feature_support: u32,
}

const _: () = {
    assert!(size_of::<PortConfiguration>() == 224);
    assert!(offset_of!(PortConfiguration, ranges) == 56);
    assert!(offset_of!(PortConfiguration, slot) == 100);
    assert!(offset_of!(PortConfiguration, srb_extension_size) == 140);
    assert!(offset_of!(PortConfiguration, message_routine) == 152);
    assert!(offset_of!(PortConfiguration, max_number_of_io) == 204);
};

/// `ACCESS_RANGE`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct AccessRange {
    pub start: u64,
    pub length: u32,
    pub in_memory: u8,
}

/// `SP_UNINITIALIZED_VALUE`.
pub const UNINITIALIZED: u32 = u32::MAX;
/// `NumberOfPhysicalBreaks` as a port driver presets it.
pub const DEFAULT_BREAKS: u32 = 0x11;
/// `SCSI_DMA64_SYSTEM_SUPPORTED`.
pub const DMA64_SYSTEM: u8 = 0x80;

/// What `HwStorFindAdapter` returns.
pub mod found {
    pub const NOT_FOUND: u32 = 0;
    pub const FOUND: u32 = 1;
    pub const ERROR: u32 = 2;
    pub const BAD_CONFIG: u32 = 3;
}

/// `SCSI_ADAPTER_CONTROL_TYPE`.
pub mod control {
    pub const QUERY_SUPPORTED: u32 = 0;
    pub const STOP: u32 = 1;
    pub const RESTART: u32 = 2;
    pub const SET_BOOT_CONFIG: u32 = 3;
    pub const SET_RUNNING_CONFIG: u32 = 4;
    /// `ScsiAdapterPower`.
    pub const POWER: u32 = 6;
    /// `ScsiAdapterSurpriseRemoval`.
    pub const SURPRISE_REMOVAL: u32 = 16;
    /// Types that are asked about: `SCSI_ADAPTER_CONTROL_TYPE` had so many when the list was read.
    pub const TYPES: usize = 24;
}

/// `SCSI_UNIT_CONTROL_TYPE`: the place in its list.
pub mod unit_control {
    pub const START: u32 = 2;
    pub const POWER: u32 = 3;
    pub const REMOVE: u32 = 9;
    pub const SURPRISE_REMOVAL: u32 = 10;
    /// Types that are asked about.
    pub const TYPES: usize = 14;
}

/// `STOR_PNP_ACTION`, whose page has the numbers.
pub mod pnp_action {
    pub const START: u32 = 0x00;
    pub const REMOVE: u32 = 0x02;
    pub const STOP: u32 = 0x04;
    pub const QUERY_CAPABILITIES: u32 = 0x09;
    pub const SURPRISE_REMOVAL: u32 = 0x17;
}

/// `SRB_PNP_FLAGS_ADAPTER_REQUEST` and `SRB_POWER_FLAGS_ADAPTER_REQUEST`.
pub const ADAPTER_REQUEST: u32 = 1;

/// `STOR_DEVICE_POWER_STATE`, and of `STOR_POWER_ACTION` what is used.
pub mod power {
    pub const D0: u32 = 1;
    pub const D3: u32 = 4;
    pub const ACTION_NONE: u32 = 0;
    pub const ACTION_SLEEP: u32 = 2;
    pub const ACTION_HIBERNATE: u32 = 3;
}

/// `STOR_DEVICE_CAPABILITIES_EX`.
pub mod capabilities {
    pub const SIZE: u32 = 24;
    pub const VERSION_1: u16 = 1;
}

/// What `StorPortNotification` is told.
pub mod notification {
    pub const REQUEST_COMPLETE: u32 = 0;
    pub const RESET_DETECTED: u32 = 3;
    pub const REQUEST_TIMER_CALL: u32 = 6;
    pub const BUS_CHANGE_DETECTED: u32 = 7;
    pub const ENABLE_PASSIVE_INITIALIZATION: u32 = 0x1000;
    pub const INITIALIZE_DPC: u32 = 0x1001;
    pub const ISSUE_DPC: u32 = 0x1002;
    pub const ACQUIRE_SPIN_LOCK: u32 = 0x1003;
    pub const RELEASE_SPIN_LOCK: u32 = 0x1004;
    pub const STATE_CHANGE_DETECTED: u32 = 0x1005;
}

/// What `StorPortExtendedFunction` is asked for.
pub mod function {
    pub const ALLOCATE_POOL: u32 = 0;
    pub const FREE_POOL: u32 = 1;
    pub const ACQUIRE_MSI_SPIN_LOCK: u32 = 11;
    pub const RELEASE_MSI_SPIN_LOCK: u32 = 12;
    pub const MESSAGE_INFORMATION: u32 = 13;
    pub const PERF_OPTIONS: u32 = 14;
    pub const START_IO_PERF_PARAMETERS: u32 = 15;
    pub const LOG_SYSTEM_EVENT: u32 = 16;
    pub const PROCESSOR_NUMBER: u32 = 17;
    pub const GROUP_COUNT: u32 = 18;
    pub const GROUP_AFFINITY: u32 = 19;
    pub const NODE_COUNT: u32 = 20;
    pub const NODE_AFFINITY: u32 = 21;
    pub const HIGHEST_NODE: u32 = 22;
    pub const SET_UNIT_ATTRIBUTES: u32 = 46;
    pub const QUERY_PERFORMANCE_COUNTER: u32 = 47;
    pub const INDEX_FROM_NUMBER: u32 = 56;
    pub const PROCESSOR_INDEX: u32 = 92;
    pub const ACQUIRE_SPIN_LOCK: u32 = 93;
}

/// `STOR_STATUS_…`, the results of `StorPortExtendedFunction`.
pub mod stor_status {
    pub const SUCCESS: u32 = 0;
    pub const UNSUCCESSFUL: u32 = 0xc100_0001;
    pub const NOT_IMPLEMENTED: u32 = 0xc100_0002;
    pub const INSUFFICIENT_RESOURCES: u32 = 0xc100_0003;
    pub const INVALID_PARAMETER: u32 = 0xc100_0006;
    pub const INVALID_IRQL: u32 = 0xc100_0008;
}

/// `STOR_SPINLOCK`.
pub mod lock {
    pub const DPC: u32 = 1;
    pub const START_IO: u32 = 2;
    pub const INTERRUPT: u32 = 3;
    /// Only of `StorPortAcquireSpinLockEx`.
    pub const THREADED_DPC: u32 = 4;
    pub const DPC_LEVEL: u32 = 5;
}

/// `MESSAGE_INTERRUPT_INFORMATION`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct MessageInformation {
    pub id: u32,
    pub data: u32,
    pub address: u64,
    pub vector: u32,
    pub level: u32,
    pub mode: u32,
}

/// An element of `STOR_SCATTER_GATHER_LIST`, and the list's head: a count and a reserved pointer.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Element {
    pub address: u64,
    pub length: u32,
    pub reserved: u64,
}

/// Where the elements begin.
pub const ELEMENTS: u64 = 16;

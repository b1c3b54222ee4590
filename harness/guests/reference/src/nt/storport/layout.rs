//! Where the fields of requests are, and the numbers in them.

/// Bytes of a command and of sense data.
pub const CDB: usize = 16;
pub const SENSE: u64 = 32;

/// `SCSI_REQUEST_BLOCK`.
pub mod short {
    pub const SIZE: u64 = 88;
    pub const FUNCTION: u64 = 2;
    pub const STATUS: u64 = 3;
    pub const SCSI_STATUS: u64 = 4;
    pub const PATH: u64 = 5;
    pub const TARGET: u64 = 6;
    pub const LUN: u64 = 7;
    pub const TAG: u64 = 8;
    pub const CDB_LENGTH: u64 = 10;
    pub const SENSE_LENGTH: u64 = 11;
    pub const FLAGS: u64 = 12;
    pub const DATA_LENGTH: u64 = 16;
    pub const TIMEOUT: u64 = 20;
    pub const DATA: u64 = 24;
    pub const SENSE: u64 = 32;
    pub const EXTENSION: u64 = 56;
    pub const CDB: u64 = 72;
    /// `SCSI_PNP_REQUEST_BLOCK` and `SCSI_POWER_REQUEST_BLOCK` have these in the same places.
    pub const POWER_FLAGS: u64 = 4;
    pub const ACTION_OR_STATE: u64 = 8;
    pub const PNP_FLAGS_OR_POWER_ACTION: u64 = 64;
}

/// `STORAGE_REQUEST_BLOCK`, `STOR_ADDR_BTL8` behind it, `SRBEX_DATA_SCSI_CDB16` behind that.
pub mod long {
    pub const SIZE: u64 = 192;
    pub const FUNCTION: u64 = 2;
    pub const STATUS: u64 = 3;
    pub const SIGNATURE: u64 = 8;
    pub const VERSION: u64 = 12;
    pub const LENGTH: u64 = 16;
    pub const SRB_FUNCTION: u64 = 20;
    pub const FLAGS: u64 = 24;
    pub const TAG: u64 = 32;
    pub const TIMEOUT: u64 = 40;
    pub const ADDRESS_OFFSET: u64 = 52;
    pub const EXTRA_COUNT: u64 = 56;
    pub const DATA_LENGTH: u64 = 60;
    pub const DATA: u64 = 64;
    pub const EXTENSION: u64 = 104;
    pub const EXTRA_OFFSET: u64 = 120;
    pub const ADDRESS: u64 = 128;
    pub const PATH: u64 = ADDRESS + 8;
    pub const TARGET: u64 = ADDRESS + 9;
    pub const LUN: u64 = ADDRESS + 10;
    pub const EXTRA: u64 = 144;
    pub const EXTRA_SCSI_STATUS: u64 = EXTRA + 8;
    pub const EXTRA_SENSE_LENGTH: u64 = EXTRA + 9;
    pub const EXTRA_CDB_LENGTH: u64 = EXTRA + 10;
    pub const EXTRA_SENSE: u64 = EXTRA + 16;
    pub const EXTRA_CDB: u64 = EXTRA + 24;
    /// `SRB_FUNCTION_STORAGE_REQUEST_BLOCK`, `SRB_SIGNATURE`, the version, BTL8, a command of 16 bytes.
    pub const EXTENDED: u8 = 0x28;
    pub const SIGNED: u32 = u32::from_le_bytes(*b"SRBX");
    pub const VERSION_1: u32 = 1;
    pub const BTL8: u16 = 1;
    pub const BTL8_LENGTH: u32 = 4;
    pub const CDB16: u32 = 0x40;
    pub const CDB16_LENGTH: u32 = 32;
    /// `SRBEX_DATA_POWER` and `SRBEX_DATA_PNP`: type, length behind both, and what is in them.
    pub const POWER: u32 = 0x61;
    pub const POWER_LENGTH: u32 = 12;
    pub const POWER_FLAGS: u64 = EXTRA + 8;
    pub const POWER_STATE: u64 = EXTRA + 12;
    pub const POWER_ACTION: u64 = EXTRA + 16;
    pub const PNP: u32 = 0x62;
    pub const PNP_LENGTH: u32 = 16;
    pub const PNP_ACTION: u64 = EXTRA + 12;
    pub const PNP_FLAGS: u64 = EXTRA + 16;
}

pub const DATA_IN: u32 = 0x40;
pub const DATA_OUT: u32 = 0x80;
/// `SRB_STATUS_PENDING`, and the bits of a status beside the flags on top of it.
pub const PENDING: u8 = 0;
pub const STATUS: u8 = 0x3f;
/// `SRB_STATUS_SUCCESS`, `_BUSY`, `_BUS_RESET`.
pub const SUCCESS: u8 = 1;
pub const BUSY: u8 = 5;
pub const BUS_RESET: u8 = 14;
/// `SRB_STATUS_ERROR`, and the flag `SRB_STATUS_AUTOSENSE_VALID`.
pub const ERROR: u8 = 4;
pub const SENSE_VALID: u8 = 0x80;
/// The sense key.
pub const UNIT_ATTENTION: u8 = 6;

/// Writes a field.
pub fn put<T>(at: u64, value: T) {
    // SAFETY: `at` lies in memory of the packet.
    unsafe { (at as *mut T).write_unaligned(value) }
}

/// Reads a field.
pub fn get<T>(at: u64) -> T {
    // SAFETY: as for `put`; what is read is a number.
    unsafe { (at as *const T).read_unaligned() }
}

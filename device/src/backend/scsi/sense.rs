//! Why a command failed (SPC-4, 4.5).

/// Bytes of sense data in fixed format.
pub const SENSE_BYTES: usize = 18;

/// Sense key, additional sense code and its qualifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    key: u8,
    /// Additional sense code.
    pub code: u8,
    /// Its qualifier.
    pub qualifier: u8,
}

const fn sense(key: u8, code: u8, qualifier: u8) -> Sense {
    Sense {
        key,
        code,
        qualifier,
    }
}

const NO_SENSE: u8 = 0x0;
const MEDIUM_ERROR: u8 = 0x3;
const ILLEGAL_REQUEST: u8 = 0x5;
const UNIT_ATTENTION: u8 = 0x6;

impl Sense {
    /// Nothing to tell.
    pub const NONE: Self = sense(NO_SENSE, 0, 0);
    /// Unrecovered read error.
    pub const READ_ERROR: Self = sense(MEDIUM_ERROR, 0x11, 0);
    /// Write error.
    pub const WRITE_ERROR: Self = sense(MEDIUM_ERROR, 0x0c, 0);
    /// Parameter list length error.
    pub const LIST_LENGTH: Self = sense(ILLEGAL_REQUEST, 0x1a, 0);
    /// Invalid command operation code.
    pub const OPERATION: Self = sense(ILLEGAL_REQUEST, 0x20, 0);
    /// Logical block address out of range.
    pub const RANGE: Self = sense(ILLEGAL_REQUEST, 0x21, 0);
    /// Invalid field in the command.
    pub const FIELD: Self = sense(ILLEGAL_REQUEST, 0x24, 0);
    /// Logical unit not supported.
    pub const UNIT: Self = sense(ILLEGAL_REQUEST, 0x25, 0);
    /// Invalid field in the parameter list.
    pub const LIST_FIELD: Self = sense(ILLEGAL_REQUEST, 0x26, 0);
    /// Power on, reset, or bus device reset occurred.
    pub const RESET: Self = sense(UNIT_ATTENTION, 0x29, 0);
    /// Capacity data has changed.
    pub const CAPACITY: Self = sense(UNIT_ATTENTION, 0x2a, 0x09);
    /// Reported LUNs data has changed.
    pub const LUNS: Self = sense(UNIT_ATTENTION, 0x3f, 0x0e);

    /// The fixed format (SPC-4, 4.5.3).
    pub fn bytes(self) -> [u8; SENSE_BYTES] {
        const CURRENT_FIXED: u8 = 0x70;
        let mut bytes = [0; SENSE_BYTES];
        bytes[0] = CURRENT_FIXED;
        bytes[2] = self.key;
        bytes[7] = SENSE_BYTES as u8 - 8;
        bytes[12] = self.code;
        bytes[13] = self.qualifier;
        bytes
    }
}

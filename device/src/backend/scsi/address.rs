//! Which unit a request is for (5.6.6.1).

/// What the eight bytes of `lun` name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// The only unit, 0 of target 0.
    Disk,
    /// Another unit of target 0.
    OtherUnit,
    /// The well-known unit that reports the others.
    ReportLuns,
    /// A target that is not there, or bytes that name none.
    Nowhere,
}

impl Address {
    /// The bytes that name the only unit.
    pub const DISK: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];

    /// What `lun` names; the disk is there or was removed.
    pub const fn read(lun: [u8; 8], present: bool) -> Self {
        /// A single level of addressing: by bus 0, or flat (SAM-5, 4.7).
        const METHOD: u8 = 0xc0;
        const FLAT: u8 = 0x40;
        match lun {
            [0xc1, 1, 0, 0, 0, 0, 0, 0] => Self::ReportLuns,
            [1, 0, first, second, 0, 0, 0, 0] if present => match first & METHOD {
                0 if first != 0 => Self::Nowhere,
                0 | FLAT if first & !METHOD == 0 && second == 0 => Self::Disk,
                0 | FLAT => Self::OtherUnit,
                _ => Self::Nowhere,
            },
            _ => Self::Nowhere,
        }
    }
}

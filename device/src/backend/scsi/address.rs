//! Which unit a request is for (5.6.6.1).

/// What the eight bytes of `lun` name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unit of target 0 that is there, by its number.
    Disk(usize),
    /// Another unit of target 0.
    OtherUnit,
    /// The well-known unit that reports the others.
    ReportLuns,
    /// A target that is not there, or bytes that name none.
    Nowhere,
}

impl Address {
    /// The bytes that name the first unit.
    pub const DISK: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];

    /// What `lun` names where there are so many units; none: they were removed.
    pub const fn read(lun: [u8; 8], units: usize) -> Self {
        /// A single level of addressing: by bus 0, or flat (SAM-5, 4.7).
        const METHOD: u8 = 0xc0;
        const FLAT: u8 = 0x40;
        match lun {
            [0xc1, 1, 0, 0, 0, 0, 0, 0] => Self::ReportLuns,
            [1, 0, first, second, 0, 0, 0, 0] if units > 0 => match first & METHOD {
                0 if first != 0 => Self::Nowhere,
                0 | FLAT if first & !METHOD == 0 && (second as usize) < units => {
                    Self::Disk(second as usize)
                }
                0 | FLAT => Self::OtherUnit,
                _ => Self::Nowhere,
            },
            _ => Self::Nowhere,
        }
    }
}

//! Commands of SCSI (SPC-4, SBC-3), read from their bytes.

use std::fmt;

/// Bytes of the longest command that is known.
pub const CDB_BYTES: usize = 16;

/// What a command asks for. Lengths are those that the command tells, in bytes or blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// TEST UNIT READY, or START STOP UNIT, which has nothing to do here.
    Ready,
    /// REQUEST SENSE.
    Sense { length: u64 },
    /// INQUIRY; a page of vital product data, or the standard data.
    Inquiry { page: Option<u8>, length: u64 },
    /// MODE SENSE of a page, in its short or long form.
    ModeSense { page: u8, long: bool, length: u64 },
    /// READ CAPACITY (10).
    Capacity10,
    /// READ CAPACITY (16).
    Capacity16 { length: u64 },
    /// READ.
    Read { block: u64, blocks: u64 },
    /// WRITE; whether past the cache.
    Write {
        block: u64,
        blocks: u64,
        durable: bool,
    },
    /// VERIFY without data.
    Verify { block: u64, blocks: u64 },
    /// SYNCHRONIZE CACHE.
    Flush { block: u64, blocks: u64 },
    /// UNMAP.
    Unmap { length: u64 },
    /// REPORT LUNS.
    ReportLuns { length: u64 },
    /// A field has a value that is not served.
    Refused(u8),
    /// An operation that is not known.
    Unknown(u8),
}

impl Command {
    /// Reads a command.
    pub fn read(cdb: &[u8; CDB_BYTES]) -> Self {
        let short = |at: usize| u64::from(u16::from_be_bytes([cdb[at], cdb[at + 1]]));
        let word = |at: usize| {
            u64::from(u32::from_be_bytes([
                cdb[at],
                cdb[at + 1],
                cdb[at + 2],
                cdb[at + 3],
            ]))
        };
        let long = |at: usize| word(at) << 32 | word(at + 4);
        let byte = |at: usize| u64::from(cdb[at]);
        // Of the six-byte forms: 21 bits of address, and 0 means 256 blocks.
        let near = || {
            (
                (byte(1) & 0x1f) << 16 | short(2),
                if cdb[4] == 0 { 256 } else { byte(4) },
            )
        };
        let durable = cdb[1] & 0x08 != 0;
        // Protection, of which there is none, and for VERIFY a comparison.
        let protected = cdb[1] & 0xe0 != 0;
        match cdb[0] {
            0x00 | 0x1b => Self::Ready,
            0x03 => Self::Sense { length: byte(4) },
            0x08 => {
                let (block, blocks) = near();
                Self::Read { block, blocks }
            }
            0x0a => {
                let (block, blocks) = near();
                Self::Write {
                    block,
                    blocks,
                    durable: false,
                }
            }
            0x12 => match (cdb[1] & 1, cdb[2]) {
                (0, 0) => Self::Inquiry {
                    page: None,
                    length: short(3),
                },
                (0, _) => Self::Refused(cdb[0]),
                (_, page) => Self::Inquiry {
                    page: Some(page),
                    length: short(3),
                },
            },
            0x1a => Self::ModeSense {
                page: cdb[2] & 0x3f,
                long: false,
                length: byte(4),
            },
            0x5a => Self::ModeSense {
                page: cdb[2] & 0x3f,
                long: true,
                length: short(7),
            },
            0x25 => Self::Capacity10,
            0x9e if cdb[1] & 0x1f == 0x10 => Self::Capacity16 { length: word(10) },
            0x28 | 0x2a | 0x2f | 0xa8 | 0xaa | 0x88 | 0x8a if protected => Self::Refused(cdb[0]),
            0x28 => Self::Read {
                block: word(2),
                blocks: short(7),
            },
            0xa8 => Self::Read {
                block: word(2),
                blocks: word(6),
            },
            0x88 => Self::Read {
                block: long(2),
                blocks: word(10),
            },
            0x2a => Self::Write {
                block: word(2),
                blocks: short(7),
                durable,
            },
            0xaa => Self::Write {
                block: word(2),
                blocks: word(6),
                durable,
            },
            0x8a => Self::Write {
                block: long(2),
                blocks: word(10),
                durable,
            },
            0x2f if cdb[1] & 0x06 == 0 => Self::Verify {
                block: word(2),
                blocks: short(7),
            },
            0x2f => Self::Refused(cdb[0]),
            0x35 => Self::Flush {
                block: word(2),
                blocks: short(7),
            },
            0x91 => Self::Flush {
                block: long(2),
                blocks: word(10),
            },
            0x42 if cdb[1] & 1 == 0 => Self::Unmap { length: short(7) },
            0x42 => Self::Refused(cdb[0]),
            0xa0 => Self::ReportLuns { length: word(6) },
            other => Self::Unknown(other),
        }
    }

    /// Whether it is answered although the unit wants attention (SPC-4, 5.14).
    pub const fn ignores_attention(self) -> bool {
        matches!(
            self,
            Self::Inquiry { .. } | Self::ReportLuns { .. } | Self::Sense { .. }
        )
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("test unit ready"),
            Self::Sense { .. } => f.write_str("request sense"),
            Self::Inquiry { page: None, .. } => f.write_str("inquiry"),
            Self::Inquiry {
                page: Some(page), ..
            } => write!(f, "inquiry page {page:#x}"),
            Self::ModeSense { page, .. } => write!(f, "mode sense page {page:#x}"),
            Self::Capacity10 | Self::Capacity16 { .. } => f.write_str("read capacity"),
            Self::Read { block, blocks } => write!(f, "read {block}+{blocks}"),
            Self::Write { block, blocks, .. } => write!(f, "write {block}+{blocks}"),
            Self::Verify { block, blocks } => write!(f, "verify {block}+{blocks}"),
            Self::Flush { .. } => f.write_str("synchronize cache"),
            Self::Unmap { .. } => f.write_str("unmap"),
            Self::ReportLuns { .. } => f.write_str("report luns"),
            Self::Refused(operation) => write!(f, "refused operation {operation:#x}"),
            Self::Unknown(operation) => write!(f, "unknown operation {operation:#x}"),
        }
    }
}

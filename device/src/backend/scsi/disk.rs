//! The logical unit: a disk of sectors.

use std::io;
use std::ops::Range;

use super::super::chain::{Cursor, Unreachable};
use super::super::device::Memory;
use super::super::storage::Storage;
use super::address::Address;
use super::command::Command;
use super::sense::Sense;
use crate::spec::SECTOR_BYTES;

/// Bytes moved between guest and disk at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Ranges of one UNMAP, and blocks of one of them: 16 MiB.
const MAX_RANGES: u64 = 8;
const MAX_RANGE_BLOCKS: u32 = 1 << 15;
/// Sizes of the list of UNMAP: its head, and a range.
const LIST_HEAD_BYTES: u64 = 8;
const RANGE_BYTES: u64 = 16;
/// The most blocks that a command should move at once.
pub const MAX_BLOCKS: u32 = 8192;
/// The longest answer that is not data of the disk.
const ANSWER_BYTES: usize = 64;

/// A disk.
pub struct Disk {
    storage: Box<dyn Storage>,
    /// Its size in sectors.
    pub sectors: u64,
    serial: [u8; 20],
    /// What the unit wants to tell with the next command.
    pub attention: Option<Sense>,
    piece: Box<[u8]>,
}

/// Data of a command: where the driver's is, and where it wants some.
pub struct Data<'a> {
    /// The driver's.
    pub out: Cursor<'a>,
    /// Its bytes.
    pub out_bytes: u64,
    /// Place for the unit's.
    pub into: Cursor<'a>,
    /// Its bytes.
    pub into_bytes: u64,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well; so many bytes were moved.
    Good(u64),
    /// Not well.
    Check(Sense),
    /// It wants more data than there is room for.
    Overrun,
    /// The driver's memory is not there.
    Failure,
}

impl From<Unreachable> for Outcome {
    fn from(_: Unreachable) -> Self {
        Self::Failure
    }
}

impl Disk {
    /// A disk on `storage`; `serial` as far as 20 bytes go.
    pub fn new(storage: Box<dyn Storage>, sectors: u64, name: &str) -> Self {
        let mut serial = [b' '; 20];
        let printable = name.bytes().filter(|b| b.is_ascii_graphic() || *b == b' ');
        serial
            .iter_mut()
            .zip(printable)
            .for_each(|(to, from)| *to = from);
        Self {
            storage,
            sectors,
            serial,
            attention: None,
            piece: vec![0; PIECE_BYTES].into_boxed_slice(),
        }
    }

    /// Carries a command out; there are so many units.
    pub fn carry_out(
        &mut self,
        memory: &Memory,
        address: Address,
        command: Command,
        units: usize,
        data: &mut Data<'_>,
    ) -> Outcome {
        match (address, command) {
            (_, Command::ReportLuns { length }) => {
                return report_luns(memory, data, length, units);
            }
            (Address::Disk(_), _) => {}
            (_, Command::Inquiry { page: None, length }) => {
                return self.inquiry(memory, data, length, address);
            }
            (_, Command::Sense { length }) => {
                return answer(memory, data, &Sense::UNIT.bytes(), length);
            }
            _ => return Outcome::Check(Sense::UNIT),
        }
        if !command.ignores_attention()
            && let Some(sense) = self.attention.take()
        {
            return Outcome::Check(sense);
        }
        let ended = match command {
            Command::Ready => Ok(Outcome::Good(0)),
            Command::Sense { length } => {
                let sense = self.attention.take().unwrap_or(Sense::NONE);
                Ok(answer(memory, data, &sense.bytes(), length))
            }
            Command::Inquiry { page: None, length } => {
                Ok(self.inquiry(memory, data, length, address))
            }
            Command::Inquiry {
                page: Some(page),
                length,
            } => Ok(self.product_data(memory, data, page, length)),
            Command::ModeSense { page, long, length } => {
                Ok(mode_sense(memory, data, page, long, length))
            }
            Command::Capacity10 => Ok(self.capacity_10(memory, data)),
            Command::Capacity16 { length } => Ok(self.capacity_16(memory, data, length)),
            Command::Read { block, blocks } => self.read(memory, data, block, blocks),
            Command::Write {
                block,
                blocks,
                durable,
            } => self.write(memory, data, block, blocks, durable),
            Command::Verify { block, blocks } => {
                self.range(block, blocks).map(|_| Outcome::Good(0))
            }
            Command::Flush { block, blocks } => self.flush(block, blocks),
            Command::Unmap { length } => self.unmap(memory, data, length),
            Command::ReportLuns { .. } => Ok(Outcome::Good(0)),
            Command::Refused(_) => Err(Outcome::Check(Sense::FIELD)),
            Command::Unknown(_) => Err(Outcome::Check(Sense::OPERATION)),
        };
        ended.unwrap_or_else(|refusal| refusal)
    }

    fn range(&self, block: u64, blocks: u64) -> Result<Range<u64>, Outcome> {
        let end = block.checked_add(blocks).filter(|end| *end <= self.sectors);
        let end = end.ok_or(Outcome::Check(Sense::RANGE))?;
        let bytes = |blocks: u64| blocks.checked_mul(SECTOR_BYTES);
        let range = bytes(block).zip(bytes(end)).map(|(start, end)| start..end);
        range.ok_or(Outcome::Check(Sense::RANGE))
    }

    fn read(
        &mut self,
        memory: &Memory,
        data: &mut Data<'_>,
        block: u64,
        blocks: u64,
    ) -> Result<Outcome, Outcome> {
        let range = self.range(block, blocks)?;
        let bytes = range.end - range.start;
        if bytes > data.into_bytes {
            return Err(Outcome::Overrun);
        }
        let mut at = range.start;
        while at < range.end {
            let piece = piece_of(&mut self.piece, range.end - at);
            let read = self.storage.read(piece, at);
            read.map_err(|_| Outcome::Check(Sense::READ_ERROR))?;
            data.into.write(memory, piece)?;
            at += piece.len() as u64;
        }
        Ok(Outcome::Good(bytes))
    }

    fn write(
        &mut self,
        memory: &Memory,
        data: &mut Data<'_>,
        block: u64,
        blocks: u64,
        durable: bool,
    ) -> Result<Outcome, Outcome> {
        let range = self.range(block, blocks)?;
        let bytes = range.end - range.start;
        if bytes > data.out_bytes {
            return Err(Outcome::Overrun);
        }
        let failed = |_: io::Error| Outcome::Check(Sense::WRITE_ERROR);
        let mut at = range.start;
        while at < range.end {
            let piece = piece_of(&mut self.piece, range.end - at);
            data.out.read(memory, piece)?;
            self.storage.write(piece, at).map_err(failed)?;
            at += piece.len() as u64;
        }
        if durable {
            self.storage.flush().map_err(failed)?;
        }
        Ok(Outcome::Good(bytes))
    }

    fn flush(&self, block: u64, blocks: u64) -> Result<Outcome, Outcome> {
        self.range(block, blocks)?;
        let flushed = self.storage.flush();
        flushed.map_err(|_| Outcome::Check(Sense::WRITE_ERROR))?;
        Ok(Outcome::Good(0))
    }

    /// All ranges are checked before the first is touched (SBC-3, 5.28).
    fn unmap(&self, memory: &Memory, data: &mut Data<'_>, length: u64) -> Result<Outcome, Outcome> {
        if length == 0 {
            return Ok(Outcome::Good(0));
        }
        if length < LIST_HEAD_BYTES {
            return Err(Outcome::Check(Sense::LIST_LENGTH));
        }
        if length > data.out_bytes {
            return Err(Outcome::Overrun);
        }
        let mut head = [0; LIST_HEAD_BYTES as usize];
        data.out.read(memory, &mut head)?;
        let told = u64::from(u16::from_be_bytes([head[2], head[3]]));
        let count = told.min(length - LIST_HEAD_BYTES) / RANGE_BYTES;
        if count > MAX_RANGES {
            return Err(Outcome::Check(Sense::LIST_FIELD));
        }
        let mut ranges = [const { None }; MAX_RANGES as usize];
        for range in &mut ranges[..count as usize] {
            let mut bytes = [0; RANGE_BYTES as usize];
            data.out.read(memory, &mut bytes)?;
            let [a, b, c, d, e, f, g, h, k, l, m, n, ..] = bytes;
            let blocks = u32::from_be_bytes([k, l, m, n]);
            if blocks > MAX_RANGE_BLOCKS {
                return Err(Outcome::Check(Sense::LIST_FIELD));
            }
            let block = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            let extent = self.range(block, blocks.into())?;
            *range = (!extent.is_empty()).then_some(extent);
        }
        for range in ranges.into_iter().flatten() {
            match self.storage.punch(range.start, range.end - range.start) {
                // A disk that can't forget keeps what it has.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                result => result.map_err(|_| Outcome::Check(Sense::WRITE_ERROR))?,
            }
        }
        Ok(Outcome::Good(length))
    }

    fn capacity_10(&self, memory: &Memory, data: &mut Data<'_>) -> Outcome {
        let last = u32::try_from(self.sectors.saturating_sub(1)).unwrap_or(u32::MAX);
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&last.to_be_bytes());
        bytes[4..].copy_from_slice(&(SECTOR_BYTES as u32).to_be_bytes());
        answer(memory, data, &bytes, 8)
    }

    fn capacity_16(&self, memory: &Memory, data: &mut Data<'_>, length: u64) -> Outcome {
        /// Blocks may be unmapped (LBPME).
        const PROVISIONING: u8 = 0x80;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.sectors.saturating_sub(1).to_be_bytes());
        bytes[8..12].copy_from_slice(&(SECTOR_BYTES as u32).to_be_bytes());
        bytes[14] = PROVISIONING;
        answer(memory, data, &bytes, length)
    }

    fn inquiry(
        &self,
        memory: &Memory,
        data: &mut Data<'_>,
        length: u64,
        address: Address,
    ) -> Outcome {
        /// No unit can be there; a well-known unit.
        const ABSENT: u8 = 0x7f;
        const WELL_KNOWN: u8 = 0x1e;
        const SPC_3: u8 = 5;
        const FORMAT: u8 = 2;
        const COMMAND_QUEUE: u8 = 2;
        let mut bytes = [0; 36];
        bytes[0] = match address {
            Address::Disk(_) => 0,
            Address::ReportLuns => WELL_KNOWN,
            Address::OtherUnit | Address::Nowhere => ABSENT,
        };
        bytes[2] = SPC_3;
        bytes[3] = FORMAT;
        bytes[4] = bytes.len() as u8 - 5;
        bytes[7] = COMMAND_QUEUE;
        bytes[8..16].copy_from_slice(b"MISFIRE ");
        bytes[16..32].copy_from_slice(b"DISK            ");
        bytes[32..36].copy_from_slice(b"1   ");
        answer(memory, data, &bytes, length)
    }

    fn product_data(&self, memory: &Memory, data: &mut Data<'_>, page: u8, length: u64) -> Outcome {
        const PAGES: [u8; 5] = [0x00, 0x80, 0x83, 0xb0, 0xb2];
        let mut bytes = [0; ANSWER_BYTES];
        bytes[1] = page;
        let body = &mut bytes[4..];
        let used = match page {
            0x00 => {
                body[..PAGES.len()].copy_from_slice(&PAGES);
                PAGES.len()
            }
            0x80 => {
                body[..20].copy_from_slice(&self.serial);
                20
            }
            0x83 => {
                // A designator of this unit: ASCII, by vendor.
                body[..4].copy_from_slice(&[2, 1, 0, 28]);
                body[4..12].copy_from_slice(b"MISFIRE ");
                body[12..32].copy_from_slice(&self.serial);
                32
            }
            0xb0 => {
                body[4..8].copy_from_slice(&MAX_BLOCKS.to_be_bytes());
                body[16..20].copy_from_slice(&MAX_RANGE_BLOCKS.to_be_bytes());
                body[20..24].copy_from_slice(&(MAX_RANGES as u32).to_be_bytes());
                60
            }
            0xb2 => {
                // UNMAP is served, and blocks take room when they are written.
                body[1] = 0x80;
                body[2] = 2;
                4
            }
            _ => return Outcome::Check(Sense::FIELD),
        };
        bytes[3] = used as u8;
        answer(memory, data, &bytes[..4 + used], length)
    }
}

fn report_luns(memory: &Memory, data: &mut Data<'_>, length: u64, units: usize) -> Outcome {
    /// Bytes of the list's head, and of each unit in it (SPC-4, 6.33).
    const EACH: usize = 8;
    let mut bytes = [0; ANSWER_BYTES + EACH];
    let list = EACH * units.min(ANSWER_BYTES / EACH);
    bytes[3] = list as u8;
    for unit in 0..list / EACH {
        bytes[EACH * (unit + 1) + 1] = unit as u8;
    }
    if length < 2 * EACH as u64 {
        return Outcome::Check(Sense::FIELD);
    }
    answer(memory, data, &bytes[..EACH + list], length)
}

fn mode_sense(memory: &Memory, data: &mut Data<'_>, page: u8, long: bool, length: u64) -> Outcome {
    /// The caching page, with a cache that has to be written out (SBC-3, 6.5.5).
    const CACHING: [u8; 20] = [
        0x08, 18, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    const CACHING_PAGE: u8 = 0x08;
    const ALL_PAGES: u8 = 0x3f;
    /// Writes past the cache are served (DPOFUA).
    const PAST_CACHE: u8 = 0x10;
    if !matches!(page, CACHING_PAGE | ALL_PAGES) {
        return Outcome::Check(Sense::FIELD);
    }
    let mut bytes = [0; 28];
    let head = if long { 8 } else { 4 };
    let used = head + CACHING.len();
    if long {
        bytes[1] = used as u8 - 2;
        bytes[3] = PAST_CACHE;
    } else {
        bytes[0] = used as u8 - 1;
        bytes[2] = PAST_CACHE;
    }
    bytes[head..used].copy_from_slice(&CACHING);
    answer(memory, data, &bytes[..used], length)
}

/// Gives as much of `bytes` as the command has allotted.
fn answer(memory: &Memory, data: &mut Data<'_>, bytes: &[u8], length: u64) -> Outcome {
    let given = usize::try_from(length).map_or(bytes.len(), |n| n.min(bytes.len()));
    if given as u64 > data.into_bytes {
        return Outcome::Overrun;
    }
    match data.into.write(memory, &bytes[..given]) {
        Ok(()) => Outcome::Good(given as u64),
        Err(_) => Outcome::Failure,
    }
}

/// The start of `buffer`, as much as is wanted of it.
fn piece_of(buffer: &mut [u8], wanted: u64) -> &mut [u8] {
    let length = usize::try_from(wanted).map_or(buffer.len(), |n| n.min(buffer.len()));
    &mut buffer[..length]
}

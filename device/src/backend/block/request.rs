//! A block request as its header tells it.

use std::fmt;

use virtio_bindings::virtio_blk as blk;
use vm_memory::GuestMemory;

use crate::backend::Chain;
use crate::spec::SECTOR_BYTES;

/// Size of the header in bytes: type, a reserved word, and the sector (5.2.6).
pub(super) const HEADER_BYTES: u64 = 16;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read sectors.
    In,
    /// Write sectors.
    Out,
    /// Make written sectors durable.
    Flush,
    /// Tell the device's name.
    GetId,
    /// Forget sectors.
    Discard,
    /// Fill sectors with zeros.
    WriteZeroes,
    /// A type that this device does not know.
    Unknown(u32),
    /// There is no header, or the buffers are not as a driver may arrange them.
    Malformed,
}

impl From<u32> for Command {
    fn from(number: u32) -> Self {
        match number {
            blk::VIRTIO_BLK_T_IN => Self::In,
            blk::VIRTIO_BLK_T_OUT => Self::Out,
            blk::VIRTIO_BLK_T_FLUSH => Self::Flush,
            blk::VIRTIO_BLK_T_GET_ID => Self::GetId,
            blk::VIRTIO_BLK_T_DISCARD => Self::Discard,
            blk::VIRTIO_BLK_T_WRITE_ZEROES => Self::WriteZeroes,
            other => Self::Unknown(other),
        }
    }
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks for.
    pub command: Command,
    /// The first sector; 0 where that means nothing.
    pub sector: u64,
    /// Bytes of data, without header and status.
    pub data: u64,
}

impl Request {
    /// Before the first.
    pub(super) const NONE: Self = Self {
        command: Command::Malformed,
        sector: 0,
        data: 0,
    };

    /// Reads the header of `chain`. How the driver cut the request into buffers does not matter
    /// (2.7.4), as long as readable ones come first.
    pub fn read<M: GuestMemory>(memory: &M, chain: &Chain) -> Self {
        let mut header = [0; HEADER_BYTES as usize];
        if !chain.well_formed() || chain.reader().read(memory, &mut header).is_err() {
            return Self::NONE;
        }
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        let command = Command::from(u32::from_le_bytes([t0, t1, t2, t3]));
        let incoming = chain.readable_bytes().saturating_sub(HEADER_BYTES);
        let outgoing = chain.writable_bytes().saturating_sub(1);
        let data = match command {
            Command::In | Command::GetId => outgoing,
            Command::Out | Command::Discard | Command::WriteZeroes => incoming,
            Command::Flush | Command::Unknown(_) | Command::Malformed => 0,
        };
        Self {
            command,
            sector: u64::from_le_bytes(sector),
            data,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            sector,
            data,
        } = self;
        let sectors = data / SECTOR_BYTES;
        match command {
            Command::In => write!(f, "read {sector}+{sectors}"),
            Command::Out => write!(f, "write {sector}+{sectors}"),
            Command::Flush => f.write_str("flush"),
            Command::GetId => f.write_str("get id"),
            Command::Discard => f.write_str("discard"),
            Command::WriteZeroes => f.write_str("write zeroes"),
            Command::Unknown(number) => write!(f, "unknown request {number:#x}"),
            Command::Malformed => f.write_str("malformed request"),
        }
    }
}

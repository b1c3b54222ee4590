//! What disks have in common, whatever words their devices take.

mod load;

use super::queue::Slot;
pub use load::Load;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Requests of a load have tags below this one.
pub const TAG_LIMIT: u64 = 1 << 63;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    Flush,
    Discard,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub kind: Kind,
    /// First sector.
    pub sector: u64,
    /// Bytes of data.
    pub length: u32,
}

impl Request {
    /// Nothing asked for yet.
    pub const NONE: Self = Self {
        kind: Kind::Read,
        sector: 0,
        length: 0,
    };
}

/// What the device says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Well,
    /// With this status, and it may go well when it is asked for again.
    Again(u8),
    /// With this status.
    Failed(u8),
}

impl Answer {
    /// Set in a status that is the transport's response, and not the unit's.
    pub const RESPONSE: u8 = 0x80;
}

/// How a kind of disk is spoken to.
pub struct Disk {
    /// The place of the first queue that takes requests; all behind it do.
    pub first: usize,
    /// Writes a request down in a slot.
    pub put: fn(&Request, &mut Slot),
    /// Reads the answer to a request that is back.
    pub answer: fn(&Slot) -> Answer,
}

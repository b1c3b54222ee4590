//! A request of a block device (virtio 1.3, 5.2.6).

use crate::driver::virtio::queue::{Part, Slot};
use crate::driver::virtio::spec::request;

/// Where in a slot's outgoing memory the range of a discard lies, behind the header.
const SEGMENT: usize = 32;
const HEADER_SIZE: u32 = 16;
const SEGMENT_SIZE: u32 = 16;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// `request::IN` and so on.
    pub kind: u32,
    /// First sector.
    pub sector: u64,
    /// Bytes of data.
    pub length: u32,
}

impl Request {
    /// Nothing asked for yet.
    pub const NONE: Self = Self {
        kind: request::IN,
        sector: 0,
        length: 0,
    };

    /// Writes the request down in a slot.
    pub fn put(&self, slot: &mut Slot) {
        let header = slot.out(0);
        header.write(0, self.kind);
        header.write(4, 0u32);
        let ranged = matches!(self.kind, request::DISCARD | request::WRITE_ZEROES);
        header.write(8, if ranged { 0 } else { self.sector });
        let middle = if ranged {
            let segment = slot.out(SEGMENT);
            let sectors = u64::from(self.length) / request::SECTOR;
            segment.write(0, self.sector);
            segment.write(8, sectors as u32);
            segment.write(12, 0u32);
            Some(Part::out(segment, SEGMENT_SIZE))
        } else {
            let data = slot.data().filter(|_| self.length > 0);
            data.map(|data| match self.kind {
                request::IN => Part::into(data, self.length),
                _ => Part::out(data, self.length),
            })
        };
        let head = Some(Part::out(header, HEADER_SIZE));
        let tail = Some(Part::into(slot.answer(), 1));
        slot.parts = [head, middle, tail];
    }
}

/// The status byte of a request that is back.
pub fn status(slot: &Slot) -> u8 {
    slot.answer().read(0)
}

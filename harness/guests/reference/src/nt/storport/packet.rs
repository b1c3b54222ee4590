//! The memory of requests, and what is written into it.

use super::abi::{ELEMENTS, EXTENDED_SRB, Element};
use super::data::Given;
use super::entry::driver;
use super::layout::{
    BUS_RESET, BUSY, DATA_IN, DATA_OUT, ERROR, SENSE, SENSE_VALID, STATUS, SUCCESS, UNIT_ATTENTION,
    get, long, put, short,
};
use super::port::Port;
use super::srb::{About, Ended, MOST, Request};
use crate::hal::vm::{self, PAGE};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Free,
    /// The miniport has it.
    Started,
    /// The miniport has completed it.
    Completed,
}

/// A request's memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Packet {
    pub srb: u64,
    pub sense: u64,
    pub extension: u64,
    /// Where the extension lies in memory.
    pub beneath: u64,
    pub list: u64,
    /// The memory that the miniport and its device get.
    pub data: u64,
    /// As many bytes of memory of whoever asks, which they never see.
    pub asker: u64,
    /// What of the data they have, or had last.
    pub given: Option<Given>,
    /// Where the data begins in its first page.
    pub within: u32,
    pub room: u32,
    /// The memory of the data, of which every other page or so is used, and how many pages that is.
    pub pool: (u64, u64),
    pub state: State,
    /// Where in the image it was completed last, and as one that writes.
    pub places: [u64; 2],
    /// What the extension held when the request was completed.
    pub seal: Option<u64>,
}

/// The requests of an adapter.
pub(super) struct Packets {
    pub each: [Packet; MOST],
    /// Those that nobody waits for any more, and that the miniport still has: the memory stays its own.
    pub left: [u64; MOST],
    pub next_left: usize,
}

impl Packets {
    pub const NONE: Self = Self {
        left: [0; MOST],
        next_left: 0,
        each: [Packet {
            srb: 0,
            sense: 0,
            extension: 0,
            beneath: 0,
            list: 0,
            data: 0,
            asker: 0,
            given: None,
            within: 0,
            room: 0,
            pool: (0, 0),
            state: State::Free,
            places: [0; 2],
            seal: None,
        }; MOST],
    };

    /// Whether the miniport was left with this request; it has it no more.
    pub fn take_left(&mut self, srb: u64) -> bool {
        let left = self.left.iter_mut().find(|left| srb != 0 && **left == srb);
        left.map(|left| *left = 0).is_some()
    }
}

/// Whether the miniport takes extended requests.
pub(super) fn is_long() -> bool {
    driver().is_some_and(|driver| driver.srb_type_flags & EXTENDED_SRB != 0)
}

/// The status of a request, without the flags.
pub(super) fn status_of(srb: u64) -> u8 {
    get::<u8>(srb + long::STATUS) & STATUS
}

impl Packet {
    /// A number for what the extension holds. It may be taken away from the processor meanwhile.
    pub(super) fn sum(&self, port: &Port) -> u64 {
        const PRIME: u64 = 0x100_0000_01b3;
        let words = u64::from(port.configuration().srb_extension_size).div_ceil(8);
        (0..words).fold(0xcbf2_9ce4_8422_2325, |sum, n| {
            // SAFETY: memory of the packet, which the kernel reaches where it lies.
            let word = unsafe { ((self.beneath + 8 * n) as *const u64).read_volatile() };
            (sum ^ word).wrapping_mul(PRIME)
        })
    }

    /// What is the miniport's as long as it has the request: where, and how many bytes.
    pub(super) fn own(&self, port: &Port) -> [(u64, u64); 2] {
        let size = if is_long() { long::SIZE } else { short::SIZE };
        let extension = u64::from(port.configuration().srb_extension_size);
        [(self.srb, size), (self.extension, extension)]
    }

    /// Writes the request, with a tag that no other has meanwhile.
    pub(super) fn fill(&self, request: &Request, offset: u32, tag: u8) {
        let data = if request.bytes == 0 {
            0
        } else {
            self.data + u64::from(offset)
        };
        let flags = match (request.bytes, request.out) {
            (0, _) => 0,
            (_, true) => DATA_OUT,
            (_, false) => DATA_IN,
        };
        let srb = self.srb;
        if is_long() {
            (0..long::SIZE / 8).for_each(|n| put(srb + 8 * n, 0u64));
            put(srb, long::SIGNATURE as u16);
            put(srb + long::FUNCTION, long::EXTENDED);
            put(srb + long::SIGNATURE, long::SIGNED);
            put(srb + long::VERSION, long::VERSION_1);
            put(srb + long::LENGTH, long::SIZE as u32);
            put(srb + long::SRB_FUNCTION, request.function);
            put(srb + long::FLAGS, flags);
            put(srb + long::TAG, u32::from(tag));
            put(srb + long::TIMEOUT, request.timeout);
            put(srb + long::ADDRESS_OFFSET, long::ADDRESS as u32);
            put(srb + long::EXTRA_COUNT, 1u32);
            put(srb + long::DATA_LENGTH, request.bytes);
            put(srb + long::DATA, data);
            put(srb + long::EXTENSION, self.extension);
            put(srb + long::EXTRA_OFFSET, long::EXTRA as u32);
            put(srb + long::ADDRESS, long::BTL8);
            put(srb + long::ADDRESS + 4, long::BTL8_LENGTH);
            put(srb + long::PATH, request.to.path);
            put(srb + long::TARGET, request.to.target);
            put(srb + long::LUN, request.to.unit);
            self.fill_extra(request);
        } else {
            (0..short::SIZE / 8).for_each(|n| put(srb + 8 * n, 0u64));
            put(srb, short::SIZE as u16);
            put(srb + short::FUNCTION, request.function as u8);
            put(srb + short::PATH, request.to.path);
            put(srb + short::TARGET, request.to.target);
            put(srb + short::LUN, request.to.unit);
            put(srb + short::TAG, tag);
            put(srb + short::CDB_LENGTH, request.length);
            put(srb + short::SENSE_LENGTH, SENSE as u8);
            put(srb + short::FLAGS, flags);
            put(srb + short::DATA_LENGTH, request.bytes);
            put(srb + short::TIMEOUT, request.timeout);
            put(srb + short::DATA, data);
            put(srb + short::SENSE, self.sense);
            put(srb + short::EXTENSION, self.extension);
            put(srb + short::CDB, request.cdb);
            self.fill_block(request.about);
        }
        self.fill_list(data, request.bytes);
    }

    /// The extended data: a command, or what its function is about.
    fn fill_extra(&self, request: &Request) {
        let srb = self.srb;
        match request.about {
            About::Unit => {
                put(srb + long::EXTRA, long::CDB16);
                put(srb + long::EXTRA + 4, long::CDB16_LENGTH);
                put(srb + long::EXTRA_SENSE_LENGTH, SENSE as u8);
                put(srb + long::EXTRA_CDB_LENGTH, request.length);
                put(srb + long::EXTRA_SENSE, self.sense);
                put(srb + long::EXTRA_CDB, request.cdb);
            }
            About::Pnp(action, flags) => {
                put(srb + long::EXTRA, long::PNP);
                put(srb + long::EXTRA + 4, long::PNP_LENGTH);
                put(srb + long::PNP_ACTION, action);
                put(srb + long::PNP_FLAGS, flags);
            }
            About::Power(state, action, flags) => {
                put(srb + long::EXTRA, long::POWER);
                put(srb + long::EXTRA + 4, long::POWER_LENGTH);
                put(srb + long::POWER_FLAGS, flags as u8);
                put(srb + long::POWER_STATE, state);
                put(srb + long::POWER_ACTION, action);
            }
        }
    }

    /// `SCSI_PNP_REQUEST_BLOCK`, `SCSI_POWER_REQUEST_BLOCK`: where they are no `SCSI_REQUEST_BLOCK`.
    fn fill_block(&self, about: About) {
        let srb = self.srb;
        let (what, last) = match about {
            About::Unit => return,
            About::Pnp(action, flags) => (action, flags),
            About::Power(state, action, flags) => {
                put(srb + short::POWER_FLAGS, flags as u8);
                (state, action)
            }
        };
        put(srb + short::ACTION_OR_STATE, what);
        put(srb + short::PNP_FLAGS_OR_POWER_ACTION, last);
    }

    /// An element for what lies together.
    fn fill_list(&self, data: u64, bytes: u32) {
        if self.list == 0 {
            return;
        }
        let (mut count, mut last) = (0u32, Element::default());
        let mut at = data;
        let end = data + u64::from(bytes);
        while at < end {
            let length = (PAGE - at % PAGE).min(end - at);
            let address = vm::physical(at).unwrap_or(0);
            if count > 0 && last.address + u64::from(last.length) == address {
                last.length += length as u32;
            } else {
                count += 1;
                last = Element {
                    address,
                    length: length as u32,
                    reserved: 0,
                };
            }
            let place = u64::from(count - 1) * size_of::<Element>() as u64;
            put(self.list + ELEMENTS + place, last);
            at += length;
        }
        put(self.list, count);
    }

    pub(super) fn ended(&self) -> Ended {
        let srb = self.srb;
        let (length, scsi) = if is_long() {
            (long::DATA_LENGTH, long::EXTRA_SCSI_STATUS)
        } else {
            (short::DATA_LENGTH, short::SCSI_STATUS)
        };
        debug_assert_eq!(long::STATUS, short::STATUS);
        let has_sense = get::<u8>(srb + long::STATUS) & SENSE_VALID != 0;
        match status_of(srb) {
            SUCCESS => Ended::Well(get(srb + length)),
            BUSY | BUS_RESET => Ended::Again,
            // Something about the unit has changed, which is told once (SPC: the key of fixed-format sense).
            ERROR if has_sense && get::<u8>(self.sense + 2) & 0xf == UNIT_ATTENTION => Ended::Again,
            other => Ended::Failed(other, get(srb + scsi)),
        }
    }
}

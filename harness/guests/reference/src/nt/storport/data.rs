//! The data of requests. The miniport and its device get memory that is theirs as long as they have the request: what
//! is written is copied into it before, what is read is copied out of it when the request is completed. What it holds
//! before and after is known, so that a device that comes too late is seen.

use super::abi::{ELEMENTS, Element};
use super::layout::{SENSE, long, short};
use super::packet::{Packet, State, is_long};
use super::port::Port;
use super::srb::{Address, EXECUTE, Request};
use crate::hal::mem;
use crate::hal::vm::{self, PAGE, Rights};
use crate::nt::checks::{self, Check};
use crate::nt::{image, lent};

/// Each byte of memory that is to be read into.
const FRESH: u8 = 0xa5;
/// Each byte of memory that no request has.
const GONE: u8 = 0xd7;
/// The same eight times.
const GONE_WORD: u64 = u64::from_ne_bytes([GONE; 8]);

/// What is found of a device that comes too late.
const WRITTEN: &str = "the data of a request was written";

/// What a request has of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// The unit that the request is for.
    pub to: Address,
    offset: u32,
    bytes: u32,
    /// It is for the device to write, or for the miniport.
    is_read: bool,
}

impl Packet {
    /// The data as the miniport gets it.
    pub(super) fn give(&self, request: &Request, offset: u32) -> Given {
        let given = Given {
            to: request.to,
            offset,
            bytes: request.bytes,
            is_read: !request.out,
        };
        let (own, data, bytes) = self.where_it_lies(&given);
        // Then there may be no room at all.
        if bytes == 0 {
            return given;
        }
        // SAFETY: both have room for it.
        unsafe {
            if request.out || request.function != EXECUTE {
                core::ptr::copy_nonoverlapping(own, data, bytes);
            } else {
                core::ptr::write_bytes(data, FRESH, bytes);
            }
        }
        given
    }

    /// The request is completed: what was read is the asker's, and the memory nobody's.
    pub(super) fn take_back(&self) {
        let Some(given) = self.given else { return };
        let (own, data, bytes) = self.where_it_lies(&given);
        if bytes == 0 {
            return;
        }
        // SAFETY: both have room for it.
        unsafe {
            if given.is_read {
                core::ptr::copy_nonoverlapping(data, own, bytes);
            }
            core::ptr::write_bytes(data, GONE, bytes);
        }
    }

    /// It was completed by this place in the image.
    pub(super) fn completed_at(&mut self, place: u64) {
        self.places[0] = place;
        if self.given.is_some_and(|given| !given.is_read) {
            self.places[1] = place;
        }
    }

    fn where_it_lies(&self, given: &Given) -> (*mut u8, *mut u8, usize) {
        let offset = u64::from(given.offset);
        let own = (self.asker + offset) as *mut u8;
        let data = (self.data + offset) as *mut u8;
        // What there is no room for was not given.
        let bytes = given.bytes.min(self.room.saturating_sub(given.offset));
        (own, data, bytes as usize)
    }
}

/// Whether so many bytes are as memory is that no request has.
fn is_gone(at: *const u8, bytes: usize) -> bool {
    // SAFETY: the callers' memory; a device may write to it meanwhile.
    let word = |n: usize| unsafe { at.add(8 * n).cast::<u64>().read_unaligned() };
    // SAFETY: the same.
    let byte = |n: usize| unsafe { at.add(n).read() };
    (0..bytes / 8).all(|n| word(n) == GONE_WORD) && (bytes / 8 * 8..bytes).all(|n| byte(n) == GONE)
}

impl Port {
    /// Memory for request `n` with so many bytes of data, in pages that do not lie together for the device. The
    /// address of the asker's data; `None` when there is no memory.
    pub fn room(&self, n: usize, bytes: u32) -> Option<u64> {
        let mut packet = self.with(|state| state.packets.each[n]);
        if packet.srb == 0 {
            let length = if is_long() { long::SIZE } else { short::SIZE };
            packet.srb = vm::allocate(length)?;
            packet.sense = vm::allocate(SENSE)?;
            let size = self.configuration().srb_extension_size.into();
            packet.extension = vm::allocate(size)?;
            packet.beneath = vm::physical(packet.extension)?;
            self.lend("a request", packet.srb, length);
            self.lend("a request's sense data", packet.sense, SENSE);
            self.lend("a request's extension", packet.extension, size);
        }
        if packet.room < bytes {
            self.look_at_data(n);
            packet.given = None;
            let pages = (packet.within + bytes).div_ceil(PAGE as u32).into();
            let pool = mem::dma((2 * pages * PAGE) as usize)?.address();
            // SAFETY: it has this size, and nobody else has it.
            unsafe { core::ptr::write_bytes(pool as *mut u8, GONE, (2 * pages * PAGE) as usize) };
            packet.pool = (pool, pages);
            packet.data = vm::reserve(pages) + u64::from(packet.within);
            packet.asker = mem::dma(bytes.next_multiple_of(PAGE as u32) as usize)?.address();
            packet.list = vm::allocate(ELEMENTS + pages * size_of::<Element>() as u64)?;
            packet.room = bytes;
            self.lay_out(&packet, Shape::Apart)?;
        }
        self.with(|state| state.packets.each[n] = packet);
        Some(packet.asker)
    }

    /// The same as [`Port::room`], with the data in memory of another shape: the `turn`th that there is, from some way
    /// into its first page on where the miniport's alignment lets it.
    pub fn room_of_shape(&self, n: usize, bytes: u32, turn: usize) -> Option<u64> {
        const SECTOR: u32 = 512;
        let within = WITHIN[turn / SHAPES.len() % WITHIN.len()];
        let aligned = self.configuration().alignment_mask < SECTOR;
        self.look_at_data(n);
        let packet = self.with(|state| {
            let packet = &mut state.packets.each[n];
            let within = if aligned { within } else { 0 };
            if packet.within != within {
                // It is mapped anew.
                (packet.within, packet.room) = (within, 0);
            }
            packet.given = None;
            packet.room
        });
        self.room(n, bytes.max(packet))?;
        let packet = self.with(|state| state.packets.each[n]);
        self.lay_out(&packet, SHAPES[turn % SHAPES.len()])?;
        Some(packet.asker)
    }

    /// Maps the pages of a request's data.
    fn lay_out(&self, packet: &Packet, shape: Shape) -> Option<()> {
        let (pool, pages) = packet.pool;
        let first = packet.data / PAGE * PAGE;
        let mapped = (0..pages).all(|n| {
            let physical = pool + shape.place(n, pages) * PAGE;
            vm::map_page(first + n * PAGE, physical, Rights::Write)
        });
        self.lend(lent::DATA, first, pages * PAGE);
        mapped.then_some(())
    }

    fn lend(&self, what: &'static str, address: u64, length: u64) {
        lent::lend(self.number(), what, address, length);
    }

    /// A device that still has a request writes to what was its data.
    pub(super) fn look_at_data(&self, n: usize) {
        let packet = self.with(|state| state.packets.each[n]);
        let Some(given) = packet.given.filter(|_| packet.state != State::Started) else {
            return;
        };
        let (_, data, bytes) = packet.where_it_lies(&given);
        self.check_late(packet.places[0], is_gone(data, bytes), WRITTEN);
    }

    /// Likewise, to what of its memory was not its data.
    pub(super) fn look_at_pool(&self, n: usize) {
        let packet = self.with(|state| state.packets.each[n]);
        let (pool, pages) = packet.pool;
        if packet.state != State::Started && pool != 0 {
            let is_gone = is_gone(pool as *const u8, (2 * pages * PAGE) as usize);
            self.check_late(packet.places[0], is_gone, WRITTEN);
        }
    }

    /// What was done to a request's memory was done after its completion by `place`, unless it was `kept` as it was.
    pub(super) fn check_late(&self, place: u64, kept: bool, text: &str) {
        if kept {
            return checks::kept(self.number(), Check::Late);
        }
        let place = image::image().and_then(|image| image.place(place));
        let place = place.as_deref().unwrap_or("the port driver");
        let text = format_args!("{text} after the request had been completed by {place}");
        checks::broken(self.number(), Check::Late, text);
    }

    /// Data was read back that is not what was written. A device that still had the request that wrote it read what
    /// was its data: then the disk holds what memory holds that no request has.
    pub fn look_at_read(&self, n: usize, data: u64, bytes: u32) {
        let word = |n: u32| {
            // SAFETY: the asker's memory, of this size.
            unsafe { ((data + 8 * u64::from(n)) as *const u64).read_volatile() }
        };
        if (0..bytes / 8).any(|n| word(n) == GONE_WORD) {
            let place = self.with(|state| state.packets.each[n].places[1]);
            let text = "the data of a request was read by the device";
            self.check_late(place, false, text);
        }
    }
}

/// How pages that lie one behind the other for the processor lie for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// None behind the other.
    Apart,
    /// All in one piece.
    Together,
    /// Two and two.
    Pairs,
    /// One, then two together, then three.
    Growing,
}

const SHAPES: [Shape; 4] = [Shape::Apart, Shape::Together, Shape::Pairs, Shape::Growing];
/// Where data begins in a page, in bytes.
const WITHIN: [u32; 3] = [0, 512, 3584];

impl Shape {
    /// Where page `n` of so many is, in twice as many.
    fn place(self, n: u64, pages: u64) -> u64 {
        match self {
            Self::Apart => 2 * (pages - 1 - n),
            Self::Together => n,
            Self::Pairs => n + n / 2,
            Self::Growing => {
                // The run that it is in: those before have 1, 2, 3, … pages.
                let run = (1..).find(|run| n < run * (run + 1) / 2).unwrap_or(1);
                n + run - 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_every_shape_lie_apart_and_in_the_memory_that_there_is() {
        for pages in 1..20 {
            for shape in SHAPES {
                let mut places: alloc::vec::Vec<_> =
                    (0..pages).map(|n| shape.place(n, pages)).collect();
                assert!(places.iter().all(|place| *place < 2 * pages), "{shape:?}");
                places.sort_unstable();
                places.dedup();
                assert_eq!(places.len() as u64, pages, "{shape:?}");
            }
        }
        let growing: alloc::vec::Vec<_> = (0..6).map(|n| Shape::Growing.place(n, 6)).collect();
        assert_eq!(growing, [0, 2, 3, 5, 6, 7]);
    }

    #[test]
    fn memory_that_no_request_has_is_told_to_the_last_byte() {
        let mut memory = [GONE; 21];
        assert!(is_gone(memory.as_ptr(), 21));
        memory[20] = 0;
        assert!(is_gone(memory.as_ptr(), 20) && !is_gone(memory.as_ptr(), 21));
        memory[3] = FRESH;
        assert!(!is_gone(memory.as_ptr(), 20));
    }

    #[test]
    fn what_is_read_gets_to_the_asker_and_what_was_data_is_nobodys() {
        let (mut own, mut data) = ([1u8; 32], [GONE; 32]);
        let packet = Packet {
            asker: own.as_mut_ptr() as u64,
            data: data.as_mut_ptr() as u64,
            room: 32,
            ..Packet::default()
        };
        let read = Request {
            to: Address::default(),
            cdb: [0; 16],
            length: 6,
            bytes: 8,
            out: false,
            timeout: 1,
            function: EXECUTE,
            about: super::super::srb::About::Unit,
        };
        let given = Some(packet.give(&read, 16));
        assert_eq!(
            (data[15], data[16], data[23], data[24]),
            (GONE, FRESH, FRESH, GONE)
        );
        data[16..24].fill(7);
        Packet { given, ..packet }.take_back();
        assert_eq!((own[15], own[16], own[23], own[24]), (1, 7, 7, 1));
        assert_eq!(data, [GONE; 32]);
        let given = Some(packet.give(&Request { out: true, ..read }, 0));
        assert_eq!(data[0], 1);
        Packet { given, ..packet }.take_back();
        assert_eq!(data, [GONE; 32]);
    }
}

//! Requests: SCSI request blocks, their extensions and their data.

use super::abi::{ELEMENTS, EXTENDED_SRB, Element};
use super::locks::Callback;
use super::port::{Port, driver, port};
use super::spin::{self, Lock};
use crate::dbg_print;
use crate::hal::vm::{self, PAGE, Rights};
use crate::hal::{cpu, exclusive, mem, processor};
use crate::nt::checks::{self, Check};
use crate::nt::dispatch::{self, DISPATCH_LEVEL};
use crate::nt::lent;
use crate::nt::smp::{self, Job};
use crate::nt::trap::{self, Reason};

/// Most requests of an adapter.
pub const MOST: usize = 67;
/// Those below this are of loads.
const LOADS: usize = 64;
/// Bytes of a command and of sense data.
const CDB: usize = 16;
const SENSE: u64 = 32;

/// `SCSI_REQUEST_BLOCK`.
mod short {
    pub const SIZE: u64 = 88;
    pub const FUNCTION: u64 = 2;
    pub const STATUS: u64 = 3;
    pub const SCSI_STATUS: u64 = 4;
    pub const CDB_LENGTH: u64 = 10;
    pub const SENSE_LENGTH: u64 = 11;
    pub const FLAGS: u64 = 12;
    pub const DATA_LENGTH: u64 = 16;
    pub const TIMEOUT: u64 = 20;
    pub const DATA: u64 = 24;
    pub const SENSE: u64 = 32;
    pub const EXTENSION: u64 = 56;
    pub const CDB: u64 = 72;
    /// `SCSI_PNP_REQUEST_BLOCK` and `SCSI_POWER_REQUEST_BLOCK` have these in the same places.
    pub const POWER_FLAGS: u64 = 4;
    pub const ACTION_OR_STATE: u64 = 8;
    pub const PNP_FLAGS_OR_POWER_ACTION: u64 = 64;
}

/// `STORAGE_REQUEST_BLOCK`, `STOR_ADDR_BTL8` behind it, `SRBEX_DATA_SCSI_CDB16` behind that.
mod long {
    pub const SIZE: u64 = 192;
    pub const FUNCTION: u64 = 2;
    pub const STATUS: u64 = 3;
    pub const SIGNATURE: u64 = 8;
    pub const VERSION: u64 = 12;
    pub const LENGTH: u64 = 16;
    pub const SRB_FUNCTION: u64 = 20;
    pub const FLAGS: u64 = 24;
    pub const TIMEOUT: u64 = 40;
    pub const ADDRESS_OFFSET: u64 = 52;
    pub const EXTRA_COUNT: u64 = 56;
    pub const DATA_LENGTH: u64 = 60;
    pub const DATA: u64 = 64;
    pub const EXTENSION: u64 = 104;
    pub const EXTRA_OFFSET: u64 = 120;
    pub const ADDRESS: u64 = 128;
    pub const EXTRA: u64 = 144;
    pub const EXTRA_SCSI_STATUS: u64 = EXTRA + 8;
    pub const EXTRA_SENSE_LENGTH: u64 = EXTRA + 9;
    pub const EXTRA_CDB_LENGTH: u64 = EXTRA + 10;
    pub const EXTRA_SENSE: u64 = EXTRA + 16;
    pub const EXTRA_CDB: u64 = EXTRA + 24;
    /// `SRB_FUNCTION_STORAGE_REQUEST_BLOCK`, `SRB_SIGNATURE`, the version, BTL8, a command of 16 bytes.
    pub const EXTENDED: u8 = 0x28;
    pub const SIGNED: u32 = u32::from_le_bytes(*b"SRBX");
    pub const VERSION_1: u32 = 1;
    pub const BTL8: u16 = 1;
    pub const BTL8_LENGTH: u32 = 4;
    pub const CDB16: u32 = 0x40;
    pub const CDB16_LENGTH: u32 = 32;
    /// `SRBEX_DATA_POWER` and `SRBEX_DATA_PNP`: type, length behind both, and what is in them.
    pub const POWER: u32 = 0x61;
    pub const POWER_LENGTH: u32 = 12;
    pub const POWER_FLAGS: u64 = EXTRA + 8;
    pub const POWER_STATE: u64 = EXTRA + 12;
    pub const POWER_ACTION: u64 = EXTRA + 16;
    pub const PNP: u32 = 0x62;
    pub const PNP_LENGTH: u32 = 16;
    pub const PNP_ACTION: u64 = EXTRA + 12;
    pub const PNP_FLAGS: u64 = EXTRA + 16;
}

const DATA_IN: u32 = 0x40;
const DATA_OUT: u32 = 0x80;
/// `SRB_STATUS_PENDING`, and the bits of a status beside the flags on top of it.
const PENDING: u8 = 0;
const STATUS: u8 = 0x3f;
/// `SRB_STATUS_SUCCESS`, `_BUSY`, `_BUS_RESET`.
const SUCCESS: u8 = 1;
const BUSY: u8 = 5;
const BUS_RESET: u8 = 14;
/// `SRB_STATUS_ERROR`, and the flag `SRB_STATUS_AUTOSENSE_VALID`.
const ERROR: u8 = 4;
const SENSE_VALID: u8 = 0x80;
/// The sense key.
const UNIT_ATTENTION: u8 = 6;

/// What is asked of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The command.
    pub cdb: [u8; CDB],
    /// How much of it is one.
    pub length: u8,
    /// Bytes of data.
    pub bytes: u32,
    /// They go to the device.
    pub out: bool,
    /// In seconds, as the class driver sets it.
    pub timeout: u32,
    /// What it is: [`EXECUTE`], or one of the others.
    pub function: u32,
    /// What it is about, where it is no command.
    pub about: About,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Its function and its command say it.
    Unit,
    /// A `STOR_PNP_ACTION`, with the flags.
    Pnp(u32, u32),
    /// A `STOR_DEVICE_POWER_STATE` and a `STOR_POWER_ACTION`, with the flags.
    Power(u32, u32, u32),
}

/// `SRB_FUNCTION_EXECUTE_SCSI`, `_RESET_DEVICE`, `_RESET_LOGICAL_UNIT`.
pub const EXECUTE: u32 = 0;
pub const RESET_DEVICE: u32 = 0x13;
pub const RESET_LOGICAL_UNIT: u32 = 0x20;
/// `SRB_FUNCTION_FLUSH`, `_POWER`, `_PNP`.
pub const FLUSH: u32 = 0x08;
pub const POWER: u32 = 0x24;
pub const PNP: u32 = 0x25;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well, with so many bytes.
    Well(u32),
    /// It may be asked for again: the unit was busy, or the bus was reset.
    Again,
    /// With this status and SCSI status.
    Failed(u8, u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
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
    srb: u64,
    sense: u64,
    extension: u64,
    list: u64,
    data: u64,
    room: u32,
    state: State,
}

/// The requests of an adapter.
pub(super) struct Packets {
    each: [Packet; MOST],
    /// Those that nobody waits for any more, and that the miniport still has: the memory stays its own.
    left: [u64; MOST],
    next_left: usize,
}

impl Packets {
    pub const NONE: Self = Self {
        left: [0; MOST],
        next_left: 0,
        each: [Packet {
            srb: 0,
            sense: 0,
            extension: 0,
            list: 0,
            data: 0,
            room: 0,
            state: State::Free,
        }; MOST],
    };

    /// Whether the miniport was left with this request; it has it no more.
    fn take_left(&mut self, srb: u64) -> bool {
        let left = self.left.iter_mut().find(|left| srb != 0 && **left == srb);
        left.map(|left| *left = 0).is_some()
    }
}

/// Writes a field.
fn put<T>(at: u64, value: T) {
    // SAFETY: `at` lies in memory of the packet.
    unsafe { (at as *mut T).write_unaligned(value) }
}

/// Reads a field.
fn get<T>(at: u64) -> T {
    // SAFETY: as for `put`; what is read is a number.
    unsafe { (at as *const T).read_unaligned() }
}

fn is_long() -> bool {
    driver().is_some_and(|driver| driver.srb_type_flags & EXTENDED_SRB != 0)
}

impl Port {
    /// Memory for request `n` with so many bytes of data, in pages that do not lie together. The address
    /// of the data; `None` when there is no memory.
    pub fn room(&self, n: usize, bytes: u32) -> Option<u64> {
        let mut packet = self.with(|state| state.packets.each[n]);
        if packet.srb == 0 {
            let length = if is_long() { long::SIZE } else { short::SIZE };
            packet.srb = vm::allocate(length)?;
            packet.sense = vm::allocate(SENSE)?;
            let size = self.configuration().srb_extension_size.into();
            packet.extension = vm::allocate(size)?;
            self.lend("a request", packet.srb, length);
            self.lend("a request's sense data", packet.sense, SENSE);
            self.lend("a request's extension", packet.extension, size);
        }
        if packet.room < bytes {
            let pages = u64::from(bytes).div_ceil(PAGE);
            packet.data = scattered(pages)?;
            self.lend("a request's data", packet.data, pages * PAGE);
            packet.list = vm::allocate(ELEMENTS + pages * size_of::<Element>() as u64)?;
            packet.room = bytes;
        }
        self.with(|state| state.packets.each[n] = packet);
        Some(packet.data)
    }

    fn lend(&self, what: &'static str, address: u64, length: u64) {
        lent::lend(self.number(), what, address, length);
    }

    /// Gives request `n` to the miniport, after [`Port::room`]: `HwStorBuildIo` at `DISPATCH_LEVEL`
    /// without a lock, then `HwStorStartIo` under the StartIo lock, unless the miniport is done with it.
    /// The data begins `offset` bytes into the room.
    pub fn start(&self, n: usize, request: &Request, offset: u32) {
        let (packet, turn) = self.with(|state| {
            state.packets.each[n].state = State::Started;
            state.start_turn = state.start_turn.wrapping_add(1);
            (state.packets.each[n], state.start_turn)
        });
        // Without memory nobody gets it, and it is late.
        if packet.srb == 0 {
            return;
        }
        packet.fill(request, offset);
        // Loads come from all processors; what the class driver and PnP ask for comes from the first.
        let from = if n < LOADS {
            turn as usize % processor::count()
        } else {
            0
        };
        self.with(|state| state.starting += 1);
        let job = Job {
            act: |[device, n]| port(device).give(n),
            arguments: [self.number(), n],
        };
        smp::send(from, job);
    }

    /// Gives a request to the miniport, on this processor.
    fn give(&self, n: usize) {
        let Some(driver) = driver() else { return };
        let (packet, extension) = self.with(|state| (state.packets.each[n], state.extension));
        let before = cpu::priority();
        cpu::set_priority(before.max(DISPATCH_LEVEL));
        let go_on = driver.build_io == 0
            || self.call_at(
                DISPATCH_LEVEL,
                Callback::BuildIo,
                driver.build_io,
                &[extension, packet.srb],
            ) as u8
                != 0;
        if go_on {
            spin::take(self.number(), Lock::StartIo, Callback::StartIo, 0, 0);
            let taken = self.call_start_io(&driver, extension, packet.srb);
            spin::give_back();
            if !taken {
                dbg_print!("NT: HwStorStartIo returned FALSE");
            }
        }
        self.with(|state| state.starting -= 1);
        // What waited for this is let in now.
        cpu::set_priority(before);
    }

    fn call_start_io(
        &self,
        driver: &super::abi::HwInitializationData,
        extension: u64,
        srb: u64,
    ) -> bool {
        // StorSynchronizeHalfDuplex is 0: then it runs at the device's IRQL.
        let level = match self.configuration().synchronization_model {
            0 => self.with(|state| state.levels.0),
            _ => DISPATCH_LEVEL,
        };
        self.call_at(level, Callback::StartIo, driver.start_io, &[extension, srb]) as u8 != 0
    }

    /// `RequestComplete`.
    pub(super) fn completed(&self, srb: u64) {
        // As soon as it is completed it may be started again, on another processor.
        exclusive(|| self.complete_one(srb));
    }

    fn complete_one(&self, srb: u64) {
        if self.with(|state| state.packets.take_left(srb)) {
            return;
        }
        let known = self.with(|state| {
            let packet = state
                .packets
                .each
                .iter_mut()
                .find(|packet| srb != 0 && packet.srb == srb)?;
            Some(core::mem::replace(&mut packet.state, State::Completed))
        });
        let n = self.number();
        match known {
            Some(State::Started) => {
                checks::check(
                    n,
                    Check::Srb,
                    status_of(srb) != PENDING,
                    format_args!("a request is completed with SRB_STATUS_PENDING"),
                );
                self.trap(srb);
                self.with(|state| {
                    let out = state.packets.each.iter();
                    let out = out.filter(|packet| packet.state == State::Started).count();
                    // Who has nothing can't be waited for.
                    state.busy = state.busy.saturating_sub(1).min(out as u32);
                });
                dispatch::progress();
                dispatch::request_round();
            }
            Some(_) => checks::broken(
                n,
                Check::Srb,
                format_args!("a request is completed that the miniport does not have any more"),
            ),
            None => checks::broken(
                n,
                Check::Srb,
                format_args!("something is completed that is no request"),
            ),
        }
    }

    /// `StorPortCompleteRequest`: completes all that the miniport has.
    pub(super) fn complete_all(&self, status: u8) {
        for n in 0..MOST {
            let packet = self.with(|state| state.packets.each[n]);
            if packet.state == State::Started {
                put(packet.srb + long::STATUS, status);
                self.completed(packet.srb);
            }
        }
    }

    /// How request `n` ended, once.
    pub fn take_ended(&self, n: usize) -> Option<Ended> {
        let packet = self.with(|state| {
            let packet = &mut state.packets.each[n];
            let ended = packet.state == State::Completed;
            ended.then(|| {
                packet.state = State::Free;
                *packet
            })
        })?;
        self.release(&packet);
        Some(packet.ended())
    }

    /// The miniport has no business with a request that it has completed.
    fn trap(&self, srb: u64) {
        let packet = self.with(|state| state.packets.each.iter().find(|p| p.srb == srb).copied());
        if let Some(packet) = packet {
            for (address, length) in packet.own(self) {
                trap::set(self.number(), Reason::Completed, address, length);
            }
        }
    }

    /// The request is its owner's again.
    fn release(&self, packet: &Packet) {
        for (address, length) in packet.own(self) {
            trap::clear(address, length);
        }
        checks::kept(self.number(), Check::Touch);
    }

    /// A reset of the bus is over: the miniport has to have completed request `n`.
    pub fn expect_ended(&self, n: usize) {
        let ended = self.with(|state| state.packets.each[n].state != State::Started);
        let text = format_args!("a reset of the bus has not completed a request");
        checks::check(self.number(), Check::Srb, ended, text);
    }

    /// Waits for request `n` no longer. A miniport that has not completed it keeps it, with its memory: the
    /// next one gets other memory.
    pub fn forget(&self, n: usize) {
        self.with(|state| {
            let packets = &mut state.packets;
            if packets.each[n].state == State::Started {
                packets.left[packets.next_left % MOST] = packets.each[n].srb;
                packets.next_left += 1;
                packets.each[n] = Packet::default();
            }
        });
    }

    /// The list of a request's data.
    pub(super) fn list_of(&self, srb: u64) -> u64 {
        self.with(|state| {
            let mut packets = state.packets.each.iter();
            let packet = packets.find(|packet| packet.srb == srb && packet.state == State::Started);
            packet.map_or(0, |packet| packet.list)
        })
    }
}

/// Pages of memory one behind the other for the processor, and none behind the other for a device.
fn scattered(pages: u64) -> Option<u64> {
    let memory = mem::dma((2 * pages * PAGE) as usize)?.address();
    let address = vm::reserve(pages);
    (0..pages)
        .all(|n| {
            vm::map_page(
                address + n * PAGE,
                memory + 2 * (pages - 1 - n) * PAGE,
                Rights::Write,
            )
        })
        .then_some(address)
}

fn status_of(srb: u64) -> u8 {
    get::<u8>(srb + long::STATUS) & STATUS
}

impl Packet {
    /// What is the miniport's as long as it has the request: where, and how many bytes.
    fn own(&self, port: &Port) -> [(u64, u64); 2] {
        let size = if is_long() { long::SIZE } else { short::SIZE };
        let extension = u64::from(port.configuration().srb_extension_size);
        [(self.srb, size), (self.extension, extension)]
    }

    fn fill(&self, request: &Request, offset: u32) {
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
            put(srb + long::TIMEOUT, request.timeout);
            put(srb + long::ADDRESS_OFFSET, long::ADDRESS as u32);
            put(srb + long::EXTRA_COUNT, 1u32);
            put(srb + long::DATA_LENGTH, request.bytes);
            put(srb + long::DATA, data);
            put(srb + long::EXTENSION, self.extension);
            put(srb + long::EXTRA_OFFSET, long::EXTRA as u32);
            put(srb + long::ADDRESS, long::BTL8);
            put(srb + long::ADDRESS + 4, long::BTL8_LENGTH);
            self.fill_extra(request);
        } else {
            (0..short::SIZE / 8).for_each(|n| put(srb + 8 * n, 0u64));
            put(srb, short::SIZE as u16);
            put(srb + short::FUNCTION, request.function as u8);
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

    /// An element for each page, as they lie.
    fn fill_list(&self, data: u64, bytes: u32) {
        if self.list == 0 {
            return;
        }
        let mut count = 0u32;
        let mut at = data;
        let end = data + u64::from(bytes);
        while at < end {
            let length = (PAGE - at % PAGE).min(end - at);
            let element = Element {
                address: vm::physical(at).unwrap_or(0),
                length: length as u32,
                reserved: 0,
            };
            put(
                self.list + ELEMENTS + u64::from(count) * size_of::<Element>() as u64,
                element,
            );
            count += 1;
            at += length;
        }
        put(self.list, count);
    }

    fn ended(&self) -> Ended {
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

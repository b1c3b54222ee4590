//! What the console has the disk do, as SRBs: reads and writes of ten and of sixteen bytes in turn.

use super::super::args::Args;
use super::super::virtio::pattern::{compare, erase, fill};
use super::super::{Outcome, Settings};
use super::unit::{Disk, Units, command};
use crate::dbg_print;
use crate::hal::mmio::Mmio;
use crate::hal::time;
use crate::hal::vm::PAGE;
use crate::nt::storport::{Ended, Port, RESET_DEVICE, RESET_LOGICAL_UNIT, Request};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

const SECTOR: u64 = 512;
/// Largest block in bytes.
const LARGEST: u64 = 1 << 20;
/// Most blocks of one load.
const MOST_BLOCKS: u64 = 1 << 32;
/// How often a request is asked for again before it has failed.
const TRIES: u32 = 8;
/// Of an unlimited transfer length this much is used.
const MOST_TRANSFER: u32 = 1 << 20;
/// The request that resets; the loads' are below, and that of the unit.
const RESET: usize = 65;
/// Most ranges of an UNMAP.
const MOST_RANGES: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Flush,
    Discard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Only(Kind),
    Verify,
    Mixed,
}

impl Operation {
    fn parse(word: &str) -> Result<Self, &'static str> {
        Ok(match word {
            "read" => Self::Only(Kind::Read),
            "write" => Self::Only(Kind::Write),
            "flush" => Self::Only(Kind::Flush),
            "verify" => Self::Verify,
            "mixed" => Self::Mixed,
            "discard" => Self::Only(Kind::Discard),
            _ => return Err("usage"),
        })
    }

    fn kind(self, block: u64) -> Kind {
        match self {
            Self::Only(kind) => kind,
            Self::Verify => Kind::Write,
            Self::Mixed if block.is_multiple_of(2) => Kind::Write,
            Self::Mixed => Kind::Read,
        }
    }
}

/// What is reset for a request that is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    Unit,
    Device,
    Bus,
}

/// In this order.
const TIERS: [Tier; 3] = [Tier::Unit, Tier::Device, Tier::Bus];

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Device => "device",
            Self::Bus => "bus",
        }
    }
}

/// A block in flight.
#[derive(Clone, Copy, Debug)]
struct Slot {
    block: u64,
    /// The unit that it is on.
    disk: Disk,
    kind: Kind,
    /// Bytes of the block that are done.
    done: u32,
    tries: u32,
    /// How often it was late.
    late: u32,
    deadline: u64,
    data: Mmio,
}

/// A load that runs.
pub struct Load {
    operation: Operation,
    blocks: u64,
    size: u32,
    lba: u64,
    /// Sectors after which the load begins again at `lba`.
    span: u64,
    /// Most bytes of one request.
    transfer: u32,
    timeout_us: u64,
    next: u64,
    finished: u64,
    errors: u64,
    timeouts: u64,
    slots: Vec<Option<Slot>>,
    rooms: Vec<Mmio>,
    /// Blocks go to these in turn.
    disks: Vec<Disk>,
    /// The reset under way: the block that was late, and when the reset is.
    reset: Option<(usize, u64)>,
}

impl Load {
    /// What `args` ask for.
    ///
    /// # Errors
    /// A word for what is wrong.
    pub fn new(
        port: &Port,
        units: &Units,
        settings: &Settings,
        args: &Args,
    ) -> Result<Self, &'static str> {
        if !args.only(&["dev", "blocks", "size", "lba", "queues"]) {
            return Err("usage");
        }
        let operation = Operation::parse(args.word(1))?;
        let size = args.number("size", SECTOR)?;
        let blocks = args.number("blocks", 1)?;
        let whole = size > 0 && size <= LARGEST && size.is_multiple_of(SECTOR);
        if !whole || blocks > MOST_BLOCKS {
            return Err("usage");
        }
        let lba = args.number("lba", 0)?;
        let each = size / SECTOR;
        let span = units.sectors().saturating_sub(lba) / each * each;
        if span == 0 {
            return Err("capacity");
        }
        let configuration = port.configuration();
        // A page less, since data need not begin with a page.
        let pages = u64::from(configuration.physical_breaks.clamp(1, 256));
        let transfer = configuration
            .maximum_transfer_length
            .min(MOST_TRANSFER)
            .min((pages * PAGE) as u32)
            .max(SECTOR as u32);
        let depth = usize::from(settings.depth.max(1));
        let rooms: Option<Vec<Mmio>> = (0..depth)
            .map(|n| {
                let room = port.room_of_shape(n, size as u32, n + units.loads)?;
                Some(Mmio::new(room, size as usize))
            })
            .collect();
        Ok(Self {
            operation,
            blocks,
            size: size as u32,
            lba,
            span,
            transfer: transfer / SECTOR as u32 * SECTOR as u32,
            timeout_us: settings.timeout_ms * 1000,
            next: 0,
            finished: 0,
            errors: 0,
            timeouts: 0,
            slots: vec![None; depth],
            rooms: rooms.ok_or("memory")?,
            disks: units.all.clone(),
            reset: None,
        })
    }

    /// When it wants to be asked again at the latest.
    pub fn deadline(&self) -> u64 {
        if let Some((_, deadline)) = self.reset {
            return deadline;
        }
        let slots = self.slots.iter().flatten();
        slots.map(|slot| slot.deadline).min().unwrap_or(0)
    }

    /// Goes on; the outcome when it is over.
    pub fn go_on(&mut self, port: &Port) -> Option<Outcome> {
        if port.is_gone() {
            return Some(self.removed(port));
        }
        if self.is_resetting(port) {
            return None;
        }
        for n in 0..self.slots.len() {
            self.look_at(port, n);
        }
        self.submit(port);
        let in_flight = self.slots.iter().flatten().count() as u64;
        (self.next >= self.blocks && in_flight == 0).then(|| {
            let (blocks, errors, timeouts) = (self.finished, self.errors, self.timeouts);
            let fields = format!("blocks={blocks} errors={errors} lost=0 timeouts={timeouts}");
            let reason = match (errors, timeouts) {
                (0, 0) => return Outcome::ok(fields),
                (_, 0) => "errors",
                _ => "timeout",
            };
            Outcome::failed(reason, fields)
        })
    }

    /// The device was pulled out: what the miniport has not completed, the port driver does.
    fn removed(&mut self, port: &Port) -> Outcome {
        port.take_ended(RESET);
        port.forget(RESET);
        for n in 0..self.slots.len() {
            if self.slots[n].is_some() {
                port.take_ended(n);
                self.leave(port, n);
                self.end(n, false);
            }
        }
        let (blocks, errors) = (self.finished, self.errors);
        let fields = format!("blocks={blocks} errors={errors} lost=0 timeouts=0");
        Outcome::failed("removed", fields)
    }

    fn look_at(&mut self, port: &Port, n: usize) {
        let Some(mut slot) = self.slots[n] else {
            return;
        };
        match port.take_ended(n) {
            Some(Ended::Well(bytes)) => {
                slot.tries = 0;
                let expected = self.bytes(&slot);
                let moves = matches!(slot.kind, Kind::Read | Kind::Write);
                if moves && bytes != expected {
                    dbg_print!("DISK: block {}: {bytes} bytes of {expected}", slot.block);
                    return self.end(n, false);
                }
                slot.done += expected;
                if slot.done < self.size && moves {
                    return self.start(port, n, slot);
                }
                self.block_is_done(port, n, slot);
            }
            Some(Ended::Again) if slot.tries < TRIES => {
                slot.tries += 1;
                self.start(port, n, slot);
            }
            Some(Ended::Again) => {
                dbg_print!("DISK: block {}: given up", slot.block);
                self.end(n, false);
            }
            Some(Ended::Failed(status, scsi)) => {
                dbg_print!(
                    "DISK: block {}: SRB status {status:#04x}, SCSI status {scsi:#04x}",
                    slot.block
                );
                self.end(n, false);
            }
            None if self.reset.is_none() && time::now() >= slot.deadline => {
                self.time_out(port, n, slot)
            }
            None => {}
        }
    }

    /// A request that is late: the unit is reset, then the device, then the bus ("Multi-Tier Reset in
    /// Storport"). What that ends is asked for again.
    fn time_out(&mut self, port: &Port, n: usize, mut slot: Slot) {
        let Some(tier) = TIERS.get(slot.late as usize) else {
            self.timeouts += 1;
            self.leave(port, n);
            return self.end(n, false);
        };
        slot.late += 1;
        slot.deadline = time::now() + self.timeout_us;
        self.slots[n] = Some(slot);
        dbg_print!(
            "DISK: block {}: late, the {} is reset",
            slot.block,
            tier.name()
        );
        let function = match tier {
            Tier::Unit => RESET_LOGICAL_UNIT,
            Tier::Device => RESET_DEVICE,
            Tier::Bus => {
                if !port.reset_bus() {
                    dbg_print!("NT: HwStorResetBus returned FALSE");
                }
                return port.expect_ended(n);
            }
        };
        if port.room(RESET, 0).is_some() {
            let request = Request {
                to: slot.disk.address,
                function,
                ..command(&[], 0)
            };
            // Until it is over nothing else is started, and nothing else is late.
            self.reset = Some((n, time::now() + self.timeout_us));
            port.start(RESET, &request, 0);
        }
    }

    /// Leaves a request to the miniport, with its memory.
    fn leave(&mut self, port: &Port, n: usize) {
        port.forget(n);
        if let Some(room) = port.room(n, self.size) {
            self.rooms[n] = Mmio::new(room, self.size as usize);
        }
    }

    /// Whether a reset is under way. One that fails, or is late itself, is followed by the next.
    fn is_resetting(&mut self, port: &Port) -> bool {
        let Some((n, deadline)) = self.reset else {
            return false;
        };
        let ended = port.take_ended(RESET);
        if ended.is_none() && time::now() < deadline {
            return true;
        }
        self.reset = None;
        if ended.is_none() {
            port.forget(RESET);
        }
        let again = time::now() + self.timeout_us;
        for slot in self.slots.iter_mut().flatten() {
            slot.deadline = again;
        }
        if let (false, Some(slot)) = (matches!(ended, Some(Ended::Well(_))), self.slots[n]) {
            self.time_out(port, n, slot);
        }
        self.reset.is_some()
    }

    /// All bytes have been written or read.
    fn block_is_done(&mut self, port: &Port, n: usize, mut slot: Slot) {
        let verifying = self.operation == Operation::Verify;
        if verifying && slot.kind == Kind::Write {
            erase(slot.data, self.size as usize);
            slot.kind = Kind::Read;
            slot.done = 0;
            return self.start(port, n, slot);
        }
        let same = !verifying || compare(slot.data, self.size as usize, slot.block);
        if !same {
            dbg_print!("DISK: block {}: data differs", slot.block);
            port.look_at_read(n, slot.data.address(), self.size);
        }
        self.end(n, same);
    }

    fn end(&mut self, n: usize, well: bool) {
        self.slots[n] = None;
        self.finished += 1;
        self.errors += u64::from(!well);
    }

    fn submit(&mut self, port: &Port) {
        while self.next < self.blocks && !port.is_paused() {
            let Some(n) = self.slots.iter().position(Option::is_none) else {
                return;
            };
            let disk = self.disks[(self.next % self.disks.len() as u64) as usize];
            let in_flight = self.slots.iter().flatten();
            let all = in_flight.clone().count();
            let of_unit = in_flight.filter(|slot| slot.disk.address == disk.address);
            let is_full = of_unit.count() >= port.depth(disk.address) as usize;
            if is_full || all >= port.configuration().max_number_of_io.max(1) as usize {
                return;
            }
            let slot = Slot {
                block: self.next,
                disk,
                kind: self.operation.kind(self.next),
                done: 0,
                tries: 0,
                late: 0,
                deadline: 0,
                data: self.rooms[n],
            };
            match slot.kind {
                Kind::Write => fill(slot.data, self.size as usize, slot.block),
                Kind::Discard => {
                    let each = u64::from(self.size) / SECTOR;
                    let list = unmap(self.sector(&slot), each as u32, self.ranges(&slot));
                    for (n, byte) in list.iter().enumerate() {
                        slot.data.write(n, *byte);
                    }
                }
                Kind::Read | Kind::Flush => {}
            }
            self.next += 1;
            self.start(port, n, slot);
        }
    }

    /// Bytes of the request that a block is at.
    fn bytes(&self, slot: &Slot) -> u32 {
        match slot.kind {
            Kind::Flush => 0,
            Kind::Discard => list_bytes(self.ranges(slot)) as u32,
            _ => (self.size - slot.done).min(self.transfer),
        }
    }

    fn start(&mut self, port: &Port, n: usize, mut slot: Slot) {
        slot.deadline = time::now() + self.timeout_us;
        self.slots[n] = Some(slot);
        let bytes = self.bytes(&slot);
        let sector = self.sector(&slot) + u64::from(slot.done) / SECTOR;
        let mut request = transfer(
            slot.kind,
            sector,
            bytes / SECTOR as u32,
            slot.block % 2 == 1,
        );
        if slot.kind == Kind::Discard {
            request.cdb[8] = bytes as u8;
        }
        request.bytes = bytes;
        request.to = slot.disk.address;
        request.out = matches!(slot.kind, Kind::Write | Kind::Discard);
        port.start(n, &request, slot.done);
    }

    /// The first sector of a block. Blocks of units lie in the same sectors of each.
    fn sector(&self, slot: &Slot) -> u64 {
        let each = u64::from(self.size) / SECTOR;
        self.lba + slot.block / self.disks.len() as u64 * each % self.span
    }

    /// The ranges that what is discarded of a block is told in: one, two, three, and so on again, as far as it has
    /// sectors and the unit takes them.
    fn ranges(&self, slot: &Slot) -> usize {
        let sectors = u64::from(self.size) / SECTOR;
        let turn = slot.block / self.disks.len() as u64 % MOST_RANGES + 1;
        turn.min(sectors).min(slot.disk.ranges.max(1).into()) as usize
    }
}

/// Bytes of UNMAP's parameter list (SBC): a header, and a block descriptor for each range.
const fn list_bytes(ranges: usize) -> usize {
    8 + 16 * ranges
}

/// The list for sectors that lie together, in so many ranges; the last one has what is left.
fn unmap(sector: u64, sectors: u32, ranges: usize) -> Vec<u8> {
    let bytes = list_bytes(ranges);
    let mut list = vec![0; bytes];
    list[..2].copy_from_slice(&(bytes as u16 - 2).to_be_bytes());
    list[2..4].copy_from_slice(&(16 * ranges as u16).to_be_bytes());
    let each = sectors / ranges as u32;
    for (n, range) in list[8..].chunks_exact_mut(16).enumerate() {
        let before = each * n as u32;
        let own = if n + 1 == ranges {
            sectors - before
        } else {
            each
        };
        range[..8].copy_from_slice(&(sector + u64::from(before)).to_be_bytes());
        range[8..12].copy_from_slice(&own.to_be_bytes());
    }
    list
}

/// READ, WRITE or SYNCHRONIZE CACHE, of ten bytes or of sixteen; or UNMAP, which has ten.
fn transfer(kind: Kind, sector: u64, sectors: u32, long: bool) -> Request {
    let mut cdb = [0; 16];
    let [short, sixteen] = match kind {
        Kind::Read => [0x28, 0x88],
        Kind::Write => [0x2a, 0x8a],
        Kind::Flush => [0x35, 0x91],
        Kind::Discard => {
            cdb[0] = 0x42;
            return command(&cdb[..10], 0);
        }
    };
    let length = if long || sector > u64::from(u32::MAX) {
        cdb[0] = sixteen;
        if kind != Kind::Flush {
            cdb[2..10].copy_from_slice(&sector.to_be_bytes());
            cdb[10..14].copy_from_slice(&sectors.to_be_bytes());
        }
        16
    } else {
        cdb[0] = short;
        if kind != Kind::Flush {
            cdb[2..6].copy_from_slice(&(sector as u32).to_be_bytes());
            cdb[7..9].copy_from_slice(&(sectors as u16).to_be_bytes());
        }
        10
    };
    command(&cdb[..length], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unmap_names_its_ranges_in_a_list() {
        let list = unmap(0x0102, 8, 1);
        assert_eq!((list.len(), list[1], list[3]), (24, 22, 16));
        assert_eq!((&list[14..16], list[19]), (&[1, 2][..], 8));
        let list = unmap(0x0102, 8, 3);
        assert_eq!((list.len(), list[1], list[3]), (56, 54, 48));
        assert_eq!((list[15], list[19]), (2, 2));
        assert_eq!((list[31], list[35]), (4, 2));
        assert_eq!((list[47], list[51]), (6, 4));
        let request = transfer(Kind::Discard, 0x0102, 8, true);
        assert_eq!((request.cdb[0], request.length), (0x42, 10));
    }

    #[test]
    fn a_transfer_has_its_place_and_length_where_the_command_has_them() {
        let short = transfer(Kind::Read, 0x0102_0304, 5, false);
        assert_eq!(
            (short.length, &short.cdb[..9]),
            (10, &[0x28, 0, 1, 2, 3, 4, 0, 0, 5][..])
        );
        let long = transfer(Kind::Write, 7, 0x0102, true);
        assert_eq!(
            (long.length, long.cdb[9], long.cdb[12..14].to_vec()),
            (16, 7, vec![1, 2])
        );
        assert_eq!(transfer(Kind::Read, 1 << 40, 1, false).cdb[0], 0x88);
        assert_eq!(
            transfer(Kind::Flush, 9, 9, false).cdb[..10],
            [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }
}

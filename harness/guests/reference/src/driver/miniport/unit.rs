//! The logical units: what a class driver asks of each before it uses it.

use crate::dbg_print;
use crate::hal::time;
use crate::nt::checks::{self, Check};
use crate::nt::storport::{About, Address, EXECUTE, Ended, MOST_UNITS, Port, Request};
use alloc::vec::Vec;

/// The request that is used for this; loads have those below.
const OWN: usize = 64;
/// How often a unit that is busy is asked again.
const TRIES: u32 = 8;
/// Bytes of the largest answer.
const ANSWER: u32 = 128;
/// So many buses, targets of a bus and units of a target are looked at.
const MOST_BUSES: u8 = 4;
const MOST_TARGETS: u8 = 8;
const MOST_LUNS: u8 = 8;
const SECTOR: u32 = 512;

/// A unit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    /// Where it is.
    pub address: Address,
    /// Its size in sectors of 512 bytes; 0 for a unit that does not answer.
    pub sectors: u64,
    /// Most ranges that an UNMAP may have, as far as it has told; else one.
    pub ranges: u32,
}

/// The units that were found; the first one is there in any case.
#[derive(Debug, Default)]
pub struct Units {
    /// Each of them.
    pub all: Vec<Disk>,
    /// How often they have been put to work.
    pub loads: usize,
    changed: Option<u64>,
    known: bool,
    asked: bool,
}

/// A command of so many bytes with an answer of so many.
pub fn command(bytes: &[u8], answer: u32) -> Request {
    let mut cdb = [0; 16];
    cdb[..bytes.len()].copy_from_slice(bytes);
    Request {
        to: Address::default(),
        cdb,
        length: bytes.len() as u8,
        bytes: answer,
        out: false,
        timeout: 10,
        function: EXECUTE,
        about: About::Unit,
    }
}

/// A unit that is asked, and how long it is waited for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    port: &'a Port,
    unit: Address,
    timeout_ms: u64,
    /// Nothing is said of it when there is none.
    is_searched: bool,
}

impl Asked<'_> {
    /// Gives a command to the unit and waits. How many bytes came of it.
    fn carry_out(self, request: &Request) -> Option<u32> {
        let port = self.port;
        let request = Request {
            to: self.unit,
            ..*request
        };
        for _ in 0..TRIES {
            port.start(OWN, &request, 0);
            let mut ended = None;
            let in_time = time::poll(self.timeout_ms * 1000, || {
                port.run_timer(time::now());
                ended = port.take_ended(OWN);
                ended.is_some()
            });
            match ended {
                Some(Ended::Well(bytes)) => return Some(bytes),
                Some(Ended::Again) => {}
                Some(Ended::Failed(status, scsi)) => {
                    if !self.is_searched {
                        dbg_print!(
                            "DISK: command {:#04x}: SRB status {status:#04x}, SCSI status {scsi:#04x}",
                            request.cdb[0]
                        );
                    }
                    return None;
                }
                None if !in_time => {
                    dbg_print!("DISK: command {:#04x}: no answer", request.cdb[0]);
                    port.reset_bus();
                    port.take_ended(OWN);
                    port.forget(OWN);
                    return None;
                }
                None => {}
            }
        }
        None
    }

    /// The same, with the answer.
    fn ask(self, request: &Request) -> Option<[u8; ANSWER as usize]> {
        let data = self.port.room(OWN, SECTOR)?;
        self.carry_out(request)?;
        let mut answer = [0; ANSWER as usize];
        for (n, byte) in answer.iter_mut().enumerate().take(request.bytes as usize) {
            // SAFETY: the room has this size.
            *byte = unsafe { (data as *const u8).add(n).read() };
        }
        Some(answer)
    }

    fn inquiry(self) -> Option<[u8; ANSWER as usize]> {
        self.ask(&command(&[0x12, 0, 0, 0, 36, 0], 36))
    }

    /// What anybody may ask a disk at any time. Most ranges of an UNMAP.
    fn questions(self, units: usize) -> u32 {
        if self.unit.unit == 0 {
            let found = self.luns().map_or(units, |luns| luns.len());
            if found != units {
                dbg_print!(
                    "DISK: {found} units at target {}, and {units} answer",
                    self.unit.target
                );
            }
        }
        let ranges = self.pages().unwrap_or(1);
        // Its outcome is nobody's business: who is not ready says so again.
        self.ask(&command(&[0; 6], 0));
        ranges
    }

    /// REPORT LUNS: the units of the target, as far as they are looked at.
    fn luns(self) -> Option<Vec<u8>> {
        const BYTES: usize = 8 * (1 + MOST_LUNS as usize);
        let answer = self.ask(&command(
            &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, BYTES as u8, 0, 0],
            BYTES as u32,
        ))?;
        Some(numbers(&answer[..BYTES]))
    }

    /// The pages of INQUIRY that the unit lists. Most ranges of an UNMAP (SBC: the block limits).
    fn pages(self) -> Option<u32> {
        const LIMITS: u8 = 0xb0;
        const BYTES: usize = 64;
        let page = |page: u8| command(&[0x12, 1, page, 0, BYTES as u8, 0], BYTES as u32);
        let list = self.ask(&page(0))?;
        let mut ranges = None;
        let count = usize::from(list[3]).min(BYTES - 4);
        for known in [0x80, 0x83, LIMITS, 0xb2] {
            if list[4..4 + count].contains(&known) {
                let answer = self.ask(&page(known)).filter(|_| known == LIMITS);
                ranges = answer
                    .map(|answer| number(&answer[24..28]) as u32)
                    .or(ranges);
            }
        }
        ranges
    }

    fn capacity(self) -> Option<u64> {
        let answer = self.ask(&command(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8))?;
        let last = number(&answer[..4]);
        if last != 0xffff_ffff {
            return Some(last + 1);
        }
        let long = command(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 32);
        let answer = self.ask(&long)?;
        Some(number(&answer[..8]) + 1)
    }

    /// Writes one byte all over the last sector, or reads what is there; `None` when that fails.
    fn last_sector(self, sectors: u64, byte: Option<u8>) -> Option<u8> {
        let data = self.port.room(OWN, SECTOR)? as *mut u8;
        let code = if byte.is_some() { 0x8a } else { 0x88 };
        let mut cdb = [0; 16];
        cdb[0] = code;
        cdb[2..10].copy_from_slice(&sectors.checked_sub(1)?.to_be_bytes());
        cdb[13] = 1;
        let request = Request {
            out: byte.is_some(),
            ..command(&cdb, SECTOR)
        };
        if let Some(byte) = byte {
            // SAFETY: the room has this size.
            unsafe { data.write_bytes(byte, SECTOR as usize) };
        }
        self.carry_out(&request)?;
        // SAFETY: the same.
        Some(unsafe { data.read() })
    }
}

fn number(bytes: &[u8]) -> u64 {
    let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    bytes.iter().fold(0, add)
}

/// The units in an answer to REPORT LUNS that have a number of one byte.
fn numbers(answer: &[u8]) -> Vec<u8> {
    let bytes = answer[..4]
        .iter()
        .fold(0, |n, byte| n << 8 | usize::from(*byte));
    let each = answer[8..].chunks_exact(8).take(bytes / 8);
    let small = each.filter(|unit| unit[0] & 0x3f == 0);
    small.map(|unit| unit[1]).collect()
}

impl Units {
    /// INQUIRY and READ CAPACITY of each unit that there may be, as when disks are found; when they are found again
    /// also what [`Units::used`] asks.
    pub fn find(&mut self, port: &Port, timeout_ms: u64) {
        let again = core::mem::replace(&mut self.known, false);
        let configuration = port.configuration();
        let most_units = configuration.logical_units.clamp(1, MOST_LUNS);
        self.all.clear();
        for path in 0..configuration.number_of_buses.clamp(1, MOST_BUSES) {
            for target in 0..configuration.targets.clamp(1, MOST_TARGETS) {
                let at = |unit| Asked {
                    port,
                    unit: Address { path, target, unit },
                    timeout_ms,
                    is_searched: (path, target, unit) != (0, 0, 0),
                };
                let is_first = self.all.is_empty();
                let is_there = self.find_one(at(0));
                if !is_there && !is_first {
                    continue;
                }
                let luns = (is_there && most_units > 1).then(|| at(0).luns());
                for unit in luns.flatten().unwrap_or_default() {
                    if unit != 0 && unit < most_units && self.all.len() < MOST_UNITS {
                        self.find_one(at(unit));
                    }
                }
            }
        }
        self.known |= again;
        if self.all.len() > 1 {
            dbg_print!("DISK: {} units", self.all.len());
        }
        if again {
            self.ask_questions(port, timeout_ms);
        }
    }

    fn ask_questions(&mut self, port: &Port, timeout_ms: u64) {
        let place = |disk: &Disk| (disk.address.path, disk.address.target);
        let places: Vec<(u8, u8)> = self.all.iter().map(place).collect();
        // One that does not say its size does not say anything else.
        for disk in self.all.iter_mut().filter(|disk| disk.sectors > 0) {
            let own = place(disk);
            let units = places.iter().filter(|place| **place == own).count();
            disk.ranges = asked(port, disk, timeout_ms).questions(units);
        }
    }

    /// Whether a unit is there. The first one is used in any case.
    fn find_one(&mut self, unit: Asked) -> bool {
        let answer = unit.inquiry();
        // No unit is there, or none can be (SPC: the peripheral qualifier).
        let is_there = answer.is_some_and(|answer| answer[0] >> 5 == 0);
        if !is_there && unit.is_searched {
            return false;
        }
        if let Some(answer) = answer {
            let text = |range: core::ops::Range<usize>| {
                core::str::from_utf8(&answer[range])
                    .unwrap_or("?")
                    .trim_end()
            };
            dbg_print!("DISK: {} {}", text(8..16), text(16..32));
            unit.port.unit_found(unit.unit);
            self.known = true;
        }
        let sectors = unit.capacity().unwrap_or(0);
        dbg_print!("DISK: {sectors} sectors");
        self.all.push(Disk {
            address: unit.unit,
            sectors,
            ranges: 1,
        });
        is_there
    }

    /// The size of the smallest unit in sectors.
    pub fn sectors(&self) -> u64 {
        let each = self.all.iter().map(|disk| disk.sectors);
        each.min().unwrap_or(0)
    }

    /// The size of the first unit in sectors.
    pub fn first_sectors(&self) -> u64 {
        self.all.first().map_or(0, |disk| disk.sectors)
    }

    /// A load went well: REPORT LUNS, the pages of INQUIRY and TEST UNIT READY, the first time; and whether units are
    /// told apart.
    pub fn used(&mut self, port: &Port, timeout_ms: u64) {
        if core::mem::replace(&mut self.asked, true) {
            return;
        }
        self.ask_questions(port, timeout_ms);
        self.tell_apart(port, timeout_ms);
    }

    /// What is written to one of several units is there, and on no other.
    fn tell_apart(&self, port: &Port, timeout_ms: u64) {
        if self.all.len() < 2 {
            return;
        }
        let bytes = || (0..).map(|n: u8| 0x40 + n);
        for (disk, byte) in self.all.iter().zip(bytes()) {
            asked(port, disk, timeout_ms).last_sector(disk.sectors, Some(byte));
        }
        for (disk, byte) in self.all.iter().zip(bytes()) {
            let read = asked(port, disk, timeout_ms).last_sector(disk.sectors, None);
            let is_own = read.is_none_or(|read| read == byte);
            let text = format_args!(
                "what was written to unit {} of target {} is not there: requests get to another unit",
                disk.address.unit, disk.address.target
            );
            checks::check(port.number(), Check::Unit, is_own, text);
        }
    }

    /// The miniport has said that something changed. A unit that does not answer is not there.
    pub fn changed(&mut self, port: &Port, timeout_ms: u64) {
        for disk in &mut self.all {
            disk.sectors = asked(port, disk, timeout_ms).capacity().unwrap_or(0);
        }
        self.changed = Some(self.first_sectors());
    }

    /// The size of the first unit after a change that nobody has asked about yet.
    pub fn take_change(&mut self) -> Option<u64> {
        self.changed.take()
    }
}

fn asked<'a>(port: &'a Port, disk: &Disk, timeout_ms: u64) -> Asked<'a> {
    Asked {
        port,
        unit: disk.address,
        timeout_ms,
        is_searched: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_from_their_list_as_far_as_it_goes() {
        let mut answer = [0; 40];
        answer[3] = 24;
        (answer[17], answer[25], answer[33]) = (1, 5, 9);
        assert_eq!(numbers(&answer), [0, 1, 5]);
        answer[24] = 0x41;
        assert_eq!(numbers(&answer), [0, 1]);
        answer[..4].fill(0xff);
        assert_eq!(numbers(&answer), [0, 1, 9]);
    }
}

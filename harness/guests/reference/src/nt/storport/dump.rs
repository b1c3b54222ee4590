//! A crash dump: the image is loaded again, and the disk dump driver calls it in the place of the port driver.
//!
//! Source: "Restrictions on Miniport Drivers that Manage the Boot Drive": `DriverEntry` gets nothing, the argument
//! string has `dump=1`, every routine is called above `PASSIVE_LEVEL`, DPCs are not initialised, the bus is not
//! reset, no registry and no time; one request at a time; 32 KiB of memory. `PORT_CONFIGURATION_INFORMATION`,
//! `DumpMode`. Interrupts are off, so `HwStorInterrupt` is called until the request is completed; no page has how
//! often.

use super::entry::{dump_entry, is_dumping};
use super::port::{Port, of_extension};
use super::srb::{About, Address, EXECUTE, Ended, Request};
use crate::dbg_print;
use crate::hal::pci::Function;
use crate::hal::{cpu, processor, time};
use crate::nt::checks::{self, Check};
use crate::nt::smp;

/// The highest IRQL.
const HIGH_LEVEL: u8 = 15;
/// Bytes that a miniport may take.
const MOST_MEMORY: u32 = 32 << 10;
/// The request that is used, with its memory.
const OWN: usize = 0;
/// Requests of a dump, and sectors of each.
const WRITES: u64 = 8;
const SECTORS: u32 = 8;
const SECTOR: u32 = 512;
/// After so long a request is not completed any more, in microseconds.
const LIMIT_US: u64 = 1_000_000;

/// A miniport does what it may not while it writes a dump.
pub(super) fn not_now(extension: u64, what: &str) {
    if is_dumping() {
        let device = of_extension(extension).map_or(0, Port::number);
        let text = format_args!("{what} while a crash dump is written");
        checks::broken(device, Check::Dump, text);
    }
}

/// The common buffer that a miniport asks for.
pub(super) fn limit(port: &Port, bytes: u32) {
    if is_dumping() && bytes > MOST_MEMORY {
        let text =
            format_args!("more than 32 KiB of memory are asked for while a crash dump is written");
        checks::broken(port.number(), Check::Dump, text);
    }
}

fn command(code: u8, sector: u32, sectors: u32, out: bool) -> Request {
    let mut cdb = [0; 16];
    cdb[0] = code;
    cdb[2..6].copy_from_slice(&sector.to_be_bytes());
    cdb[7..9].copy_from_slice(&(sectors as u16).to_be_bytes());
    Request {
        to: Address::default(),
        cdb,
        length: 10,
        bytes: sectors * SECTOR,
        out,
        timeout: 10,
        function: EXECUTE,
        about: About::Unit,
    }
}

/// What a sector of the dump holds.
fn pattern(sector: u32, at: u32) -> u8 {
    (sector.wrapping_mul(31) ^ at.wrapping_mul(7) ^ 0xd5) as u8
}

impl Port {
    /// The system has crashed: the disk gets a dump, and what it holds then is looked at.
    pub fn dump(&self, function: Function, argument: &str) {
        if processor::are_several() {
            // KeBugCheckEx has them do nothing any more.
            let text = match smp::stop_others() {
                true => "the other processors have stopped",
                false => "another processor does not stop",
            };
            dbg_print!("NT: {text}");
        }
        cpu::set_priority(HIGH_LEVEL);
        let written = self.write_dump(function, argument);
        let text = match written {
            Ok(()) => {
                checks::kept(self.number(), Check::Dump);
                dbg_print!("NT: the crash dump is written");
                return;
            }
            Err(text) => text,
        };
        checks::broken(self.number(), Check::Dump, format_args!("{text}"));
    }

    fn write_dump(&self, function: Function, argument: &str) -> Result<(), &'static str> {
        // A fresh device extension, and requests of its own.
        self.found(function);
        for n in 0..super::srb::MOST {
            self.forget(n);
            self.take_ended(n);
        }
        if !dump_entry() {
            return Err("DriverEntry does not register for a crash dump");
        }
        self.with(|state| state.packets = super::packet::Packets::NONE);
        let argument = match argument {
            "" => "dump=1".into(),
            argument => alloc::format!("dump=1;{argument}"),
        };
        let levels = (HIGH_LEVEL, 0);
        self.find_adapter(function, 0, levels, &argument)
            .map_err(|_| "HwStorFindAdapter does not find the adapter for a crash dump")?;
        self.initialize()
            .map_err(|_| "HwStorInitialize fails for a crash dump")?;
        // As for any unit: it is asked for its size first.
        let capacity = Request {
            bytes: 8,
            ..command(0x25, 0, 0, false)
        };
        self.carry_out(&capacity)?;
        for n in 0..WRITES {
            let sector = n as u32 * SECTORS;
            self.fill(|at| pattern(sector + at / SECTOR, at));
            self.carry_out(&command(0x2a, sector, SECTORS, true))?;
        }
        for n in 0..WRITES {
            let sector = n as u32 * SECTORS;
            self.fill(|_| 0);
            self.carry_out(&command(0x28, sector, SECTORS, false))?;
            if !self.holds(|at| pattern(sector + at / SECTOR, at)) {
                return Err("the disk does not hold the crash dump");
            }
        }
        Ok(())
    }

    /// Gives a request to the miniport and calls its interrupt routine until it is completed. One that is to be
    /// asked for again is.
    fn carry_out(&self, request: &Request) -> Result<(), &'static str> {
        const TRIES: u32 = 8;
        if self.room(OWN, SECTORS * SECTOR).is_none() {
            return Err("there is no memory for a crash dump");
        }
        for _ in 0..TRIES {
            self.start(OWN, request, 0);
            let end = time::now() + LIMIT_US;
            let ended = loop {
                if let Some(ended) = self.take_ended(OWN) {
                    break Some(ended);
                }
                if time::now() >= end {
                    break None;
                }
                self.interrupt(None);
            };
            match ended {
                Some(Ended::Well(_)) => return Ok(()),
                Some(Ended::Again) => {}
                Some(Ended::Failed(..)) => return Err("a request of a crash dump fails"),
                None => return Err("a request of a crash dump is not completed"),
            }
        }
        Err("a request of a crash dump is put off again and again")
    }

    fn fill(&self, byte: impl Fn(u32) -> u8) {
        if let Some(data) = self.room(OWN, SECTORS * SECTOR) {
            for at in 0..SECTORS * SECTOR {
                // SAFETY: the room has this size.
                unsafe { (data as *mut u8).add(at as usize).write_volatile(byte(at)) };
            }
        }
    }

    fn holds(&self, byte: impl Fn(u32) -> u8) -> bool {
        let Some(data) = self.room(OWN, SECTORS * SECTOR) else {
            return false;
        };
        (0..SECTORS * SECTOR).all(|at| {
            // SAFETY: the room has this size.
            unsafe { (data as *const u8).add(at as usize).read_volatile() == byte(at) }
        })
    }
}

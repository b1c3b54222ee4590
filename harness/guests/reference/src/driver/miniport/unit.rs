//! The logical unit at target 0: what a class driver asks before it uses it.

use crate::dbg_print;
use crate::hal::time;
use crate::nt::storport::{About, EXECUTE, Ended, Port, Request};

/// The request that is used for this; loads have those below.
const OWN: usize = 64;
/// How often a unit that is busy is asked again.
const TRIES: u32 = 8;
/// Bytes of the largest answer.
const ANSWER: u32 = 64;

/// What is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unit {
    /// Its size in sectors of 512 bytes; 0 for a unit that does not answer.
    pub sectors: u64,
    /// How often it has been put to work.
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
        cdb,
        length: bytes.len() as u8,
        bytes: answer,
        out: false,
        timeout: 10,
        function: EXECUTE,
        about: About::Unit,
    }
}

/// Asks and waits. The answer.
fn ask(port: &Port, request: &Request, timeout_ms: u64) -> Option<([u8; ANSWER as usize], u32)> {
    let data = port.room(OWN, ANSWER)?;
    for _ in 0..TRIES {
        port.start(OWN, request, 0);
        let mut ended = None;
        let in_time = time::poll(timeout_ms * 1000, || {
            ended = port.take_ended(OWN);
            ended.is_some()
        });
        match ended {
            Some(Ended::Well(bytes)) => {
                let mut answer = [0; ANSWER as usize];
                for (n, byte) in answer.iter_mut().enumerate() {
                    // SAFETY: the room has this size.
                    *byte = unsafe { (data as *const u8).add(n).read() };
                }
                return Some((answer, bytes));
            }
            Some(Ended::Again) => {}
            Some(Ended::Failed(status, scsi)) => {
                dbg_print!(
                    "DISK: command {:#04x}: SRB status {status:#04x}, SCSI status {scsi:#04x}",
                    request.cdb[0]
                );
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

impl Unit {
    /// INQUIRY and READ CAPACITY, as when a disk is found; when it is found again also what [`Unit::used`] asks.
    pub fn find(&mut self, port: &Port, timeout_ms: u64) {
        let inquiry = command(&[0x12, 0, 0, 0, 36, 0], 36);
        if let Some((answer, _)) = ask(port, &inquiry, timeout_ms) {
            let text = |range: core::ops::Range<usize>| {
                core::str::from_utf8(&answer[range])
                    .unwrap_or("?")
                    .trim_end()
            };
            dbg_print!("DISK: {} {}", text(8..16), text(16..32));
            port.unit_found();
            if core::mem::replace(&mut self.known, true) {
                questions(port, timeout_ms);
            }
        }
        self.sectors = capacity(port, timeout_ms).unwrap_or(0);
        dbg_print!("DISK: {} sectors", self.sectors);
    }

    /// A load went well: REPORT LUNS, the pages of INQUIRY and TEST UNIT READY, the first time.
    pub fn used(&mut self, port: &Port, timeout_ms: u64) {
        if !core::mem::replace(&mut self.asked, true) {
            questions(port, timeout_ms);
        }
    }

    /// The miniport has said that something changed. A unit that does not answer is not there.
    pub fn changed(&mut self, port: &Port, timeout_ms: u64) {
        self.sectors = capacity(port, timeout_ms).unwrap_or(0);
        self.changed = Some(self.sectors);
    }

    /// The size after a change that nobody has asked about yet.
    pub fn take_change(&mut self) -> Option<u64> {
        self.changed.take()
    }
}

/// What anybody may ask a disk at any time.
fn questions(port: &Port, timeout_ms: u64) {
    luns(port, timeout_ms);
    pages(port, timeout_ms);
    // Its outcome is nobody's business: who is not ready says so again.
    ask(port, &command(&[0; 6], 0), timeout_ms);
}

/// REPORT LUNS: there is to be one unit.
fn luns(port: &Port, timeout_ms: u64) {
    let request = command(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64);
    if let Some((answer, _)) = ask(port, &request, timeout_ms) {
        // A list of eight bytes for each.
        let units = answer[..4]
            .iter()
            .fold(0, |n, byte| n << 8 | u32::from(*byte))
            / 8;
        if units != 1 {
            dbg_print!("DISK: {units} units at target 0");
        }
    }
}

/// The pages of INQUIRY that every unit has by now: the list of them, the serial number, the identification.
fn pages(port: &Port, timeout_ms: u64) {
    let page = |page: u8| command(&[0x12, 1, page, 0, 64, 0], 64);
    let Some((list, _)) = ask(port, &page(0), timeout_ms) else {
        return;
    };
    let count = usize::from(list[3]).min(list.len() - 4);
    for known in [0x80, 0x83, 0xb0, 0xb2] {
        if list[4..4 + count].contains(&known) {
            ask(port, &page(known), timeout_ms);
        }
    }
}

fn capacity(port: &Port, timeout_ms: u64) -> Option<u64> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let (answer, _) = ask(
        port,
        &command(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8),
        timeout_ms,
    )?;
    let last = number(&answer[..4]);
    if last != 0xffff_ffff {
        return Some(last + 1);
    }
    let long = command(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 32);
    let (answer, _) = ask(port, &long, timeout_ms)?;
    Some(number(&answer[..8]) + 1)
}

//! The target's end of a kernel debugger's line, as a Windows kernel keeps it: one thing at a time,
//! and stopped until it is answered.

use super::serial::Serial;
use crate::hal::time;
use alloc::vec::Vec;

/// How long an answer is waited for, in microseconds.
const ANSWER_US: u64 = 200_000;
/// How often what may be dropped is sent.
const TRIES: u32 = 20;
const INITIAL_ID: u32 = 0x8080_0000;
const SYNC: u32 = 0x800;
const BREAK_IN: u8 = b'b';
const MOST_PAYLOAD: usize = 4000;
const TRAILER: u8 = 0xaa;

const MANIPULATE: u16 = 2;
const DEBUG_IO: u16 = 3;
const STATE_CHANGE: u16 = 7;
const FILE_IO: u16 = 11;

const ACKNOWLEDGE: u16 = 4;
const RESEND: u16 = 5;
const RESET: u16 = 6;

const EXCEPTION: u32 = 0x3030;
const LOAD_SYMBOLS: u32 = 0x3031;
const PRINT: u32 = 0x3230;
const FILE_CREATE: u32 = 0x3430;
const BREAKPOINT: u32 = 0x8000_0003;
/// Where the kernel says that it is, and where in it its breakpoint is.
const KERNEL: u64 = 0xffff_f805_4000_0000;
const BREAK_AT: u64 = KERNEL + 0x41_8a10;
/// Why it broke in, as RCX has it then.
const BUGCHECK_FIRST: u64 = 3;

/// The target.
pub struct Target {
    line: Serial,
    ours: u32,
    theirs: u32,
    /// Nobody listens: nothing more is printed.
    gone: bool,
    rip: u64,
    rcx: u64,
}

enum Got {
    Timeout,
    Again,
    Done(Vec<u8>),
}

impl Target {
    /// A kernel that has just booted.
    pub fn new(line: Serial) -> Self {
        Self {
            line,
            ours: INITIAL_ID | SYNC,
            theirs: INITIAL_ID,
            gone: false,
            rip: BREAK_AT,
            rcx: 0,
        }
    }

    /// What a kernel tells first.
    pub fn boot(&mut self) {
        self.image("\\SystemRoot\\system32\\ntoskrnl.exe", KERNEL, 0x104_6000);
        self.image(
            "\\SystemRoot\\system32\\hal.dll",
            KERNEL - 0x10_0000,
            0x6000,
        );
        for line in [
            "KDTARGET: Refreshing KD connection\n",
            "SYSTEM: this is the reference guest in the place of a Windows\n",
        ] {
            self.print(line.as_bytes());
        }
    }

    /// Prints so many lines as fast as the port takes them. It waits for who acknowledges them, or for nobody.
    pub fn chatter(&mut self, lines: u32, waits: bool) {
        for n in 0..lines {
            let end = if n + 1 == lines {
                "chatter ends"
            } else {
                "chatter"
            };
            let text = alloc::format!("{end:-<80} line {n}\n");
            if waits {
                self.print(text.as_bytes());
                continue;
            }
            let frame = self.frame(DEBUG_IO, &printed(text.as_bytes()));
            self.line.send(&frame);
            self.ours = (self.ours & !SYNC) ^ 1;
            // Whoever answers is not kept from it.
            while self.line.take().is_some() {}
        }
    }

    /// `DbgPrint`.
    pub fn print(&mut self, text: &[u8]) {
        if self.gone || text.is_empty() {
            return;
        }
        self.send(DEBUG_IO, &printed(text), true);
    }

    /// A driver is about to be loaded: is there another file for it? Then it is.
    pub fn load(&mut self, path: &str, base: u64, size: u32) {
        let mut payload = Vec::from(FILE_CREATE.to_le_bytes());
        payload.resize(64, 0);
        payload.extend(path.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        self.exchange(FILE_IO, &payload);
        self.image(path, base, size);
    }

    /// Whether somebody asks the kernel to stop; then it has, and runs again.
    pub fn poll(&mut self) {
        while let Some(byte) = self.line.take() {
            if byte == BREAK_IN {
                self.rcx = 0;
                self.stop();
            }
        }
    }

    /// The kernel is about to crash: its text, and its stop. Returns when it is to go on.
    pub fn crash(&mut self, code: u32, parameters: [u64; 4]) {
        let [a, b, c, d] = parameters;
        let text = alloc::format!(
            "\n*** Fatal System Error: 0x{code:08x}\n                       \
             (0x{a:016X},0x{b:016X},0x{c:016X},0x{d:016X})\n\n"
        );
        self.gone = false;
        self.print(text.as_bytes());
        self.print(b"Driver at fault: standin.sys.\n");
        self.rcx = BUGCHECK_FIRST;
        self.stop();
    }

    /// The machine is about to be reset.
    pub fn reboots(&mut self) {
        let mut payload = state(LOAD_SYMBOLS);
        payload[40..48].fill(0xff);
        payload[64] = 1;
        self.stopped(&payload);
    }

    fn image(&mut self, path: &str, base: u64, size: u32) {
        let mut payload = state(LOAD_SYMBOLS);
        payload[32..36].copy_from_slice(&(path.len() as u32 + 1).to_le_bytes());
        payload[40..48].copy_from_slice(&base.to_le_bytes());
        payload[60..64].copy_from_slice(&size.to_le_bytes());
        payload.extend(path.as_bytes());
        payload.push(0);
        self.stopped(&payload);
    }

    /// At the kernel's own breakpoint.
    fn stop(&mut self) {
        let mut payload = state(EXCEPTION);
        self.rip = BREAK_AT;
        payload[24..32].copy_from_slice(&BREAK_AT.to_le_bytes());
        payload[32..36].copy_from_slice(&BREAKPOINT.to_le_bytes());
        payload[48..56].copy_from_slice(&BREAK_AT.to_le_bytes());
        payload[212..214].copy_from_slice(&2u16.to_le_bytes());
        payload[216..218].copy_from_slice(&[0xcc, 0xc3]);
        payload.extend([0; 4]);
        // Whoever goes on without moving RIP is there again.
        while self.rip == BREAK_AT {
            self.stopped(&payload);
        }
    }

    /// Is stopped until it is told to go on.
    fn stopped(&mut self, payload: &[u8]) {
        loop {
            self.send(STATE_CHANGE, payload, false);
            loop {
                match self.receive(Some(MANIPULATE)) {
                    Got::Again => break,
                    Got::Timeout => {}
                    Got::Done(request) if request.len() < 56 => {}
                    Got::Done(request) => {
                        if self.obey(&request) {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Does what is asked of the stopped kernel. Whether it goes on.
    fn obey(&mut self, request: &[u8]) -> bool {
        let word = |at: usize| {
            let bytes = request.get(at..at + 4).unwrap_or(&[0; 4]);
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        let mut answer = Vec::from(&request[..56]);
        answer[8..12].fill(0);
        match word(0) {
            0x313b => super::reset(),
            0x313c => return true,
            0x3146 => {
                answer[16..18].copy_from_slice(&15u16.to_le_bytes());
                answer[18..20].copy_from_slice(&26100u16.to_le_bytes());
                answer[24..26].copy_from_slice(&0x8664u16.to_le_bytes());
                answer[32..40].copy_from_slice(&KERNEL.to_le_bytes());
            }
            0x315f => {
                let value = if word(16) == 0xf8 { self.rip } else { self.rcx };
                answer.extend(value.to_le_bytes());
            }
            0x3160 => {
                if let Some(value) = request.get(56..64).and_then(|v| v.try_into().ok()) {
                    self.rip = u64::from_le_bytes(value);
                }
            }
            _ => answer[8..12].copy_from_slice(&0xc000_0002u32.to_le_bytes()),
        }
        self.send(MANIPULATE, &answer, false);
        false
    }

    fn exchange(&mut self, kind: u16, payload: &[u8]) {
        if self.gone {
            return;
        }
        while self.send(kind, payload, true) {
            match self.receive(Some(kind)) {
                Got::Done(_) => return,
                Got::Again | Got::Timeout => {}
            }
        }
    }

    /// Sends until it is acknowledged. What may be dropped is given up in the end.
    fn send(&mut self, kind: u16, payload: &[u8], droppable: bool) -> bool {
        let mut tries = TRIES;
        loop {
            self.line.send(&self.frame(kind, payload));
            match self.receive(None) {
                Got::Done(_) => {
                    self.ours &= !SYNC;
                    return true;
                }
                Got::Again => {}
                Got::Timeout => {
                    tries = tries.saturating_sub(1);
                    if tries == 0 && droppable {
                        (self.ours, self.theirs) = (INITIAL_ID | SYNC, INITIAL_ID);
                        self.gone = true;
                        return false;
                    }
                }
            }
        }
    }

    fn frame(&self, kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u16;
        let mut frame = header(b'0', kind, length, self.ours, sum(payload));
        frame.extend(payload);
        frame.push(TRAILER);
        frame
    }

    fn control(&self, kind: u16, id: u32) {
        self.line.send(&header(b'i', kind, 0, id, 0));
    }

    /// Waits for an acknowledgement (`wanted` none) or for a payload.
    fn receive(&mut self, wanted: Option<u16>) -> Got {
        let until = time::now() + ANSWER_US;
        loop {
            let Some((leader, kind, length, id, sum)) = self.head(until) else {
                return Got::Timeout;
            };
            if leader == b'i' {
                match kind {
                    ACKNOWLEDGE if wanted.is_none() && id == self.ours & !SYNC => {
                        self.ours ^= 1;
                        return Got::Done(Vec::new());
                    }
                    RESEND => return Got::Again,
                    RESET => {
                        (self.ours, self.theirs) = (INITIAL_ID, INITIAL_ID);
                        self.control(RESET, 0);
                        return Got::Again;
                    }
                    _ => continue,
                }
            }
            if wanted.is_none() {
                // It speaks of something else, so it has what we sent.
                self.control(RESEND, 0);
                self.ours ^= 1;
                return Got::Done(Vec::new());
            }
            if length > MOST_PAYLOAD {
                self.control(RESEND, 0);
                continue;
            }
            let payload = self.bytes(length, until);
            let end = self.line.wait(until);
            let good = |p: &Vec<u8>| end == Some(TRAILER) && self::sum(p) == sum;
            let Some(payload) = payload.filter(good) else {
                self.control(RESEND, 0);
                continue;
            };
            self.control(ACKNOWLEDGE, id);
            if id == self.theirs && Some(kind) == wanted {
                self.theirs ^= 1;
                return Got::Done(payload);
            }
        }
    }

    /// Leader, kind, length, id and sum of the next frame.
    fn head(&self, until: u64) -> Option<(u8, u16, usize, u32, u32)> {
        let (mut same, mut last) = (0, 0);
        while same < 4 {
            let byte = self.line.wait(until)?;
            same = match byte {
                b'0' | b'i' if byte == last => same + 1,
                b'0' | b'i' => 1,
                _ => 0,
            };
            last = byte;
        }
        let header = self.bytes(12, until)?;
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        Some((last, half(0), usize::from(half(2)), word(4), word(8)))
    }

    fn bytes(&self, count: usize, until: u64) -> Option<Vec<u8>> {
        (0..count).map(|_| self.line.wait(until)).collect()
    }
}

fn header(leader: u8, kind: u16, length: u16, id: u32, sum: u32) -> Vec<u8> {
    let mut bytes = alloc::vec![leader; 4];
    bytes.extend(kind.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(id.to_le_bytes());
    bytes.extend(sum.to_le_bytes());
    bytes
}

fn sum(payload: &[u8]) -> u32 {
    payload
        .iter()
        .fold(0, |sum: u32, b| sum.wrapping_add(u32::from(*b)))
}

/// What a print carries, on processor 0.
fn printed(text: &[u8]) -> Vec<u8> {
    let mut payload = Vec::from(PRINT.to_le_bytes());
    payload.extend([6, 0, 0, 0]);
    payload.extend((text.len() as u32).to_le_bytes());
    payload.extend([0; 4]);
    payload.extend(text);
    payload
}

/// The fixed part of a state change, on processor 0 of one.
fn state(what: u32) -> Vec<u8> {
    let mut payload = alloc::vec![0; 240];
    payload[..4].copy_from_slice(&what.to_le_bytes());
    payload[8] = 1;
    payload
}

//! The target's end of the line, as a kernel keeps it: one thing at a time, stopped until it is
//! answered. The line between may damage frames. Time is virtual: it passes when both ends wait.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;

use crate::log::kd::frame::{BREAK_IN, Control, Frame, INITIAL_ID, SYNC, kind};
use crate::log::kd::{Client, Event, OnBugcheck};

const TIMEOUT: Duration = Duration::from_millis(200);
const RETRIES: u32 = 20;

pub const PRINT: u32 = 0x3230;
const GET_STRING: u32 = 0x3231;
const EXCEPTION: u32 = 0x3030;
const LOAD_SYMBOLS: u32 = 0x3031;

/// A kernel under a debugger, with the line between them.
pub struct Target {
    pub client: Client,
    pub now: Duration,
    pub events: Vec<Event>,
    pub current: u32,
    pub remote: u32,
    /// The debugger did not answer, so nothing more is printed.
    pub gone: bool,
    pub resets: u32,
    /// What was asked of the stopped target, in order.
    pub asked: Vec<u32>,
    /// The context's rip and rcx.
    pub rip: u64,
    pub rcx: u64,
    /// Memory, from an address on.
    pub memory: Vec<(u64, Vec<u8>)>,
    incoming: VecDeque<u8>,
    rng: Rng,
    /// Of a thousand frames so many are damaged.
    damage: u32,
    frames: u32,
}

enum Got {
    Timeout,
    Again,
    Done(Vec<u8>),
}

impl Target {
    pub fn new(late: bool, on_bugcheck: OnBugcheck) -> Self {
        Self {
            client: Client::new(late, on_bugcheck),
            now: Duration::ZERO,
            events: Vec::new(),
            current: INITIAL_ID | SYNC,
            remote: INITIAL_ID,
            gone: false,
            resets: 0,
            asked: Vec::new(),
            rip: 0,
            rcx: 0,
            memory: Vec::new(),
            incoming: VecDeque::new(),
            rng: Rng::with_seed(0),
            damage: 0,
            frames: 0,
        }
    }

    pub fn damaged(mut self, per_thousand: u32, seed: u64) -> Self {
        self.damage = per_thousand;
        self.rng = Rng::with_seed(seed);
        self
    }

    /// A frame as it comes out of the line.
    fn through(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        self.frames += 1;
        assert!(self.frames < 20_000, "the two ends never agree");
        if !bytes.is_empty() && self.rng.u32(0..1000) < self.damage {
            let at = self.rng.usize(0..bytes.len());
            match self.rng.bool() {
                true => drop(bytes.remove(at)),
                false => bytes[at] ^= 1 << self.rng.u8(0..8),
            }
        }
        bytes
    }

    fn say(&mut self, frame: &Frame) {
        let bytes = self.through(frame.bytes());
        self.client.receive(self.now, &bytes);
        self.collect();
    }

    fn control(&mut self, control: Control, id: u32) {
        self.say(&Frame::Control { control, id });
    }

    /// Takes what the client has to say and tell.
    pub fn collect(&mut self) {
        let bytes = self.client.take_output();
        let bytes = self.through(bytes);
        self.incoming.extend(bytes);
        while let Some(event) = self.client.next_event() {
            self.events.push(event);
        }
    }

    fn byte(&mut self, until: Duration) -> Option<u8> {
        loop {
            if let Some(byte) = self.incoming.pop_front() {
                return Some(byte);
            }
            let next = self.client.deadline().unwrap_or(until).max(self.now);
            if next >= until {
                self.now = until;
                return None;
            }
            self.now = next + Duration::from_micros(1);
            self.client.tick(self.now);
            self.collect();
        }
    }

    fn bytes(&mut self, count: usize, until: Duration) -> Option<Vec<u8>> {
        (0..count).map(|_| self.byte(until)).collect()
    }

    fn leader(&mut self, until: Duration) -> Option<u8> {
        let (mut same, mut last) = (0, 0);
        loop {
            let byte = self.byte(until)?;
            match byte {
                b'0' | b'i' if byte == last => same += 1,
                b'0' | b'i' => (same, last) = (1, byte),
                _ => (same, last) = (0, byte),
            }
            if same == 4 {
                return Some(last);
            }
        }
    }

    /// Waits for an acknowledgement (`wanted` none) or for a payload.
    fn receive(&mut self, wanted: Option<u16>) -> Got {
        let until = self.now + TIMEOUT;
        loop {
            let Some(leader) = self.leader(until) else {
                return Got::Timeout;
            };
            let Some(header) = self.bytes(12, until) else {
                return Got::Timeout;
            };
            let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
            let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
            let (what, length, id, sum) = (half(0), usize::from(half(2)), word(4), word(8));
            if leader == b'i' {
                match what {
                    4 if wanted.is_none() && id == self.current & !SYNC => {
                        self.current ^= 1;
                        return Got::Done(Vec::new());
                    }
                    5 => return Got::Again,
                    6 => {
                        self.current = INITIAL_ID;
                        self.remote = INITIAL_ID;
                        self.resets += 1;
                        self.control(Control::Reset, 0);
                        return Got::Again;
                    }
                    _ => continue,
                }
            }
            if wanted.is_none() {
                self.control(Control::Resend, 0);
                self.current ^= 1;
                return Got::Done(Vec::new());
            }
            let payload = (length <= 4000)
                .then(|| self.bytes(length, until))
                .flatten();
            let end = payload.as_ref().and_then(|_| self.byte(until));
            let good = |p: &Vec<u8>| p.iter().map(|b| u32::from(*b)).sum::<u32>() == sum;
            let Some(payload) = payload.filter(|p| end == Some(0xaa) && good(p)) else {
                self.control(Control::Resend, 0);
                continue;
            };
            self.control(Control::Ack, id);
            if id == self.remote && Some(what) == wanted {
                self.remote ^= 1;
                return Got::Done(payload);
            }
        }
    }

    /// Sends until it is acknowledged. What may be dropped is given up in the end.
    fn send(&mut self, kind: u16, payload: &[u8], droppable: bool) -> bool {
        let mut tries = RETRIES;
        loop {
            let frame = Frame::Data {
                kind,
                id: self.current,
                payload: payload.to_vec(),
            };
            self.say(&frame);
            match self.receive(None) {
                Got::Done(_) => {
                    self.current &= !SYNC;
                    return true;
                }
                Got::Again => {}
                Got::Timeout => {
                    tries = tries.saturating_sub(1);
                    if tries == 0 && droppable {
                        (self.current, self.remote) = (INITIAL_ID | SYNC, INITIAL_ID);
                        self.gone = true;
                        return false;
                    }
                    assert!(self.now < Duration::from_secs(3600), "nobody answers");
                }
            }
        }
    }

    fn exchange(&mut self, kind: u16, payload: &[u8]) -> Vec<u8> {
        loop {
            self.send(kind, payload, false);
            loop {
                match self.receive(Some(kind)) {
                    Got::Done(answer) => return answer,
                    Got::Again => break,
                    Got::Timeout => assert!(self.now < Duration::from_secs(3600), "nobody answers"),
                }
            }
        }
    }

    pub fn print(&mut self, cpu: u16, text: &str) {
        let mut payload = PRINT.to_le_bytes().to_vec();
        payload.extend([6, 0]);
        payload.extend(cpu.to_le_bytes());
        payload.extend((text.len() as u32).to_le_bytes());
        payload.extend([0; 4]);
        payload.extend(text.as_bytes());
        self.send(kind::DEBUG_IO, &payload, true);
    }

    /// Asks whoever sits at the debugger.
    pub fn prompt(&mut self, text: &str) -> String {
        let mut payload = GET_STRING.to_le_bytes().to_vec();
        payload.extend([6, 0, 0, 0]);
        payload.extend((text.len() as u32).to_le_bytes());
        payload.extend(2u32.to_le_bytes());
        payload.extend(text.as_bytes());
        let answer = self.exchange(kind::DEBUG_IO, &payload);
        String::from_utf8_lossy(&answer[16..]).into_owned()
    }

    /// Asks for a file of the host; the status.
    pub fn file(&mut self, name: &str) -> u32 {
        let mut payload = 0x3430u32.to_le_bytes().to_vec();
        payload.resize(64, 0);
        payload.extend(name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        let answer = self.exchange(kind::FILE_IO, &payload);
        u32::from_le_bytes([answer[4], answer[5], answer[6], answer[7]])
    }

    pub fn image(&mut self, path: &str, base: u64, size: u32, unload: bool) {
        let mut payload = vec![0; 240];
        payload[..4].copy_from_slice(&LOAD_SYMBOLS.to_le_bytes());
        let name = [path.as_bytes(), b"\0"].concat();
        let name = if path.is_empty() { Vec::new() } else { name };
        payload[32..36].copy_from_slice(&(name.len() as u32).to_le_bytes());
        payload[40..48].copy_from_slice(&base.to_le_bytes());
        payload[60..64].copy_from_slice(&size.to_le_bytes());
        payload[64] = unload.into();
        payload.extend(name);
        self.stop(&payload);
    }

    /// Stops for an exception at `address`; the status with which it is told to go on.
    pub fn exception(&mut self, code: u32, address: u64, bytes: &[u8]) -> u32 {
        let mut payload = vec![0; 240];
        payload[..4].copy_from_slice(&EXCEPTION.to_le_bytes());
        payload[24..32].copy_from_slice(&address.to_le_bytes());
        payload[32..36].copy_from_slice(&code.to_le_bytes());
        payload[48..56].copy_from_slice(&address.to_le_bytes());
        payload[212..214].copy_from_slice(&(bytes.len() as u16).to_le_bytes());
        payload[216..216 + bytes.len()].copy_from_slice(bytes);
        payload.extend([0; 4]);
        self.rip = address;
        self.stop(&payload)
    }

    /// Is stopped until it is told to go on.
    fn stop(&mut self, payload: &[u8]) -> u32 {
        loop {
            self.send(kind::STATE_CHANGE, payload, false);
            loop {
                match self.receive(Some(kind::MANIPULATE)) {
                    Got::Again => break,
                    Got::Timeout => {
                        // A client that holds the target has nothing to say until it is told to.
                        if self.events.last() == Some(&Event::Stopped) {
                            let now = self.now;
                            self.client.go_on(now);
                            self.collect();
                        }
                        assert!(self.now < Duration::from_secs(3600), "nobody lets it go on");
                    }
                    Got::Done(request) => {
                        if let Some(status) = self.answer(&request) {
                            return status;
                        }
                    }
                }
            }
        }
    }

    fn answer(&mut self, request: &[u8]) -> Option<u32> {
        let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
        let api = word(0);
        self.asked.push(api);
        let mut answer = request[..56].to_vec();
        answer[8..12].fill(0);
        match api {
            0x313c => return Some(word(16)),
            0x3146 => {
                answer[18..20].copy_from_slice(&26100u16.to_le_bytes());
                answer[24..26].copy_from_slice(&0x8664u16.to_le_bytes());
                answer[32..40].copy_from_slice(&0xffff_f805_4000_0000u64.to_le_bytes());
                answer[48..56].copy_from_slice(&0x1000u64.to_le_bytes());
            }
            0x315f => {
                let value = if word(16) == 0xf8 { self.rip } else { self.rcx };
                answer.extend(value.to_le_bytes());
            }
            0x3160 => self.rip = u64::from_le_bytes(request[56..64].try_into().unwrap()),
            0x3130 => {
                let address = u64::from(word(16)) | u64::from(word(20)) << 32;
                let length = word(24) as usize;
                match self.memory.iter().find(|(at, _)| *at == address) {
                    Some((_, bytes)) => answer.extend(&bytes[..length]),
                    None => answer[8..12].copy_from_slice(&0xc000_0001u32.to_le_bytes()),
                }
            }
            _ => answer[8..12].copy_from_slice(&0xc000_0002u32.to_le_bytes()),
        }
        self.send(kind::MANIPULATE, &answer, false);
        None
    }

    /// Looks whether the debugger asked it to stop, as a running kernel does now and then.
    pub fn poll(&mut self) {
        self.collect();
        let asked = self.incoming.contains(&BREAK_IN);
        self.incoming.clear();
        if asked {
            self.exception(0x8000_0003, 0xffff_f805_4041_8a10, &[0xcc, 0xc3]);
        }
    }

    pub fn reboot(&mut self) {
        self.image("", u64::MAX, 0, true);
        self.boot();
    }

    pub fn boot(&mut self) {
        (self.current, self.remote) = (INITIAL_ID | SYNC, INITIAL_ID);
        self.image(
            "\\SystemRoot\\system32\\ntoskrnl.exe",
            0xffff_f805_4000_0000,
            0x104_6000,
            false,
        );
    }

    pub fn printed(&self) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Line { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }
}

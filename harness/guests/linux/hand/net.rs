//! Frames to an interface that sends them back, and what its driver tells it.

use super::bus::Slot;
use super::sys::{self, File};
use super::text;
use super::text::{Text, last_part, number};

/// An Ethernet type for experiments (IEEE 802), which nobody else listens to.
const TYPE: u16 = 0x88b5;
const LONGEST: usize = 1514;
const HEADER: usize = 14;
const PACKET: usize = 17;
const INET: usize = 2;
const RAW: usize = 3;
const DATAGRAM: usize = 2;
const GET_FLAGS: usize = 0x8913;
const SET_FLAGS: usize = 0x8914;
const SET_ADDRESS: usize = 0x8916;
const UP: u16 = 1;
const ALL_MULTICAST: u16 = 0x200;
/// How long a frame may take to come back, in milliseconds.
const LIMIT: usize = 3_000;

/// An interface of a device.
pub struct Net {
    path: Text,
    dev: usize,
}

impl Net {
    /// That of the device in a slot.
    pub fn of(dev: usize) -> Option<Self> {
        Self::at(&Slot(dev).virtio()?, dev)
    }

    /// That of a virtio device.
    pub fn at(virtio: &Text, dev: usize) -> Option<Self> {
        let path = sys::look(text![virtio.bytes(), "/net"].path(), |name| {
            Some(text![virtio.bytes(), "/net/", name])
        })?;
        Some(Self { path, dev })
    }

    fn line(&self, file: &str) -> Text {
        sys::line(text![self.path.bytes(), "/", file].path())
    }

    /// How often its link has changed, and how many packets it has sent: one that is told to announce itself
    /// sends something.
    pub fn shows(&self) -> Text {
        let changes = self.line("carrier_changes");
        text![
            changes.bytes(),
            ",",
            self.line("statistics/tx_packets").bytes()
        ]
    }

    /// `struct ifreq`: a name, and something about it.
    fn request(&self, about: &[u8]) -> [u8; 40] {
        let mut request = [0; 40];
        let name = last_part(self.path.bytes());
        request[..name.len().min(15)].copy_from_slice(&name[..name.len().min(15)]);
        request[16..16 + about.len()].copy_from_slice(about);
        request
    }

    /// Puts flags on or takes them off.
    fn flags(&self, which: u16, on: bool) -> bool {
        let Some(socket) = File::socket(INET, DATAGRAM, 0) else {
            return false;
        };
        let mut request = self.request(&[]);
        if !socket.control(GET_FLAGS, &mut request) {
            return false;
        }
        let now = u16::from_le_bytes([request[16], request[17]]);
        let then = if on { now | which } else { now & !which };
        request[16..18].copy_from_slice(&then.to_le_bytes());
        now == then || socket.control(SET_FLAGS, &mut request)
    }

    /// Brings it up, with an address, so that it has something to announce.
    pub fn up(&self) -> bool {
        if let Some(socket) = File::socket(INET, DATAGRAM, 0) {
            // struct sockaddr_in: family, port, 10.77.DEV.1
            let address = [INET as u8, 0, 0, 0, 10, 77, self.dev as u8, 1];
            socket.control(SET_ADDRESS, &mut self.request(&address));
        }
        self.flags(UP, true)
    }

    /// Waits for its link.
    fn linked(&self) -> bool {
        (0..LIMIT).any(|_| {
            let there = self.line("carrier").bytes() == b"1";
            if !there {
                // A carrier that is there at the first look, which is the rule, takes no socket that tells of links.
                sys::sleep(1_000);
            }
            there
        })
    }

    /// Sends frames one after the other; whether each came back as it was sent.
    pub fn frames(&self, frames: u64, size: usize, processor: Option<u64>) -> bool {
        sys::use_processor(processor);
        let back = self.linked() && self.go(frames, size.clamp(HEADER + 8, LONGEST)).is_some();
        sys::use_processor(None);
        back
    }

    fn go(&self, frames: u64, size: usize) -> Option<()> {
        let protocol = TYPE.to_be();
        let socket = File::socket(PACKET, RAW, usize::from(protocol))?;
        // struct sockaddr_ll: family, protocol, index, …
        let mut place = [0; 20];
        place[0] = PACKET as u8;
        place[2..4].copy_from_slice(&protocol.to_le_bytes());
        let index = number(self.line("ifindex").bytes()) as u32;
        place[4..8].copy_from_slice(&index.to_le_bytes());
        if !socket.bind(&place) {
            return None;
        }
        let mut frame = [0; LONGEST];
        let (mut own, text) = ([0; 6], self.line("address"));
        for (byte, digits) in own.iter_mut().zip(text.bytes().split(|byte| *byte == b':')) {
            *byte = digits.iter().fold(0, |value, digit| {
                value << 4 | (*digit as char).to_digit(16).unwrap_or(0) as u8
            });
        }
        frame[..6].copy_from_slice(&own);
        frame[6..12].copy_from_slice(&own);
        frame[12..14].copy_from_slice(&protocol.to_le_bytes());
        let frame = &mut frame[..size];
        let mut back = [0; LONGEST];
        for n in 0..frames {
            for (at, byte) in frame[HEADER..].iter_mut().enumerate() {
                *byte = (at as u64 ^ n >> (at % 8 * 8)) as u8;
            }
            socket.write(frame).ok()?;
            if !socket.ready(LIMIT) {
                return None;
            }
            let length = socket.read(&mut back).ok()?;
            if back[..length] != *frame {
                return None;
            }
        }
        Some(())
    }

    /// Has the driver tell its device something, so many times: it begins or ceases to take all multicast frames.
    pub fn control(&self, commands: u64) -> bool {
        (0..commands).all(|n| self.flags(ALL_MULTICAST, n % 2 == 0))
    }
}

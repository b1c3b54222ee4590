//! Frames on the wire of a kernel debugger over a serial line, and how they are found among noise.

/// The most bytes that a data frame carries.
pub const MAX_PAYLOAD: usize = 4000;
/// The most bytes that we send in one.
pub const MAX_SENT: usize = 0x480;
/// Asks a running target to stop: one byte, without a frame.
pub const BREAK_IN: u8 = 0x62;

/// The id that a side begins with; its lowest bit alternates.
pub const INITIAL_ID: u32 = 0x8080_0000;
/// Set in the id of the first data frame after the target booted.
pub const SYNC: u32 = 0x800;

const DATA_LEADER: u8 = 0x30;
const CONTROL_LEADER: u8 = 0x69;
const LEADER_BYTES: usize = 4;
const HEADER_BYTES: usize = 16;
const TRAILER: u8 = 0xaa;

/// What a control frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Control {
    /// The data frame with this id arrived.
    Ack = 4,
    /// Something arrived damaged: send it again.
    Resend = 5,
    /// Both sides begin again with the initial id.
    Reset = 6,
}

/// Types of data frames.
pub mod kind {
    /// Requests about a stopped target, and their answers.
    pub const MANIPULATE: u16 = 2;
    /// Text that is printed, or asked for.
    pub const DEBUG_IO: u16 = 3;
    /// The target stopped.
    pub const STATE_CHANGE: u16 = 7;
    /// The target asks for a file of the host.
    pub const FILE_IO: u16 = 11;
    /// The highest one.
    pub const LAST: u16 = FILE_IO;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// With a payload and a checksum.
    Data {
        /// What the payload is: one of [`kind`].
        kind: u16,
        /// Its id.
        id: u32,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// Without.
    Control {
        /// What it says.
        control: Control,
        /// The id that an acknowledgement is for.
        id: u32,
    },
}

impl Frame {
    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let (leader, kind, id, payload) = match self {
            Self::Data { kind, id, payload } => (DATA_LEADER, *kind, *id, payload.as_slice()),
            Self::Control { control, id } => (CONTROL_LEADER, *control as u16, *id, &[][..]),
        };
        let mut bytes = vec![leader; LEADER_BYTES];
        bytes.extend(kind.to_le_bytes());
        // Nothing of ours is longer than MAX_PAYLOAD.
        bytes.extend((payload.len() as u16).to_le_bytes());
        bytes.extend(id.to_le_bytes());
        bytes.extend(checksum(payload).to_le_bytes());
        bytes.extend(payload);
        if leader == DATA_LEADER {
            bytes.push(TRAILER);
        }
        bytes
    }
}

/// The sum of the payload's bytes.
fn checksum(payload: &[u8]) -> u32 {
    payload
        .iter()
        .map(|b| u32::from(*b))
        .fold(0, u32::wrapping_add)
}

/// What was found in the bytes that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A frame.
    Frame(Frame),
    /// A data frame whose checksum or trailer is wrong.
    Damaged,
}

/// Finds frames among what a serial port carries: other programs may print there too.
#[derive(Debug, Default)]
pub struct Scanner {
    bytes: Vec<u8>,
    /// What of it was looked at and is no part of a frame.
    done: usize,
}

impl Scanner {
    /// Takes what arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.done);
        self.done = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether a frame has begun that is not whole.
    pub fn waits(&self) -> bool {
        self.done < self.bytes.len()
    }

    /// Gives up on the frame that has begun: its first byte was none.
    pub fn skip(&mut self) {
        self.done = (self.done + 1).min(self.bytes.len());
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.done = 0;
    }

    /// The next frame, if it is whole.
    pub fn find(&mut self) -> Option<Found> {
        loop {
            self.skip_noise();
            let rest = &self.bytes[self.done..];
            if rest.len() < HEADER_BYTES {
                return None;
            }
            let half = |at: usize| u16::from_le_bytes([rest[at], rest[at + 1]]);
            let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
            let (kind, length, id, sum) = (half(4), usize::from(half(6)), word(8), word(12));
            if rest[0] == CONTROL_LEADER {
                let control = match (kind, length) {
                    (4, 0) => Control::Ack,
                    (5, 0) => Control::Resend,
                    (6, 0) => Control::Reset,
                    _ => {
                        self.skip();
                        continue;
                    }
                };
                self.done += HEADER_BYTES;
                return Some(Found::Frame(Frame::Control { control, id }));
            }
            if kind == 0 || kind > kind::LAST || length > MAX_PAYLOAD {
                self.skip();
                continue;
            }
            let end = HEADER_BYTES + length;
            if rest.len() <= end {
                return None;
            }
            let payload = rest[HEADER_BYTES..end].to_vec();
            if rest[end] != TRAILER || checksum(&payload) != sum {
                self.skip();
                return Some(Found::Damaged);
            }
            self.done += end + 1;
            return Some(Found::Frame(Frame::Data { kind, id, payload }));
        }
    }

    /// Skips what can't begin a frame.
    fn skip_noise(&mut self) {
        while let Some(&first) = self.bytes.get(self.done) {
            let rest = &self.bytes[self.done..];
            let leader = &rest[..rest.len().min(LEADER_BYTES)];
            if matches!(first, DATA_LEADER | CONTROL_LEADER) && leader.iter().all(|b| *b == first) {
                return;
            }
            self.done += 1;
        }
    }
}

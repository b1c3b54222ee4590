//! Frames that tell which one they are.

use crate::hal::mmio::Mmio;

/// Bytes of a receive buffer: the header, and the longest frame without a VLAN tag and a little more.
pub const BUFFER: usize = 2048;
/// Shortest and longest frame.
pub const SHORTEST: u64 = 60;
pub const LONGEST: u64 = 1514;
/// An EtherType for experiments (IEEE 802, local).
const TYPE: [u8; 2] = [0x88, 0xb5];
/// Where the frame's number and its pattern lie.
const NUMBER: usize = 14;
const PATTERN: usize = 22;

/// Byte `at` of frame `number` from `mac` to itself.
fn byte(mac: [u8; 6], number: u64, at: usize) -> u8 {
    match at {
        0..6 => mac[at],
        6..12 => mac[at - 6],
        12..NUMBER => TYPE[at - 12],
        NUMBER..PATTERN => number.to_be_bytes()[at - NUMBER],
        _ => (number as usize * 13 + at) as u8,
    }
}

/// Writes frame `number` of `size` bytes to `data`.
pub fn write(data: Mmio, mac: [u8; 6], number: u64, size: usize) {
    (0..size).for_each(|at| data.write(at, byte(mac, number, at)));
}

/// The number of the frame behind `start` bytes of a receive buffer; `None` for a frame of somebody else.
pub fn number(buffer: Mmio, start: usize, length: usize) -> Option<u64> {
    let frame = |at: usize| buffer.read::<u8>(start + at);
    if length < start + PATTERN || [frame(12), frame(13)] != TYPE {
        return None;
    }
    let number = (NUMBER..PATTERN).fold(0, |number, at| number << 8 | u64::from(frame(at)));
    Some(number)
}

/// Whether a receive buffer of `length` bytes holds, behind `start`, frame `number` of `size` bytes from
/// the first to the last.
pub fn is_whole(
    buffer: Mmio,
    (start, length): (usize, usize),
    mac: [u8; 6],
    number: u64,
    size: usize,
) -> bool {
    length == start + size
        && (0..size).all(|at| buffer.read::<u8>(start + at) == byte(mac, number, at))
}

//! Memory that a driver was given: what lies behind it, and where a device may reach.
//!
//! The harness holds the addresses that the device got against what is printed at the end (WIN-SPT-013), and a
//! page fault beside a piece is told with its name.

use super::checks::{self, Check};
use super::{image, storport};
use crate::dbg_print;
use crate::hal::Local;
use crate::hal::vm::{self, PAGE};
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug)]
struct Piece {
    device: usize,
    what: &'static str,
    address: u64,
    length: u64,
}

/// What the data of requests is called.
pub const DATA: &str = "a request's data";

/// Memory that lies together for a device.
type Range = (u64, u64);

struct Lent {
    pieces: Vec<Piece>,
    ranges: Vec<(usize, Range)>,
}

static LENT: Local<Lent> = Local::new(Lent {
    pieces: Vec::new(),
    ranges: Vec::new(),
});

/// The driver of a device is given `length` bytes at `address`.
pub fn lend(device: usize, what: &'static str, address: u64, length: u64) {
    let mut ranges: Vec<Range> = Vec::new();
    let end = address + length;
    let mut at = address;
    while at < end {
        let bytes = (PAGE - at % PAGE).min(end - at);
        match (vm::physical(at), ranges.last_mut()) {
            (Some(physical), Some((start, length))) if *start + *length == physical => {
                *length += bytes;
            }
            (Some(physical), _) => ranges.push((physical, bytes)),
            (None, _) => {}
        }
        at += bytes;
    }
    let piece = Piece {
        device,
        what,
        address,
        length,
    };
    LENT.with(|lent| {
        lent.pieces.push(piece);
        lent.ranges
            .extend(ranges.into_iter().map(|range| (device, range)));
    });
}

/// What a place of a device's driver is called, and how far behind its beginning it lies.
pub fn name_of(device: usize, address: u64) -> Option<(&'static str, u64)> {
    LENT.with(|lent| {
        let mut own = lent.pieces.iter().rev();
        let holds = |piece: &&Piece| {
            piece.device == device
                && (piece.address..piece.address + piece.length).contains(&address)
        };
        let piece = own.find(holds)?;
        Some((piece.what, address - piece.address))
    })
}

/// What the driver of a device was given, without the data of requests: where, and how many bytes.
pub fn pieces(device: usize) -> Vec<(u64, u64)> {
    LENT.with(|lent| {
        let own = lent.pieces.iter().filter(|piece| piece.device == device);
        let own = own.filter(|piece| piece.what != DATA);
        own.map(|piece| (piece.address, piece.length)).collect()
    })
}

/// A page fault at `address`, of the instruction at `rip`: told if it is right beside a piece.
pub fn touched(address: u64, rip: u64) {
    let beside = LENT.with(|lent| {
        let mut pieces = lent.pieces.iter().copied();
        pieces.find_map(|piece| {
            let end = piece.address + piece.length;
            let first = piece.address / PAGE * PAGE;
            match address {
                at if (end..end.next_multiple_of(PAGE) + PAGE).contains(&at) => {
                    Some((piece, "behind the end of"))
                }
                at if (first.saturating_sub(PAGE)..first).contains(&at) => {
                    Some((piece, "before the beginning of"))
                }
                _ => None,
            }
        })
    });
    let Some((piece, place)) = beside else { return };
    let routine = storport::current_routine();
    let at = image::image().and_then(|image| image.place(rip));
    let at = at.as_deref().unwrap_or("a routine that it called");
    let what = piece.what;
    let text = format_args!("memory {place} {what} is touched, in {routine} at {at}");
    checks::broken(piece.device, Check::Bounds, text);
}

/// Pieces of one size at equal distances: where the first is, its bytes, the distance, how many there are.
fn runs(mut ranges: Vec<Range>) -> Vec<(u64, u64, u64, u64)> {
    ranges.sort_unstable();
    let mut all: Vec<(u64, u64, u64, u64)> = Vec::new();
    for (at, length) in ranges {
        match all.last_mut() {
            Some((start, bytes, every, times)) if *bytes == length && *times == 1 => {
                *every = at - *start;
                *times = 2;
            }
            Some((start, bytes, every, times))
                if *bytes == length && *start + *every * *times == at =>
            {
                *times += 1;
            }
            _ => all.push((at, length, 0, 1)),
        }
    }
    all
}

/// Prints what the driver of a device was given.
pub fn print(device: usize) {
    let ranges: Vec<Range> = LENT.with(|lent| {
        let own = lent.ranges.iter().filter(|(owner, _)| *owner == device);
        own.map(|(_, range)| *range).collect()
    });
    if ranges.is_empty() {
        return;
    }
    checks::kept(device, Check::Bounds);
    for (at, bytes, every, times) in runs(ranges) {
        dbg_print!("NT: lent dev={device} at={at} bytes={bytes} every={every} times={times}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn pieces_at_equal_distances_are_one_run() {
        let ranges = vec![(0x5000, 96), (0x1000, 96), (0x3000, 96), (0x9000, 32)];
        assert_eq!(
            runs(ranges),
            vec![(0x1000, 96, 0x2000, 3), (0x9000, 32, 0, 1)]
        );
        assert_eq!(
            runs(vec![(0, 8), (16, 8), (40, 8)]),
            vec![(0, 8, 16, 2), (40, 8, 0, 1)]
        );
    }
}

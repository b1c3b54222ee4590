//! A console with one port (virtio 1.3, 5.3).

use super::base::{Base, Tally};
use super::function::{Function, Wanted};
use super::queue::{Part, Slot, State};
use super::registers::Registers;
use super::spec::{console, feature};
use crate::dbg_print;
use crate::driver::Settings;
use crate::driver::args::Args;
use crate::hal::time;
use crate::nt::status::NtStatus;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Places of the queues.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// Receive buffers posted ahead, and the bytes of each.
const RECEIVE_BUFFERS: u16 = 8;
const RECEIVE_SIZE: usize = 256;
/// Longest line and longest load.
const LONGEST_LINE: u64 = 256;
const SHORTEST_LINE: u64 = 8;
const MOST_LINES: u64 = 1 << 20;

/// What the driver knows of a console.
#[derive(Default)]
pub struct Console {
    /// Columns and rows, when the device says so.
    size: Option<(u16, u16)>,
    /// Bytes received since the device was added.
    received: u64,
    /// Bytes that nobody has looked at.
    unread: Vec<u8>,
    load: Option<Load>,
}

struct Load {
    lines: u64,
    size: usize,
    /// Lines written.
    written: u64,
    /// Bytes that have come back of the line awaited, and until when the next ones are awaited.
    back: usize,
    deadline: u64,
}

fn size(config: Registers) -> (u16, u16) {
    (config.read(console::COLS), config.read(console::ROWS))
}

/// Byte `at` of line `line`, whose last byte is a line feed.
fn byte(line: u64, at: usize, size: usize) -> u8 {
    if at + 1 == size {
        b'\n'
    } else {
        b'!' + ((line as usize * 7 + at) % 94) as u8
    }
}

impl Console {
    fn read_size(&mut self, base: &mut Base) -> String {
        let size = base
            .may_read(feature::CONSOLE_SIZE)
            .then(|| base.config(size))
            .flatten();
        let Some((cols, rows)) = size else {
            return "change=1".into();
        };
        if self.size != size {
            dbg_print!("VIRTIO: console of {cols} columns and {rows} rows");
        }
        self.size = size;
        format!("cols={cols} rows={rows}")
    }

    /// Compares what has come with what was written.
    fn compare(&mut self, base: &Base, tally: &mut Tally) {
        let Some(load) = &mut self.load else { return };
        for found in self.unread.drain(..) {
            if tally.finished == load.written {
                dbg_print!("VIRTIO: console: {found:#04x} that was not written");
                tally.errors += 1;
                continue;
            }
            let awaited = byte(tally.finished, load.back, load.size);
            if found != awaited {
                dbg_print!(
                    "VIRTIO: console: line {}: {found:#04x} instead of {awaited:#04x}",
                    tally.finished
                );
                tally.errors += 1;
            }
            tally.resets = 0;
            load.deadline = base.time_limit();
            load.back += 1;
            if load.back == load.size {
                load.back = 0;
                tally.finished += 1;
            }
        }
    }
}

impl Function for Console {
    const FEATURES: u64 = feature::CONSOLE_SIZE;

    fn new(_settings: Settings) -> Self {
        Self::default()
    }

    fn set_up(&mut self, base: &mut Base) -> Result<Vec<Wanted>, NtStatus> {
        self.read_size(base);
        let depth = base.settings.depth;
        let receive = Wanted {
            index: 0,
            depth: RECEIVE_BUFFERS,
        };
        Ok(if base.registers()?.queues() < 2 {
            Vec::new()
        } else {
            vec![receive, Wanted { index: 1, depth }]
        })
    }

    /// What had come back of a line that is written again, or may be lost with the ring that it was in,
    /// is nothing any more.
    fn before_live(&mut self, base: &mut Base) {
        let deadline = base.time_limit();
        base.receive(RECEIVE, |_, _| {});
        self.unread.clear();
        let (Some(load), Some(queue)) = (&mut self.load, base.queues.get_mut(TRANSMIT)) else {
            return;
        };
        load.back = 0;
        load.deadline = deadline;
        let finished = base.load.as_ref().map_or(0, |tally| tally.finished);
        // One line alone, and with the device: it is issued again with its queue.
        let issued = |slot: &&Slot| slot.state == State::InFlight && slot.tag == finished;
        let alone = load.written == finished + 1 && queue.slots.iter().any(|slot| issued(&slot));
        if !alone {
            load.written = finished;
            let slots = queue.slots.iter_mut();
            slots.for_each(|slot| slot.state = State::Free);
        }
    }

    fn went_live(&mut self, base: &mut Base) {
        base.post(RECEIVE, RECEIVE_SIZE);
    }

    fn serve(&mut self, base: &mut Base) {
        let unread = &mut self.unread;
        let before = unread.len();
        base.receive(RECEIVE, |data, length| {
            unread.extend((0..length).map(|at| data.read::<u8>(at)));
        });
        self.received += (unread.len() - before) as u64;
        if self.load.is_none() {
            unread.clear();
        }
        base.post(RECEIVE, RECEIVE_SIZE);
    }

    fn config_changed(&mut self, base: &mut Base) -> String {
        self.read_size(base)
    }

    fn begin(&mut self, base: &mut Base, args: &Args) -> Result<(), &'static str> {
        if args.word(1) != "echo" || !args.only(&["dev", "lines", "size"]) {
            return Err("usage");
        }
        let lines = args.number("lines", 1)?;
        let size = args.number("size", 64)?;
        if lines > MOST_LINES || !(SHORTEST_LINE..=LONGEST_LINE).contains(&size) {
            return Err("usage");
        }
        let queue = base.active().get_mut(TRANSMIT).ok_or("stopped")?;
        for n in 0..queue.depth() {
            queue.slots[n].state = State::Free;
            queue.data(n, LONGEST_LINE as usize).ok_or("memory")?;
        }
        self.unread.clear();
        self.load = Some(Load {
            lines,
            size: size as usize,
            written: 0,
            back: 0,
            deadline: u64::MAX,
        });
        Ok(())
    }

    fn go_on(&mut self, base: &mut Base, tally: &mut Tally) -> bool {
        self.compare(base, tally);
        let deadline = base.time_limit();
        let one_at_a_time = base.settings.depth == 1;
        let Some(load) = &mut self.load else {
            return true;
        };
        if tally.finished == load.written {
            load.deadline = u64::MAX;
        } else if time::now() >= load.deadline {
            base.miss(RECEIVE, &mut load.deadline, tally);
        }
        let Some(queue) = base.active().get_mut(TRANSMIT) else {
            return true;
        };
        queue.retire();
        while tally.reason.is_none() && load.written < load.lines {
            if one_at_a_time && load.written > tally.finished {
                break;
            }
            let Some(n) = queue.free() else { break };
            let slot = &mut queue.slots[n];
            let Some(data) = slot.data() else { break };
            for at in 0..load.size {
                data.write(at, byte(load.written, at, load.size));
            }
            slot.tag = load.written;
            slot.retried = false;
            slot.parts = [Some(Part::out(data, load.size as u32)), None, None];
            queue.submit(n, deadline);
            load.written += 1;
            load.deadline = deadline;
        }
        let over = tally.finished >= load.lines && queue.in_flight() == 0;
        if over || tally.reason.is_some() {
            self.load = None;
        }
        over
    }

    fn deadline(&self) -> u64 {
        self.load.as_ref().map_or(u64::MAX, |load| load.deadline)
    }

    fn counted(&self) -> &'static str {
        "lines"
    }

    fn state(&self) -> String {
        let (cols, rows) = self.size.unwrap_or_default();
        format!("cols={cols} rows={rows} received={}", self.received)
    }
}

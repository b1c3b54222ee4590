//! What the console has a network driver do.

use super::control::{Command, Why};
use super::frame::{self, LONGEST, SHORTEST};
use super::{receive, transmit};
use crate::dbg_print;
use crate::driver::args::Args;
use crate::driver::virtio::base::{Base, Tally};
use crate::driver::virtio::queue::{Part, State};
use crate::driver::virtio::spec::{control, feature, net};
use crate::hal::mmio::Mmio;
use crate::hal::time;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

const MOST_FRAMES: u64 = 1 << 32;
const MOST_COMMANDS: u64 = 1 << 10;

/// A load that runs.
pub enum Load {
    Frames(Frames),
    /// So many commands on the control queue.
    Commands(u64),
}

/// Frames sent, which have to come back.
pub struct Frames {
    frames: u64,
    size: usize,
    /// Bytes before each.
    header: u32,
    mac: [u8; 6],
    pairs: Range<usize>,
    next: u64,
    /// Those that have not come back.
    away: Vec<u64>,
    /// Those that are to be sent once more: a reset has taken what came back.
    again: VecDeque<u64>,
    /// Until when one of them has to.
    deadline: u64,
}

impl Load {
    /// What `args` ask for of a device with so many pairs, whose link is up or not.
    ///
    /// # Errors
    /// A word for what is wrong.
    pub fn new(
        base: &mut Base,
        args: &Args,
        mac: [u8; 6],
        pairs: usize,
        up: bool,
    ) -> Result<Self, &'static str> {
        match args.word(1) {
            "frames" if args.only(&["dev", "frames", "size", "queues"]) => {
                Frames::new(base, args, mac, pairs, up).map(Self::Frames)
            }
            "control" if args.only(&["dev", "commands"]) => {
                if !base.has(feature::NET_CTRL_VQ) {
                    return Err("unsupported");
                }
                let commands = args.number("commands", 1)?;
                if commands > MOST_COMMANDS {
                    return Err("usage");
                }
                Ok(Self::Commands(commands))
            }
            _ => Err("usage"),
        }
    }

    /// The commands that it sends: those that the features allow, in turn. None has a lasting
    /// effect on frames to the device's own address.
    pub fn commands(&self, base: &Base, mac: [u8; 6], pairs: u16) -> Vec<Command> {
        let Self::Commands(count) = self else {
            return Vec::new();
        };
        const VLAN: [u8; 2] = 5u16.to_le_bytes();
        // No unicast and no multicast addresses: two tables without entries.
        const NO_ADDRESSES: [u8; 8] = [0; 8];
        let pairs = pairs.to_le_bytes();
        let command = |name, kind, data: &[u8]| Command::new(name, kind, data, Why::Load);
        let known = [
            (
                feature::NET_CTRL_RX,
                command("all multicast on", control::RX_ALLMULTI, &[1]),
            ),
            (
                feature::NET_CTRL_RX,
                command("all multicast off", control::RX_ALLMULTI, &[0]),
            ),
            (
                feature::NET_CTRL_RX,
                command("address table", control::MAC_TABLE_SET, &NO_ADDRESSES),
            ),
            (
                feature::NET_CTRL_MAC_ADDR,
                command("address", control::MAC_ADDR_SET, &mac),
            ),
            (
                feature::NET_CTRL_VLAN,
                command("VLAN added", control::VLAN_ADD, &VLAN),
            ),
            (
                feature::NET_CTRL_VLAN,
                command("VLAN deleted", control::VLAN_DEL, &VLAN),
            ),
            (
                feature::NET_MQ,
                command("pairs set", control::MQ_PAIRS_SET, &pairs),
            ),
        ];
        let known = known.iter().filter(|(feature, _)| base.has(*feature));
        let known: Vec<_> = known.map(|(_, command)| *command).collect();
        known
            .iter()
            .cycle()
            .copied()
            .take(*count as usize)
            .collect()
    }

    /// A frame has come while the load runs.
    /// The next one has to come before `limit`.
    pub fn take(&mut self, limit: u64, data: Mmio, length: usize, tally: &mut Tally) {
        if let Self::Frames(frames) = self {
            frames.take(limit, data, length, tally);
        }
    }

    /// The device was reset, and what was in its rings is gone.
    pub fn start_again(&mut self, base: &mut Base) {
        if let Self::Frames(frames) = self {
            frames.start_again(base);
        }
    }

    /// Goes on; whether the load is over. `ready`: the device has obeyed all commands.
    pub fn go_on(&mut self, base: &mut Base, tally: &mut Tally, ready: bool) -> bool {
        match self {
            Self::Frames(frames) => {
                if ready {
                    frames.go_on(base, tally);
                }
                tally.finished >= frames.frames
            }
            Self::Commands(count) => tally.finished >= *count,
        }
    }

    /// When `go_on` is to be called again at the latest.
    pub fn deadline(&self) -> u64 {
        match self {
            Self::Frames(frames) => frames.deadline,
            Self::Commands(_) => u64::MAX,
        }
    }

    /// What it counts.
    pub fn counted(&self) -> &'static str {
        match self {
            Self::Frames(_) => "frames",
            Self::Commands(_) => "commands",
        }
    }
}

impl Frames {
    fn new(
        base: &mut Base,
        args: &Args,
        mac: [u8; 6],
        pairs: usize,
        up: bool,
    ) -> Result<Self, &'static str> {
        let frames = args.number("frames", 1)?;
        let size = args.number("size", SHORTEST)?;
        if frames > MOST_FRAMES || !(SHORTEST..=LONGEST).contains(&size) {
            return Err("usage");
        }
        let pairs = args.queues(pairs)?;
        if !up {
            return Err("link");
        }
        for pair in pairs.clone() {
            let queue = base.active().get_mut(transmit(pair)).ok_or("stopped")?;
            for n in 0..queue.depth() {
                queue.slots[n].state = State::Free;
                queue.data(n, LONGEST as usize).ok_or("memory")?;
            }
        }
        Ok(Self {
            frames,
            size: size as usize,
            header: if base.has(feature::VERSION_1) {
                net::HEADER
            } else {
                net::SHORT_HEADER
            },
            mac,
            pairs,
            next: 0,
            away: Vec::new(),
            again: VecDeque::new(),
            deadline: u64::MAX,
        })
    }

    fn take(&mut self, limit: u64, data: Mmio, length: usize, tally: &mut Tally) {
        let Some(number) = frame::number(data, self.header as usize, length) else {
            return;
        };
        // A frame that was sent again after a reset may come twice.
        let Some(found) = self.away.iter().position(|&away| away == number) else {
            return;
        };
        self.away.swap_remove(found);
        tally.resets = 0;
        tally.finished += 1;
        if !frame::is_whole(
            data,
            (self.header as usize, length),
            self.mac,
            number,
            self.size,
        ) {
            dbg_print!("VIRTIO: frame {number} came back changed, in {length} bytes");
            tally.errors += 1;
        }
        self.deadline = if self.away.is_empty() {
            u64::MAX
        } else {
            limit
        };
    }

    /// What is with the device is issued again with its queue. What was sent before, and has not come
    /// back, may have been in the ring of a receive queue.
    fn start_again(&mut self, base: &mut Base) {
        let queues = self.pairs.clone().map(transmit);
        let slots = queues.filter_map(|place| base.queues.get(place));
        let flying: Vec<u64> = slots
            .flat_map(|queue| &queue.slots)
            .filter(|slot| slot.state == State::InFlight)
            .map(|slot| slot.tag)
            .collect();
        let (kept, lost) = self
            .away
            .drain(..)
            .partition(|number| flying.contains(number));
        self.away = kept;
        self.again.extend::<Vec<u64>>(lost);
        self.deadline = match self.away.is_empty() {
            true => u64::MAX,
            false => base.time_limit(),
        };
    }

    fn go_on(&mut self, base: &mut Base, tally: &mut Tally) {
        if time::now() >= self.deadline {
            let mut places = self.pairs.clone().map(receive);
            let waiting = places.find(|&place| base.queues[place].has_used());
            let place = waiting.unwrap_or(receive(self.pairs.start));
            base.miss(place, &mut self.deadline, tally);
        }
        let deadline = base.time_limit();
        // With a depth of 1 there is one frame away at a time, so that events have one order.
        let most = match base.settings.depth {
            1 => 1,
            depth => usize::from(depth) * self.pairs.len(),
        };
        while tally.reason.is_none() && self.away.len() < most {
            let number = match self.again.front() {
                Some(&number) => number,
                None if self.next < self.frames => self.next,
                None => return,
            };
            let turn = (number % self.pairs.len() as u64) as usize;
            let place = transmit(self.pairs.start + turn);
            let Some(queue) = base.active().get_mut(place) else {
                return;
            };
            let Some(n) = queue.free() else { return };
            let slot = &mut queue.slots[n];
            let Some(data) = slot.data() else { return };
            frame::write(data, self.mac, number, self.size);
            let header = slot.out(0);
            (0..self.header as usize).for_each(|at| header.write(at, 0u8));
            let header = Part::out(header, self.header);
            let frame = Part::out(data, self.size as u32);
            slot.tag = number;
            slot.retried = false;
            slot.parts = [Some(header), Some(frame), None];
            queue.submit(n, deadline);
            self.away.push(number);
            self.deadline = self.deadline.min(deadline);
            if self.again.pop_front().is_none() {
                self.next += 1;
            }
        }
    }
}

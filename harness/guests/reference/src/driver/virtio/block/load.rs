//! What the console has the block driver do.

use super::request::{Request, status};
use crate::dbg_print;
use crate::driver::args::Args;
use crate::driver::virtio::base::{Base, Tally};
use crate::driver::virtio::pattern::{compare, erase, fill};
use crate::driver::virtio::queue::{Slot, State};
use crate::driver::virtio::spec::{feature, request};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Largest request in bytes.
const LARGEST: u64 = 1 << 20;
/// Most blocks of one load.
const MOST_BLOCKS: u64 = 1 << 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Read,
    Write,
    Verify,
    Flush,
    Discard,
    Mixed,
}

impl Operation {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "read" => Self::Read,
            "write" => Self::Write,
            "verify" => Self::Verify,
            "flush" => Self::Flush,
            "discard" => Self::Discard,
            "mixed" => Self::Mixed,
            _ => return None,
        })
    }

    fn kind(self, block: u64) -> u32 {
        match self {
            Self::Read => request::IN,
            Self::Write | Self::Verify => request::OUT,
            Self::Flush => request::FLUSH,
            Self::Discard => request::DISCARD,
            Self::Mixed if block.is_multiple_of(2) => request::OUT,
            Self::Mixed => request::IN,
        }
    }
}

/// A load that runs.
pub struct Load {
    operation: Operation,
    blocks: u64,
    size: u32,
    lba: u64,
    /// Sectors after which the load begins again at `lba`.
    span: u64,
    queues: Range<usize>,
    next: u64,
    /// What each slot of each queue asks for.
    requests: Vec<Vec<Request>>,
}

impl Load {
    /// What `args` ask for of a disk with so many sectors.
    ///
    /// # Errors
    /// A word for what is wrong.
    pub fn new(base: &mut Base, args: &Args, capacity: u64) -> Result<Self, &'static str> {
        if !args.only(&["dev", "blocks", "size", "lba", "queues"]) {
            return Err("usage");
        }
        let operation = Operation::parse(args.word(1)).ok_or("usage")?;
        let size = args.number("size", 512)?;
        let whole = size > 0 && size <= LARGEST && size.is_multiple_of(request::SECTOR);
        let blocks = args.number("blocks", 1)?;
        if !whole || blocks > MOST_BLOCKS {
            return Err("usage");
        }
        let needed = match operation {
            Operation::Flush => feature::BLK_FLUSH,
            Operation::Discard => feature::BLK_DISCARD,
            _ => 0,
        };
        if !base.has(needed) {
            return Err("unsupported");
        }
        let lba = args.number("lba", 0)?;
        let each = size / request::SECTOR;
        let span = capacity.saturating_sub(lba) / each * each;
        if span == 0 {
            return Err("capacity");
        }
        let used = base.used();
        let queues = args.queues(used)?;
        for queue in &mut base.active()[queues.clone()] {
            for n in 0..queue.depth() {
                queue.slots[n].state = State::Free;
                queue.data(n, size as usize).ok_or("memory")?;
            }
        }
        let depth = base.settings.depth.into();
        Ok(Self {
            operation,
            blocks,
            size: size as u32,
            lba,
            span,
            queues,
            next: 0,
            requests: vec![vec![Request::NONE; depth]; used],
        })
    }

    /// Goes on; whether the load is over.
    pub fn go_on(&mut self, base: &mut Base, tally: &mut Tally) -> bool {
        self.finish(base, tally);
        if tally.reason.is_none() {
            self.submit(base, tally);
        }
        tally.finished >= self.blocks
    }

    fn finish(&mut self, base: &mut Base, tally: &mut Tally) {
        let deadline = base.time_limit();
        for place in self.queues.clone() {
            let Some(queue) = base.active().get_mut(place) else {
                continue;
            };
            for n in 0..queue.slots.len() {
                if !matches!(queue.slots[n].state, State::Done(_)) {
                    continue;
                }
                tally.resets = 0;
                let slot = &mut queue.slots[n];
                let status = status(slot);
                let block = slot.tag;
                let verifying = self.operation == Operation::Verify && status == request::OK;
                let asked = &mut self.requests[place][n];
                if verifying && asked.kind == request::OUT {
                    asked.kind = request::IN;
                    asked.put(slot);
                    slot.retried = false;
                    if let Some(data) = slot.data() {
                        erase(data, self.size as usize);
                    }
                    queue.submit(n, deadline);
                    continue;
                }
                slot.state = State::Free;
                tally.finished += 1;
                let same = |slot: &Slot| {
                    let data = slot.data();
                    data.is_some_and(|data| compare(data, self.size as usize, block))
                };
                let same = !verifying || same(slot);
                if status != request::OK {
                    dbg_print!("VIRTIO: block {block}: status {status}");
                } else if !same {
                    dbg_print!("VIRTIO: block {block}: data differs");
                }
                tally.errors += u64::from(status != request::OK || !same);
            }
        }
    }

    /// New requests: block `b` goes to queue `b` modulo the queues. With a depth of 1 there is one
    /// in flight on the whole device, so that events have one order.
    fn submit(&mut self, base: &mut Base, tally: &Tally) {
        let deadline = base.time_limit();
        let one_at_a_time = base.settings.depth == 1;
        while self.next < self.blocks {
            if one_at_a_time && self.next > tally.finished {
                return;
            }
            let turn = (self.next % self.queues.len() as u64) as usize;
            let place = self.queues.start + turn;
            let Some(queue) = base.active().get_mut(place) else {
                return;
            };
            let Some(n) = queue.free() else {
                return;
            };
            let block = self.next;
            let kind = self.operation.kind(block);
            let length = if kind == request::FLUSH { 0 } else { self.size };
            let sectors = u64::from(self.size) / request::SECTOR;
            let slot = &mut queue.slots[n];
            slot.tag = block;
            slot.retried = false;
            let asked = &mut self.requests[place][n];
            *asked = Request {
                kind,
                sector: self.lba + block * sectors % self.span,
                length,
            };
            asked.put(slot);
            if kind == request::OUT
                && let Some(data) = slot.data()
            {
                fill(data, length as usize, block);
            }
            queue.submit(n, deadline);
            self.next += 1;
        }
    }
}

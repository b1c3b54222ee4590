//! What the console has the driver of a disk do.

use super::{Answer, Disk, Kind, Request, SECTOR, TAG_LIMIT};
use crate::dbg_print;
use crate::driver::args::Args;
use crate::driver::virtio::base::{Base, Tally};
use crate::driver::virtio::pattern::{compare, erase, fill};
use crate::driver::virtio::queue::{Slot, State};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Largest request in bytes.
const LARGEST: u64 = 1 << 20;
/// Most blocks of one load.
const MOST_BLOCKS: u64 = 1 << 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Only(Kind),
    Verify,
    Mixed,
}

impl Operation {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "read" => Self::Only(Kind::Read),
            "write" => Self::Only(Kind::Write),
            "verify" => Self::Verify,
            "flush" => Self::Only(Kind::Flush),
            "discard" => Self::Only(Kind::Discard),
            "mixed" => Self::Mixed,
            _ => return None,
        })
    }

    fn kind(self, block: u64) -> Kind {
        match self {
            Self::Only(kind) => kind,
            Self::Verify => Kind::Write,
            Self::Mixed if block.is_multiple_of(2) => Kind::Write,
            Self::Mixed => Kind::Read,
        }
    }
}

/// A load that runs.
pub struct Load {
    disk: &'static Disk,
    operation: Operation,
    blocks: u64,
    size: u32,
    lba: u64,
    /// Sectors after which the load begins again at `lba`.
    span: u64,
    /// Places of the queues in use.
    queues: Range<usize>,
    next: u64,
    /// What each slot of each queue asks for.
    requests: Vec<Vec<Request>>,
}

impl Load {
    /// What `args` ask for of a disk that can do what `can` says.
    ///
    /// # Errors
    /// A word for what is wrong.
    pub fn new(
        base: &mut Base,
        args: &Args,
        disk: &'static Disk,
        can: impl Fn(Kind) -> bool,
    ) -> Result<Self, &'static str> {
        if !args.only(&["dev", "blocks", "size", "lba", "queues"]) {
            return Err("usage");
        }
        let operation = Operation::parse(args.word(1)).ok_or("usage")?;
        let size = args.number("size", SECTOR)?;
        let whole = size > 0 && size <= LARGEST && size.is_multiple_of(SECTOR);
        let blocks = args.number("blocks", 1)?;
        if !whole || blocks > MOST_BLOCKS {
            return Err("usage");
        }
        if let Operation::Only(kind) = operation
            && !can(kind)
        {
            return Err("unsupported");
        }
        let lba = args.number("lba", 0)?;
        let used = base.used();
        let queues = args.queues(used.saturating_sub(disk.first))?;
        Ok(Self {
            disk,
            operation,
            blocks,
            size: size as u32,
            lba,
            span: 0,
            queues: queues.start + disk.first..queues.end + disk.first,
            next: 0,
            requests: vec![Vec::new(); used],
        })
    }

    /// Makes ready for a disk with so many sectors of 512 bytes.
    ///
    /// # Errors
    /// A word for what is wrong.
    pub fn open(&mut self, base: &mut Base, capacity: u64) -> Result<(), &'static str> {
        let each = u64::from(self.size) / SECTOR;
        self.span = capacity.saturating_sub(self.lba) / each * each;
        if self.span == 0 {
            return Err("capacity");
        }
        for place in self.queues.clone() {
            let queue = base.active().get_mut(place).ok_or("stopped")?;
            self.requests[place] = vec![Request::NONE; queue.slots.len()];
            for n in 0..queue.depth() {
                if queue.slots[n].tag < TAG_LIMIT {
                    queue.slots[n].state = State::Free;
                }
                queue.data(n, self.size as usize).ok_or("memory")?;
            }
        }
        Ok(())
    }

    /// Whether `open` has been called.
    pub fn is_open(&self) -> bool {
        self.span != 0
    }

    /// Goes on; whether the load is over.
    pub fn go_on(&mut self, base: &mut Base, tally: &mut Tally) -> bool {
        base.isr.lock(true);
        self.finish(base, tally);
        if tally.reason.is_none() {
            self.submit(base, tally);
        }
        let over = tally.finished >= self.blocks;
        base.isr.lock(!over);
        over
    }

    fn finish(&mut self, base: &mut Base, tally: &mut Tally) {
        let deadline = base.time_limit();
        for place in self.queues.clone() {
            let Some(queue) = base.active().get_mut(place) else {
                continue;
            };
            for n in 0..queue.slots.len() {
                let slot = &mut queue.slots[n];
                if !matches!(slot.state, State::Done(_)) || slot.tag >= TAG_LIMIT {
                    continue;
                }
                tally.resets = 0;
                let answer = (self.disk.answer)(slot);
                let block = slot.tag;
                let asked = &mut self.requests[place][n];
                if let Answer::Again(status) = answer
                    && !slot.retried
                {
                    if status & Answer::RESPONSE != 0 {
                        dbg_print!("VIRTIO: block {block}: status {status}, sent again");
                    }
                    slot.retried = true;
                    queue.submit(n, deadline);
                    continue;
                }
                let well = answer == Answer::Well;
                let verifying = self.operation == Operation::Verify && well;
                if verifying && asked.kind == Kind::Write {
                    asked.kind = Kind::Read;
                    (self.disk.put)(asked, slot);
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
                if let Answer::Again(status) | Answer::Failed(status) = answer {
                    dbg_print!("VIRTIO: block {block}: status {status}");
                } else if !same {
                    dbg_print!("VIRTIO: block {block}: data differs");
                }
                tally.errors += u64::from(!well || !same);
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
            let sectors = u64::from(self.size) / SECTOR;
            let slot = &mut queue.slots[n];
            slot.tag = block;
            slot.retried = false;
            let asked = &mut self.requests[place][n];
            *asked = Request {
                kind,
                sector: self.lba + block * sectors % self.span,
                length: if kind == Kind::Flush { 0 } else { self.size },
            };
            (self.disk.put)(asked, slot);
            if kind == Kind::Write
                && let Some(data) = slot.data()
            {
                fill(data, self.size as usize, block);
            }
            queue.submit(n, deadline);
            self.next += 1;
        }
    }
}

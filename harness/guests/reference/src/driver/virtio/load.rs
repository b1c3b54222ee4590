//! What the console has the block driver do.

use super::Block;
use super::queue::{Request, State};
use super::spec::{feature, request};
use crate::dbg_print;
use crate::driver::Outcome;
use crate::driver::args::Args;
use crate::hal::mmio::Mmio;
use crate::hal::time;
use crate::nt::dispatch;
use crate::nt::pnp::WdfDevice;
use alloc::format;
use core::ops::Range;

/// Largest request in bytes.
const LARGEST: u64 = 1 << 20;
/// Most blocks of one load.
const MOST_BLOCKS: u64 = 1 << 32;
/// How long a late interrupt is waited for when its request is back already, in microseconds.
const GRACE_US: u64 = 5_000;
/// Bytes whose pattern is written and compared, in steps of eight.
const WORD: usize = 8;

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
    finished: u64,
    errors: u64,
    lost: u32,
    timeouts: u32,
    reason: Option<&'static str>,
    /// Resets since a request was last finished.
    pub(super) resets: u32,
}

impl Block {
    pub(super) fn begin_load(&mut self, args: &Args) -> Result<(), &'static str> {
        if !self.live {
            return Err("stopped");
        }
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
        if self.features & needed != needed {
            return Err("unsupported");
        }
        let lba = args.number("lba", 0)?;
        let each = size / request::SECTOR;
        let span = self.capacity.saturating_sub(lba) / each * each;
        if span == 0 {
            return Err("capacity");
        }
        let used = usize::from(self.used);
        let queues = match args.get("queues") {
            None | Some("all") => 0..used,
            Some(n) => match n.parse::<usize>() {
                Ok(n) if n < used => n..n + 1,
                _ => return Err("usage"),
            },
        };
        for queue in &mut self.queues[queues.clone()] {
            for n in 0..queue.depth() {
                queue.slots[n].state = State::Free;
                queue.data(n, size as usize).ok_or("memory")?;
            }
        }
        self.load = Some(Load {
            operation,
            blocks,
            size: size as u32,
            lba,
            span,
            queues,
            next: 0,
            finished: 0,
            errors: 0,
            lost: 0,
            timeouts: 0,
            reason: None,
            resets: 0,
        });
        Ok(())
    }

    pub(super) fn poll_load(&mut self, device: &mut WdfDevice) -> Option<Outcome> {
        self.load.as_ref()?;
        self.watch(device);
        let mut load = self.load.take()?;
        if !self.live {
            load.reason = Some("device");
        }
        self.finish_requests(&mut load);
        if load.reason.is_none() {
            self.submit_requests(&mut load);
        }
        if load.reason.is_none() && load.finished < load.blocks {
            self.load = Some(load);
            return None;
        }
        let fields = format!(
            "blocks={} errors={} lost={} timeouts={}",
            load.finished, load.errors, load.lost, load.timeouts
        );
        let reason = load.reason.or((load.errors > 0).then_some("errors"));
        Some(Outcome { reason, fields })
    }

    /// Requests that are late: perhaps only the interrupt was lost, so the ring is looked at; if
    /// the request is not there, the device is reset and the request issued again, once.
    fn watch(&mut self, device: &mut WdfDevice) {
        if !self.live || dispatch::is_pending() {
            return;
        }
        let now = time::now();
        for n in 0..usize::from(self.used) {
            let Some(k) = self.queues[n].late(now) else {
                continue;
            };
            if self.queues[n].has_used() {
                self.suspect(n, k, now);
            } else {
                self.time_out(n, k, device);
                return;
            }
        }
    }

    /// A late request, and the device has used something: its interrupt may be on the way.
    fn suspect(&mut self, n: usize, k: usize, now: u64) {
        let slot = &mut self.queues[n].slots[k];
        if !slot.suspected {
            slot.suspected = true;
            slot.deadline = now + GRACE_US;
            return;
        }
        dbg_print!("VIRTIO: queue {n}: lost interrupt?");
        self.lost += 1;
        if let Some(load) = &mut self.load {
            load.lost += 1;
        }
        self.take_used(n);
    }

    fn time_out(&mut self, n: usize, k: usize, device: &mut WdfDevice) {
        let slot = &mut self.queues[n].slots[k];
        let again = core::mem::replace(&mut slot.retried, true);
        if let Some(load) = &mut self.load {
            load.timeouts += 1;
            load.reason = again.then_some("timeout");
        }
        if again {
            dbg_print!("VIRTIO: queue {n}: request timed out again");
            self.cancel(device);
        } else {
            dbg_print!("VIRTIO: queue {n}: request timed out, resetting the device");
            self.recover(device);
        }
    }

    /// Takes back every request. Only a reset makes the device let go of them.
    fn cancel(&mut self, device: &mut WdfDevice) {
        for slot in self.queues.iter_mut().flat_map(|queue| &mut queue.slots) {
            slot.state = State::Free;
        }
        self.recover(device);
    }

    fn finish_requests(&mut self, load: &mut Load) {
        let deadline = time::now() + self.settings.timeout_ms * 1000;
        for queue in &mut self.queues[load.queues.clone()] {
            for n in 0..queue.slots.len() {
                let State::Done(status) = queue.slots[n].state else {
                    continue;
                };
                load.resets = 0;
                let slot = &mut queue.slots[n];
                let block = slot.block;
                let verifying = load.operation == Operation::Verify && status == request::OK;
                if verifying && slot.request.kind == request::OUT {
                    slot.request.kind = request::IN;
                    slot.retried = false;
                    if let Some(data) = queue.data(n, 0) {
                        erase(data, load.size as usize);
                    }
                    queue.submit(n, deadline);
                    continue;
                }
                slot.state = State::Free;
                load.finished += 1;
                let same = !verifying
                    || queue
                        .data(n, 0)
                        .is_some_and(|data| compare(data, load.size as usize, block));
                if status != request::OK {
                    dbg_print!("VIRTIO: block {block}: status {status}");
                } else if !same {
                    dbg_print!("VIRTIO: block {block}: data differs");
                }
                load.errors += u64::from(status != request::OK || !same);
            }
        }
    }

    /// New requests: block `b` goes to queue `b` modulo the queues. With a depth of 1 there is one
    /// in flight on the whole device, so that events have one order.
    fn submit_requests(&mut self, load: &mut Load) {
        let deadline = time::now() + self.settings.timeout_ms * 1000;
        let one_at_a_time = self.settings.depth == 1;
        while load.next < load.blocks {
            if one_at_a_time && load.next > load.finished {
                return;
            }
            let place = (load.next % load.queues.len() as u64) as usize;
            let queue = &mut self.queues[load.queues.start + place];
            let depth = queue.depth();
            let free = |slot: &super::queue::Slot| slot.state == State::Free;
            let Some(n) = queue.slots[..depth].iter().position(free) else {
                return;
            };
            let block = load.next;
            let kind = load.operation.kind(block);
            let length = if kind == request::FLUSH { 0 } else { load.size };
            let sectors = u64::from(load.size) / request::SECTOR;
            let slot = &mut queue.slots[n];
            slot.block = block;
            slot.retried = false;
            slot.request = Request {
                kind,
                sector: load.lba + block * sectors % load.span,
                length,
            };
            if kind == request::OUT
                && let Some(data) = queue.data(n, 0)
            {
                fill(data, length as usize, block);
            }
            queue.submit(n, deadline);
            load.next += 1;
        }
    }
}

fn pattern(block: u64, word: usize) -> u64 {
    (block << 32 | word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn fill(data: Mmio, length: usize, block: u64) {
    (0..length / WORD).for_each(|word| data.write(word * WORD, pattern(block, word)));
}

fn erase(data: Mmio, length: usize) {
    (0..length / WORD).for_each(|word| data.write(word * WORD, 0u64));
}

fn compare(data: Mmio, length: usize, block: u64) -> bool {
    (0..length / WORD).all(|word| data.read::<u64>(word * WORD) == pattern(block, word))
}

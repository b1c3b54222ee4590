//! Deferred procedure calls of drivers that are images: each processor has a queue, which runs when its IRQL
//! falls below `DISPATCH_LEVEL`, by an interrupt that the processor sends to itself.
//!
//! Source: `KeInsertQueueDpc`, by which a call waits on the processor that it was queued on; `StorPortIssueDpc` and
//! `HW_DPC_ROUTINE`, by which a routine is synchronized with itself: a call of an object that runs elsewhere is left to
//! that processor.

use super::dispatch::DISPATCH_LEVEL;
use crate::hal::{Local, apic, cpu, idt, processor, time};

/// Most calls that wait on a processor.
const MOST: usize = 64;
/// So long it is waited for calls that do not come to an end, in microseconds.
const PATIENCE: u64 = 1_000_000;

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The driver's object: a call that waits is not queued again.
    pub object: u64,
    /// What is called.
    pub act: fn(&Call),
    /// What it is called with.
    pub arguments: [u64; 4],
}

struct Queue {
    calls: [Option<Call>; MOST],
    first: usize,
    count: usize,
}

struct Queues {
    each: [Queue; processor::MOST],
    /// The object whose call runs on a processor; 0: none.
    running: [u64; processor::MOST],
}

static QUEUES: Local<Queues> = Local::new(Queues {
    each: [const { Queue::EMPTY }; processor::MOST],
    running: [0; processor::MOST],
});

impl Queues {
    fn push(&mut self, own: usize, call: Call) -> bool {
        let waits = self.each.iter().any(|queue| queue.has(call.object));
        !waits && self.each[own].push(call)
    }

    /// The next call for a processor, and where another is to be asked for that can't run here.
    fn next(&mut self, own: usize) -> (Option<Call>, Option<usize>) {
        self.running[own] = 0;
        let Some(call) = self.each[own].pop() else {
            return (None, None);
        };
        let elsewhere = self
            .running
            .iter()
            .position(|object| *object == call.object);
        if let Some(other) = elsewhere {
            self.each[other].push(call);
            return (None, Some(other));
        }
        self.running[own] = call.object;
        (Some(call), None)
    }

    fn are_idle(&self) -> bool {
        self.each.iter().all(|queue| queue.count == 0) && self.running.iter().all(|at| *at == 0)
    }
}

impl Queue {
    const EMPTY: Self = Self {
        calls: [None; MOST],
        first: 0,
        count: 0,
    };

    fn has(&self, object: u64) -> bool {
        let waits = |n: usize| self.calls[(self.first + n) % MOST];
        (0..self.count).any(|n| waits(n).is_some_and(|w| w.object == object))
    }

    fn push(&mut self, call: Call) -> bool {
        if self.has(call.object) || self.count == MOST {
            return false;
        }
        self.calls[(self.first + self.count) % MOST] = Some(call);
        self.count += 1;
        true
    }

    fn pop(&mut self) -> Option<Call> {
        let call = self.calls[self.first].take()?;
        self.first = (self.first + 1) % MOST;
        self.count -= 1;
        Some(call)
    }
}

/// `KeInsertQueueDpc`. `false` when the object is in a queue already.
pub fn queue(call: Call) -> bool {
    let queued = QUEUES.with(|queues| queues.push(processor::number(), call));
    if queued {
        apic::request_dispatch();
    }
    queued
}

/// Runs the calls that wait, with interrupts on. Entered with interrupts off, by the processor's own
/// interrupt.
pub fn run() {
    let before = cpu::priority();
    cpu::set_priority(DISPATCH_LEVEL);
    // Of a driver that lowers the IRQL there may be another within this.
    idt::nested(idt::Entry::Dispatch, || {
        let own = processor::number();
        loop {
            let (call, other) = QUEUES.with(|queues| queues.next(own));
            if let Some(other) = other {
                apic::request_dispatch_on(other);
                continue;
            }
            let Some(call) = call else { break };
            cpu::enable_interrupts();
            (call.act)(&call);
            cpu::disable_interrupts();
        }
    });
    cpu::set_priority(before);
}

/// The object of the call that runs on this processor.
pub fn running() -> Option<u64> {
    let object = QUEUES.with(|queues| queues.running[processor::number()]);
    (object != 0).then_some(object)
}

/// `KeFlushQueuedDpcs`: waits until no call waits or runs, on any processor. At `PASSIVE_LEVEL`.
pub fn flush() {
    let is_idle = || QUEUES.with(|queues| queues.are_idle());
    if processor::are_several() {
        time::poll(PATIENCE, is_idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(object: u64) -> Call {
        Call {
            object,
            act: |_| {},
            arguments: [0; 4],
        }
    }

    #[test]
    fn an_object_that_waits_is_not_queued_again() {
        let mut queue = Queue::EMPTY;
        assert!(queue.push(call(1)) && queue.push(call(2)) && !queue.push(call(1)));
        assert_eq!(queue.pop().map(|c| c.object), Some(1));
        assert!(queue.push(call(1)));
        assert_eq!(queue.pop().map(|c| c.object), Some(2));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut queue = Queue {
            calls: [None; MOST],
            first: 7,
            count: 0,
        };
        assert!((0..MOST as u64).all(|n| queue.push(call(n))));
        assert!(!queue.push(call(99)));
    }

    #[test]
    fn an_object_that_runs_on_a_processor_is_left_to_it() {
        let mut queues = Queues {
            each: [const { Queue::EMPTY }; processor::MOST],
            running: [0; processor::MOST],
        };
        assert!(queues.push(0, call(1)));
        assert!(!queues.push(1, call(1)), "it waits on another");
        assert_eq!(queues.next(0).0.map(|c| c.object), Some(1));
        assert!(queues.push(1, call(1)));
        assert_eq!(queues.next(1).1, Some(0));
        assert!(!queues.are_idle());
        assert_eq!(queues.next(0).0.map(|c| c.object), Some(1));
        assert!(queues.next(0).0.is_none() && queues.are_idle());
    }
}

//! Deferred procedure calls of drivers that are images: a queue that runs when the processor's IRQL falls
//! below `DISPATCH_LEVEL`, by an interrupt that the processor sends to itself.

use super::dispatch::DISPATCH_LEVEL;
use crate::hal::{Local, apic, cpu};

/// Most calls that wait.
const MOST: usize = 64;

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

static QUEUE: Local<Queue> = Local::new(Queue {
    calls: [None; MOST],
    first: 0,
    count: 0,
});

impl Queue {
    fn push(&mut self, call: Call) -> bool {
        let waits = |n: usize| self.calls[(self.first + n) % MOST];
        let known = (0..self.count).any(|n| waits(n).is_some_and(|w| w.object == call.object));
        if known || self.count == MOST {
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

/// `KeInsertQueueDpc`. `false` when the object is in the queue already.
pub fn queue(call: Call) -> bool {
    let queued = QUEUE.with(|queue| queue.push(call));
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
    while let Some(call) = QUEUE.with(Queue::pop) {
        cpu::enable_interrupts();
        (call.act)(&call);
        cpu::disable_interrupts();
    }
    cpu::set_priority(before);
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
        let mut queue = Queue {
            calls: [None; MOST],
            first: 0,
            count: 0,
        };
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
}

//! What faults hold of the used rings.

use std::collections::VecDeque;

use super::MAX_HELD;
use crate::endpoint::Nanos;
use crate::trace::Effect;

/// A queue whose completions do not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Which; every one if it is none.
    pub queue: Option<u16>,
    /// Until then; none: until it is let go.
    pub until: Option<Nanos>,
    /// The command of the host that lets it go.
    pub host: Option<String>,
}

impl Stall {
    fn holds(&self, queue: u16) -> bool {
        self.queue.is_none_or(|q| q == queue)
    }
}

/// What faults hold of the used rings.
#[derive(Clone, Debug, Default)]
pub struct Rings {
    /// Queues that stand still.
    pub stalls: Vec<Stall>,
    /// Completions that wait for the end of a stall.
    pub stalled: VecDeque<(u16, Effect)>,
    /// Completions that wait for the next one of their queue.
    pub swapped: Vec<(u16, Effect)>,
    /// Completions that a reset overtook.
    pub orphans: VecDeque<Effect>,
    /// Completions since the last reset, for each queue.
    pub completed: Vec<u16>,
    /// The same for the time before the last reset.
    pub before: Vec<u16>,
    /// Elements by which the used index of each queue goes on from where it was before a reset.
    pub kept: Vec<u16>,
}

impl Rings {
    pub(super) fn reset(&mut self) {
        let stalled = self.stalled.drain(..).map(|(_, effect)| effect);
        let swapped = self.swapped.drain(..).map(|(_, effect)| effect);
        self.orphans.extend(stalled.chain(swapped));
        while self.orphans.len() > MAX_HELD {
            self.orphans.pop_front();
        }
        self.stalls.clear();
        self.before = std::mem::take(&mut self.completed);
    }

    /// Whether completions of the queue wait, and there is room for one more.
    pub fn stands_still(&self, queue: u16) -> bool {
        self.stalled.len() < MAX_HELD && self.stalls.iter().any(|s| s.holds(queue))
    }

    /// Ends stalls: those whose time has come, or that this command of the host lets go. Returns the
    /// completions that waited for them.
    pub fn release(&mut self, now: Nanos, command: Option<&str>) -> Vec<Effect> {
        self.stalls.retain(|stall| {
            let timed = stall.until.is_some_and(|until| until <= now);
            let told = command.is_some() && stall.host.as_deref() == command;
            !timed && !told
        });
        let mut free = Vec::new();
        for _ in 0..self.stalled.len() {
            let Some((queue, effect)) = self.stalled.pop_front() else {
                break;
            };
            if self.stalls.iter().any(|s| s.holds(queue)) {
                self.stalled.push_back((queue, effect));
            } else {
                free.push(effect);
            }
        }
        free
    }

    /// One more completion of a queue. Returns by how much its index goes on from an earlier reset.
    pub fn completes(&mut self, queue: u16) -> u16 {
        let at = usize::from(queue);
        if self.completed.len() <= at {
            self.completed.resize(at + 1, 0);
        }
        self.completed[at] = self.completed[at].wrapping_add(1);
        self.kept.get_mut(at).map_or(0, std::mem::take)
    }
}

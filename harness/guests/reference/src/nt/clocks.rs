//! What has happened before what, where several processors run: each counts, and hands on what it knows with a lock that it
//! releases, a word that it changes atomically, a DPC that it issues, and a request.
//!
//! Source: "Time, Clocks, and the Ordering of Events in a Distributed System" (Lamport, 1978), with a number for each
//! processor.

use crate::hal::Local;
use crate::hal::processor::{self, MOST};
use alloc::collections::BTreeMap;

/// Most things that hand something on.
const MOST_KNOWN: usize = 4096;

/// What knowledge is handed on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A lock of an adapter.
    Lock(usize, usize),
    /// A word.
    Word(u64),
    /// A DPC object.
    Dpc(u64),
    /// A request of an adapter: from its completion to its next start.
    Request(usize, usize),
    /// An adapter's device: from what was started on it to its interrupts.
    Device(usize),
}

/// How far each processor has come.
type Clock = [u32; MOST];

struct Clocks {
    own: [Clock; MOST],
    ways: BTreeMap<Way, Clock>,
}

static CLOCKS: Local<Clocks> = Local::new(Clocks::NEW);

impl Clocks {
    const NEW: Self = Self {
        own: [[0; MOST]; MOST],
        ways: BTreeMap::new(),
    };

    fn hand_on(&mut self, processor: usize, way: Way) {
        let own = &mut self.own[processor];
        own[processor] += 1;
        if self.ways.len() < MOST_KNOWN || self.ways.contains_key(&way) {
            join(self.ways.entry(way).or_default(), own);
        }
    }

    fn learn(&mut self, processor: usize, way: Way) {
        if let Some(known) = self.ways.get(&way) {
            join(&mut self.own[processor], known);
        }
    }

    /// Everything that was done has been seen by all.
    fn meet(&mut self) {
        for (n, own) in self.own.iter_mut().enumerate() {
            own[n] += 1;
        }
        let all: Clock = core::array::from_fn(|n| self.own[n][n]);
        self.own = [all; MOST];
    }

    /// What a processor does until it hands on what it knows the next time.
    fn now(&self, processor: usize) -> u32 {
        self.own[processor][processor] + 1
    }

    fn has_seen(&self, processor: usize, other: usize, moment: u32) -> bool {
        processor == other || self.own[processor][other] >= moment
    }
}

fn join(into: &mut Clock, from: &Clock) {
    for (own, other) in into.iter_mut().zip(from) {
        *own = (*own).max(*other);
    }
}

fn act(act: impl FnOnce(&mut Clocks, usize)) {
    if processor::are_several() {
        CLOCKS.with(|clocks| act(clocks, processor::number()));
    }
}

/// This processor hands on what it knows.
pub fn hand_on(way: Way) {
    act(|clocks, own| clocks.hand_on(own, way));
}

/// This processor learns what was handed on.
pub fn learn(way: Way) {
    act(|clocks, own| clocks.learn(own, way));
}

/// Something that hands on was not seen: whatever was done may have happened before what is done now.
pub fn lose_track() {
    act(|clocks, _| clocks.meet());
}

/// The moment that this processor is at.
pub fn now() -> u32 {
    let own = processor::number();
    CLOCKS.with(|clocks| clocks.now(own))
}

/// Whether what another processor did at a moment has happened before what this one does now.
pub fn has_seen(other: usize, moment: u32) -> bool {
    CLOCKS.with(|clocks| clocks.has_seen(processor::number(), other, moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_on_has_happened_before() {
        let mut clocks = Clocks::NEW;
        let moment = clocks.now(0);
        assert!(!clocks.has_seen(1, 0, moment));
        clocks.learn(1, Way::Lock(0, 0));
        assert!(!clocks.has_seen(1, 0, moment));
        clocks.hand_on(0, Way::Lock(0, 0));
        clocks.learn(1, Way::Lock(0, 1));
        assert!(!clocks.has_seen(1, 0, moment));
        clocks.learn(1, Way::Lock(0, 0));
        assert!(clocks.has_seen(1, 0, moment));
        // What comes later has not.
        assert!(!clocks.has_seen(1, 0, clocks.now(0)));
    }

    #[test]
    fn nothing_is_unordered_with_what_was_before_the_track_was_lost() {
        let mut clocks = Clocks::NEW;
        let moments = [clocks.now(0), clocks.now(1)];
        clocks.meet();
        assert!(clocks.has_seen(1, 0, moments[0]) && clocks.has_seen(0, 1, moments[1]));
        assert!(!clocks.has_seen(1, 0, clocks.now(0)));
    }

    #[test]
    fn what_was_learned_is_handed_on_too() {
        let mut clocks = Clocks::NEW;
        clocks.hand_on(0, Way::Word(8));
        clocks.learn(1, Way::Word(8));
        clocks.hand_on(1, Way::Dpc(8));
        clocks.learn(2, Way::Dpc(8));
        assert!(clocks.has_seen(2, 0, 1));
    }
}

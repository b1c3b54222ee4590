//! The one writer of a trace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::endpoint::Nanos;
use crate::fault::Outcome;
use crate::trace::{Effects, Event, Input, Part, Step, What};

/// Numbers events, gives them their time, and hands them to a sink, one after the other.
pub struct Journal {
    opened: Instant,
    listens: bool,
    state: Mutex<State>,
}

struct State {
    seq: u64,
    sink: Box<dyn FnMut(Event) + Send>,
}

impl Journal {
    /// Opens a journal; its clock begins at 0.
    ///
    /// The sink is called with the journal locked: it must not record anything itself.
    pub fn new(sink: Box<dyn FnMut(Event) + Send>) -> Arc<Self> {
        Self::open(true, sink)
    }

    /// A journal that nobody reads: what costs time to find out for it is left out.
    pub fn unread() -> Arc<Self> {
        Self::open(false, Box::new(|_| ()))
    }

    fn open(listens: bool, sink: Box<dyn FnMut(Event) + Send>) -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            listens,
            state: Mutex::new(State { seq: 0, sink }),
        })
    }

    /// Whether somebody reads it.
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// Nanoseconds since the journal was opened, on the monotonic clock.
    pub fn now(&self) -> Nanos {
        self.since(Instant::now())
    }

    /// The journal's time of `instant`; 0 for an instant before it was opened.
    pub fn since(&self, instant: Instant) -> Nanos {
        let elapsed = instant.saturating_duration_since(self.opened);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant at the journal's time `time`, as far as the clock goes.
    pub fn instant(&self, time: Nanos) -> Option<Instant> {
        self.opened
            .checked_add(std::time::Duration::from_nanos(time))
    }

    /// Records that something happened now. Returns its position, from 1.
    pub fn record(&self, what: What) -> u64 {
        self.record_all([what])
    }

    /// Records a step of a device with the faults that fired in it, and returns what it brings about.
    ///
    /// To be called before that is made to happen, so that what an interrupt leads to comes after
    /// the interrupt.
    pub fn record_step(&self, dev: u8, part: Part, input: Input, outcome: Outcome) -> Effects {
        let Outcome {
            fired,
            heard,
            shown,
            meant,
        } = outcome;
        let effects = shown.clone();
        let step = Step {
            dev,
            part,
            input,
            heard,
            shown,
            meant,
        };
        self.record_all(fired.into_iter().map(What::Fault).chain([What::Step(step)]));
        effects
    }

    /// Records things that happened together, with nothing in between. Returns the last position.
    pub fn record_all(&self, all: impl IntoIterator<Item = What>) -> u64 {
        // A sink that panicked has lost its event; the numbers after it are still right.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let time = self.now();
        for what in all {
            state.seq += 1;
            let event = Event {
                seq: state.seq,
                time,
                what,
            };
            (state.sink)(event);
        }
        state.seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn line(text: &str) -> What {
        What::Log { line: text.into() }
    }

    #[test]
    fn events_are_numbered_from_one_and_time_never_goes_back() {
        let (sender, events) = mpsc::channel();
        let journal = Journal::new(Box::new(move |event| {
            let _ = sender.send((event.seq, event.time));
        }));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        journal.record(line("x"));
                    }
                });
            }
        });
        drop(journal);
        let events: Vec<_> = events.iter().collect();
        assert_eq!(events.len(), 400);
        assert!(events.iter().map(|(seq, _)| *seq).eq(1..=400));
        assert!(events.is_sorted_by_key(|(_, time)| *time));
    }

    #[test]
    fn things_that_happen_together_stay_together() {
        let (sender, events) = mpsc::channel();
        let journal = Journal::new(Box::new(move |event| {
            let _ = sender.send(event);
        }));
        assert_eq!(journal.record_all([line("fault"), line("step")]), 2);
        drop(journal);
        let events: Vec<_> = events.iter().collect();
        assert_eq!(events[0].time, events[1].time);
        assert_eq!(events[1].what, line("step"));
    }

    #[test]
    fn a_time_of_the_journal_is_an_instant_and_back() {
        let journal = Journal::new(Box::new(|_| ()));
        let instant = journal.instant(5_000).unwrap();
        assert_eq!(journal.since(instant), 5_000);
    }
}

//! The journal of one run, in memory, with somebody who may wait for what comes into it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use misfire_device::port::Journal;
use misfire_device::trace::{Event, What};
use tokio::sync::Notify;

use crate::verdict::phase;

/// The most that a run keeps, events and what steps hold together: some hundred megabytes. The shipped scenarios have a few hundred
/// each; a guest that does nothing but access registers would otherwise fill the memory.
pub(super) const MAX_EVENTS: usize = 500_000;

/// Everything that happens in a run.
#[derive(Clone)]
pub(super) struct Recorder {
    journal: Arc<Journal>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    events: Mutex<Vec<Event>>,
    weight: AtomicUsize,
    full: AtomicBool,
    waiting: AtomicBool,
    more: Notify,
}

impl Shared {
    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One for the event, and one for each input and effect in it.
fn weight(event: &Event) -> usize {
    match &event.what {
        What::Step(step) => {
            let heard = step.heard.as_ref().map_or(0, Vec::len);
            let meant = step.meant.as_ref().map_or(0, |meant| meant.len());
            1 + step.shown.len() + heard + meant
        }
        What::MsixTable { entries, .. } => 1 + entries.len(),
        _ => 1,
    }
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self::of(MAX_EVENTS)
    }

    /// One that keeps the first `limit` events.
    fn of(limit: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let sink = Arc::clone(&shared);
        let journal = Journal::new(Box::new(move |event| {
            let mut events = sink.events();
            let weight = sink.weight.fetch_add(weight(&event), Ordering::Relaxed);
            if weight >= limit {
                sink.full.store(true, Ordering::Relaxed);
                return;
            }
            events.push(event);
            drop(events);
            if sink.waiting.load(Ordering::Relaxed) {
                sink.more.notify_one();
            }
        }));
        Self { journal, shared }
    }

    /// Whether events were left out because there were too many.
    pub(super) fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed)
    }

    pub(super) fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// Marks the beginning of the run, so that a run that is cut off can be named.
    pub(super) fn begin(&self, name: &str) {
        self.mark(None, phase::BEGIN, name);
    }

    /// Marks the end of a run that was carried out.
    pub(super) fn end(&self, name: &str) {
        self.mark(None, phase::END, name);
    }

    pub(super) fn mark(&self, step: Option<usize>, phase: &str, text: &str) {
        self.journal.record(What::Mark {
            step,
            phase: phase.into(),
            text: text.into(),
        });
    }

    /// What was recorded so far.
    pub(super) fn events(&self) -> Vec<Event> {
        self.shared.events().clone()
    }

    /// Shows each event from position `from` on, and returns the position after the last.
    pub(super) fn look(&self, from: usize, mut see: impl FnMut(&Event)) -> usize {
        let events = self.shared.events();
        events[from.min(events.len())..].iter().for_each(&mut see);
        events.len()
    }

    /// Returns when something was recorded after position `seen`.
    pub(super) async fn more(&self, seen: usize) {
        self.shared.waiting.store(true, Ordering::Relaxed);
        while self.shared.events().len() <= seen {
            self.shared.more.notified().await;
        }
        self.shared.waiting.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_keeps_no_more_events_than_its_limit_and_says_so() {
        let recorder = Recorder::of(2);
        recorder.begin("a");
        recorder.begin("b");
        assert!(!recorder.is_full());
        recorder.begin("c");
        assert!(recorder.is_full());
        assert_eq!(recorder.events().len(), 2);
    }
}

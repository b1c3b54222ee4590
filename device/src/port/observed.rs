//! What our own backend tells of its work, on its way to the function.
//!
//! A channel, since the function may hold its lock while it waits for the backend to stop. It is
//! short, so that a guest that lets the backend work faster than it can be followed slows the backend
//! down. Each message knows in which run of its queue it was told: what was under way at a reset of
//! the device or of the queue is void after it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use vmm_sys_util::eventfd::EventFd;

use crate::backend::{Ledger, Observer};
use crate::shape::MAX_QUEUES;
use crate::trace::{Input, What};

/// Messages on their way at the most.
pub const MOST: usize = 1024;

/// The backend's end.
pub struct Teller {
    tell: SyncSender<(Run, Told)>,
    runs: Arc<Runs>,
    ledger: Option<SharedLedger>,
    wake: EventFd,
    /// The function has the used rings written.
    rings: bool,
}

/// The function's end.
pub struct Observed {
    told: Receiver<(Run, Told)>,
    runs: Arc<Runs>,
    ledger: Option<SharedLedger>,
}

/// What the backend knows of the rings, where the function may look at them too.
type SharedLedger = Arc<Mutex<Ledger>>;

/// Something that the backend tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// What the function is to hear.
    Heard(Input),
    /// What was found out about a ring.
    Found(Box<What>),
}

impl Told {
    /// The queue that it is about, if it is void once that one has stopped.
    fn queue(&self) -> Option<u16> {
        match self {
            Self::Heard(Input::Chain { queue, .. } | Input::Complete { queue, .. }) => Some(*queue),
            Self::Found(what) => match &**what {
                What::Chain(chain) => Some(chain.q),
                // What the driver did stays true.
                _ => None,
            },
            Self::Heard(_) => None,
        }
    }
}

/// The run of the device and that of one queue.
type Run = (u64, u64);

/// Counts runs: of the device, and of each queue within them.
struct Runs {
    device: AtomicU64,
    queues: [AtomicU64; MAX_QUEUES as usize],
}

impl Runs {
    fn now(&self, told: &Told) -> Run {
        let queue = told.queue().and_then(|q| self.queues.get(usize::from(q)));
        (
            self.device.load(Ordering::Acquire),
            queue.map_or(0, |run| run.load(Ordering::Acquire)),
        )
    }
}

/// Both ends; each message is followed by a write of `wake`. `ledger`: one for the rings, if they
/// are to be watched. With `rings` the backend leaves the used rings to the function.
pub fn observed(wake: EventFd, ledger: Option<Ledger>, rings: bool) -> (Teller, Observed) {
    let ledger = ledger.map(|ledger| Arc::new(Mutex::new(ledger)));
    let (tell, told) = sync_channel(MOST);
    let runs = Arc::new(Runs {
        device: AtomicU64::default(),
        queues: [const { AtomicU64::new(0) }; MAX_QUEUES as usize],
    });
    let teller = Teller {
        tell,
        runs: Arc::clone(&runs),
        ledger: ledger.clone(),
        wake,
        rings,
    };
    (teller, Observed { told, runs, ledger })
}

impl Teller {
    fn tell(&self, told: Told) {
        // Nobody listens any more when the serving ends.
        if self.tell.send((self.runs.now(&told), told)).is_ok() {
            // Full means that the thread is awake already.
            let _ = self.wake.write(1);
        }
    }
}

impl Observer for Teller {
    fn writes_used(&self) -> bool {
        self.rings
    }

    fn observe(&self, input: Input) {
        // The messages and kicks are the function's own.
        if matches!(
            input,
            Input::Chain { .. }
                | Input::Complete { .. }
                | Input::Reconfigured { .. }
                | Input::Broken
        ) {
            self.tell(Told::Heard(input));
        }
    }

    fn note(&self, what: What) {
        self.tell(Told::Found(Box::new(what)));
    }

    fn with_ledger(&self, act: &mut dyn FnMut(&mut Ledger)) -> bool {
        act_on(self.ledger.as_ref(), act)
    }
}

fn act_on(ledger: Option<&SharedLedger>, act: &mut dyn FnMut(&mut Ledger)) -> bool {
    let Some(ledger) = ledger else { return false };
    // A thread that panicked has left facts, each of them whole.
    act(&mut ledger.lock().unwrap_or_else(PoisonError::into_inner));
    true
}

impl Observed {
    /// What was told next in this run of the queues.
    pub fn next(&self) -> Option<Told> {
        self.told
            .try_iter()
            .find_map(|(told_in, told)| (told_in == self.runs.now(&told)).then_some(told))
    }

    /// Lets `act` have the ledger of the rings, if they are watched.
    pub fn with_ledger(&self, act: &mut dyn FnMut(&mut Ledger)) {
        act_on(self.ledger.as_ref(), act);
    }

    /// The queues have stopped: what is still on its way is void.
    pub fn end_run(&self) {
        self.runs.device.fetch_add(1, Ordering::AcqRel);
        self.with_ledger(&mut Ledger::clear);
    }

    /// One queue has stopped: what is still on its way about it is void.
    pub fn end_queue(&self, queue: u16) {
        if let Some(run) = self.runs.queues.get(usize::from(queue)) {
            run.fetch_add(1, Ordering::AcqRel);
        }
        self.with_ledger(&mut |ledger| ledger.forget(queue));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    #[test]
    fn what_was_told_before_a_stop_is_void_after_it() {
        let (teller, observed) = observed(EventFd::new(EFD_NONBLOCK).unwrap(), None, false);
        let chain = |head| Input::Chain {
            queue: head % 2,
            head,
            request: String::new(),
        };
        let heard = |head| Some(Told::Heard(chain(head)));
        teller.observe(chain(1));
        teller.observe(Input::Kick { queue: 0 });
        teller.observe(Input::Broken);
        assert_eq!(observed.next(), heard(1));
        observed.end_run();
        teller.observe(chain(2));
        assert_eq!(observed.next(), heard(2));
        assert_eq!(observed.next(), None);
        teller.observe(chain(3));
        teller.observe(chain(4));
        observed.end_queue(1);
        assert_eq!(observed.next(), heard(4), "the other queue goes on");
        assert_eq!(observed.next(), None);
    }
}

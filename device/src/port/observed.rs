//! What our own backend tells of its work, on its way to the function.
//!
//! A channel, since the function may hold its lock while it waits for the backend to stop. It is
//! short, so that a guest that lets the backend work faster than it can be followed slows the backend
//! down. Each message knows in which run of its queue it was told: what was under way at a reset of
//! the device or of the queue is void after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use vmm_sys_util::eventfd::EventFd;

use crate::backend::Observer;
use crate::shape::MAX_QUEUES;
use crate::trace::Input;

/// Messages on their way at the most.
pub const MOST: usize = 1024;

/// The backend's end.
pub struct Teller {
    tell: SyncSender<(Run, Input)>,
    runs: Arc<Runs>,
    wake: EventFd,
}

/// The function's end.
pub struct Observed {
    told: Receiver<(Run, Input)>,
    runs: Arc<Runs>,
}

/// The run of the device and that of one queue.
type Run = (u64, u64);

/// Counts runs: of the device, and of each queue within them.
struct Runs {
    device: AtomicU64,
    queues: [AtomicU64; MAX_QUEUES as usize],
}

impl Runs {
    fn now(&self, input: &Input) -> Run {
        let queue = match input {
            Input::Chain { queue, .. } | Input::Complete { queue, .. } => {
                self.queues.get(usize::from(*queue))
            }
            _ => None,
        };
        (
            self.device.load(Ordering::Acquire),
            queue.map_or(0, |run| run.load(Ordering::Acquire)),
        )
    }
}

/// Both ends; each message is followed by a write of `wake`.
pub fn observed(wake: EventFd) -> (Teller, Observed) {
    let (tell, told) = sync_channel(MOST);
    let runs = Arc::new(Runs {
        device: AtomicU64::default(),
        queues: [const { AtomicU64::new(0) }; MAX_QUEUES as usize],
    });
    let teller = Teller {
        tell,
        runs: Arc::clone(&runs),
        wake,
    };
    (teller, Observed { told, runs })
}

impl Observer for Teller {
    fn observe(&self, input: Input) {
        // The messages and kicks are the function's own.
        if !matches!(
            input,
            Input::Chain { .. } | Input::Complete { .. } | Input::Broken
        ) {
            return;
        }
        // Nobody listens any more when the serving ends.
        if self.tell.send((self.runs.now(&input), input)).is_ok() {
            // Full means that the thread is awake already.
            let _ = self.wake.write(1);
        }
    }
}

impl Observed {
    /// What was told next in this run of the queues.
    pub fn next(&self) -> Option<Input> {
        self.told
            .try_iter()
            .find_map(|(told_in, input)| (told_in == self.runs.now(&input)).then_some(input))
    }

    /// The queues have stopped: what is still on its way is void.
    pub fn end_run(&self) {
        self.runs.device.fetch_add(1, Ordering::AcqRel);
    }

    /// One queue has stopped: what is still on its way about it is void.
    pub fn end_queue(&self, queue: u16) {
        if let Some(run) = self.runs.queues.get(usize::from(queue)) {
            run.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    #[test]
    fn what_was_told_before_a_stop_is_void_after_it() {
        let (teller, observed) = observed(EventFd::new(EFD_NONBLOCK).unwrap());
        let chain = |head| Input::Chain {
            queue: head % 2,
            head,
            request: String::new(),
        };
        teller.observe(chain(1));
        teller.observe(Input::Kick { queue: 0 });
        teller.observe(Input::Broken);
        assert_eq!(observed.next(), Some(chain(1)));
        observed.end_run();
        teller.observe(chain(2));
        assert_eq!(observed.next(), Some(chain(2)));
        assert_eq!(observed.next(), None);
        teller.observe(chain(3));
        teller.observe(chain(4));
        observed.end_queue(1);
        assert_eq!(observed.next(), Some(chain(4)), "the other queue goes on");
        assert_eq!(observed.next(), None);
    }
}

//! What our own backend tells of its work, on its way to the function.
//!
//! A channel, since the function may hold its lock while it waits for the backend to stop. It is
//! short, so that a guest that lets the backend work faster than it can be followed slows the backend
//! down. Each message knows in which run of the queues it was told: what was under way at a reset is
//! void after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use vmm_sys_util::eventfd::EventFd;

use crate::backend::Observer;
use crate::trace::Input;

/// Messages on their way at the most.
pub const MOST: usize = 1024;

/// The backend's end.
pub struct Teller {
    tell: SyncSender<(u64, Input)>,
    run: Arc<AtomicU64>,
    wake: EventFd,
}

/// The function's end.
pub struct Observed {
    told: Receiver<(u64, Input)>,
    run: Arc<AtomicU64>,
}

/// Both ends; each message is followed by a write of `wake`.
pub fn observed(wake: EventFd) -> (Teller, Observed) {
    let (tell, told) = sync_channel(MOST);
    let run = Arc::<AtomicU64>::default();
    let teller = Teller {
        tell,
        run: Arc::clone(&run),
        wake,
    };
    (teller, Observed { told, run })
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
        if self
            .tell
            .send((self.run.load(Ordering::Acquire), input))
            .is_ok()
        {
            // Full means that the thread is awake already.
            let _ = self.wake.write(1);
        }
    }
}

impl Observed {
    /// What was told next in this run of the queues.
    pub fn next(&self) -> Option<Input> {
        let run = self.run.load(Ordering::Acquire);
        self.told
            .try_iter()
            .find_map(|(told_in, input)| (told_in == run).then_some(input))
    }

    /// The queues have stopped: what is still on its way is void.
    pub fn end_run(&self) {
        self.run.fetch_add(1, Ordering::AcqRel);
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
            queue: 0,
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
    }
}

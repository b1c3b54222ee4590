//! The end that comes whatever QEMU, its control channel or our own tasks do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};

/// Kills a process group with SIGKILL when its time is over, from a thread of its own.
///
/// Dropping it before disarms it.
#[derive(Debug)]
pub struct KillTimer {
    fired: Arc<AtomicBool>,
    disarm: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl KillTimer {
    /// Kills `group` at `deadline`.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn arm(group: Pid, deadline: Instant) -> std::io::Result<Self> {
        let fired = Arc::new(AtomicBool::new(false));
        let (disarm, disarmed) = mpsc::channel();
        let told = Arc::clone(&fired);
        let thread = thread::Builder::new()
            .name("kill-timer".into())
            .spawn(move || {
                let left = deadline.saturating_duration_since(Instant::now());
                if disarmed.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                    told.store(true, Ordering::Release);
                    // The group may be gone already.
                    let _ = kill_process_group(group, Signal::KILL);
                }
            })?;
        Ok(Self {
            fired,
            disarm: Some(disarm),
            thread: Some(thread),
        })
    }

    /// Whether the time was over.
    pub fn fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }

    /// From here on it kills nothing.
    pub fn disarm(&mut self) {
        self.disarm = None;
        if let Some(thread) = self.thread.take() {
            // The thread does nothing that panics.
            let _ = thread.join();
        }
    }
}

impl Drop for KillTimer {
    fn drop(&mut self) {
        self.disarm();
    }
}

//! What processors do that are not the first: they run what is sent to them, and DPCs and interrupts that come
//! to them. The first is the one that PnP and the class driver run on.

use crate::hal::{Local, apic, cpu, processor, time};
use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicU32, Ordering};

/// Something to be done at `PASSIVE_LEVEL` on a processor.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// What is called.
    pub act: fn([usize; 2]),
    /// What it is called with.
    pub arguments: [usize; 2],
}

static JOBS: Local<[VecDeque<Job>; processor::MOST]> =
    Local::new([const { VecDeque::new() }; processor::MOST]);

/// Has a processor do something; one after the other. The first processor does it at once.
pub fn send(to: usize, job: Job) {
    if to == processor::number() {
        return (job.act)(job.arguments);
    }
    JOBS.with(|jobs| jobs[to].push_back(job));
    apic::request_dispatch_on(to);
}

/// How many processors have stopped for good.
static STOPPED: AtomicU32 = AtomicU32::new(0);
/// They have this long, in microseconds.
const PATIENCE: u64 = 1_000_000;

/// Stops the other processors for good, each when it is done with what it was sent. Whether all have stopped; on the
/// first processor, at `PASSIVE_LEVEL`.
pub fn stop_others() -> bool {
    let others = processor::count() - 1;
    for n in 1..=others {
        let act = |_| {
            cpu::disable_interrupts();
            STOPPED.fetch_add(1, Ordering::SeqCst);
            cpu::halt()
        };
        let arguments = [0; 2];
        send(n, Job { act, arguments });
    }
    time::poll(PATIENCE, || {
        STOPPED.load(Ordering::SeqCst) as usize == others
    })
}

/// The main path of a processor other than the first. It begins with interrupts off.
pub fn idle() -> ! {
    let own = processor::number();
    loop {
        match JOBS.with(|jobs| jobs[own].pop_front()) {
            Some(job) => {
                cpu::enable_interrupts();
                (job.act)(job.arguments);
                cpu::disable_interrupts();
            }
            None => cpu::wait_for_interrupt(),
        }
    }
}

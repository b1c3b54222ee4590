//! Interrupts at run time: the ISRs of a vector, the DPC queue, IRQL, and storm detection.

use super::bugcheck::{HARDWARE_INTERRUPT_STORM, bug_check, exception};
use super::dpc;
use super::interrupt::{Info, may_connect};
use super::resources::Share;
use super::status::NtStatus;
use super::{thunk, watch};
use crate::hal::idt::{self, Frame};
use crate::hal::{Local, apic, console, cpu, processor, time, watchdog};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Most devices the model keeps account of.
pub const MOST_DEVICES: usize = 16;
/// Most interrupt objects of one device.
pub const MOST_OBJECTS: usize = 32;
/// Where a line is counted, after the messages.
pub const LINE: usize = MOST_OBJECTS;
/// `DISPATCH_LEVEL`.
pub const DISPATCH_LEVEL: u8 = 2;
/// First vector that is not an exception.
const FIRST_INTERRUPT: u64 = 32;
/// So many interrupts of one line without any progress, within `STORM_US`, are a storm.
const STORM: u32 = 5_000;
/// See `STORM`; in microseconds.
const STORM_US: u64 = 5_000_000;

/// What an ISR says of an interrupt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// FALSE: another device's.
    NotMine,
    /// TRUE, and there is nothing more to do.
    Mine,
    /// TRUE, after `WdfInterruptQueueDpcForIsr`.
    QueueDpc,
}

/// `EvtInterruptIsr`. It runs at DIRQL on another stack than the driver's other callbacks, and may
/// interrupt them anywhere.
pub trait InterruptService: Sync {
    /// `message` is the `MessageID`; 0 for a line.
    fn isr(&self, message: u32) -> Claim;

    /// Whether interrupts of a higher IRQL are let in meanwhile.
    fn lets_others_in(&self) -> bool {
        false
    }
}

/// What happened on the interrupts of a device.
#[derive(Clone, Copy)]
pub struct Counters {
    /// ISR calls that were claimed, by object, and at `LINE`.
    pub isr: [u32; LINE + 1],
    /// DPC calls, likewise.
    pub dpc: [u32; LINE + 1],
    /// ISR calls that were not claimed.
    pub unclaimed: u32,
    pending: u64,
}

impl Counters {
    const ZERO: Self = Self {
        isr: [0; LINE + 1],
        dpc: [0; LINE + 1],
        unclaimed: 0,
        pending: 0,
    };
}

#[derive(Clone, Copy)]
struct Connection {
    device: usize,
    handle: usize,
    message: u32,
    share: Share,
    service: &'static dyn InterruptService,
}

struct Vector {
    chain: Vec<Connection>,
    /// Interrupts since there was progress, the value of `PROGRESS` then, and the time of the first.
    stuck: u32,
    progress: u32,
    since_us: u64,
}

static VECTORS: Local<[Vector; 256]> = Local::new(
    [const {
        Vector {
            chain: Vec::new(),
            stuck: 0,
            progress: 0,
            since_us: 0,
        }
    }; 256],
);
static COUNTERS: Local<[Counters; MOST_DEVICES]> = Local::new([Counters::ZERO; MOST_DEVICES]);
/// How many processors are in the ISRs of a vector.
static SERVED: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];
static PROGRESS: AtomicU32 = AtomicU32::new(0);
static ROUND: AtomicBool = AtomicBool::new(false);

/// `KeGetCurrentIrql`: on x64 it is the processor's task priority.
pub fn irql() -> u8 {
    cpu::priority()
}

/// An interrupt led to something: no storm so far.
pub fn progress() {
    PROGRESS.fetch_add(1, Ordering::Relaxed);
}

/// `IoConnectInterruptEx`.
///
/// # Errors
/// `INVALID_PARAMETER_1` when the vector is taken and not shared.
pub fn connect(
    device: usize,
    handle: usize,
    info: &Info,
    service: &'static dyn InterruptService,
) -> Result<(), NtStatus> {
    VECTORS.with(|vectors| {
        let chain = &mut vectors[info.vector as usize].chain;
        may_connect(info, chain.iter().map(|c| c.share))?;
        chain.push(Connection {
            device,
            handle,
            message: info.message_number,
            share: info.share,
            service,
        });
        Ok(())
    })
}

fn place(handle: usize, share: Share) -> usize {
    match share {
        Share::DeviceExclusive => handle,
        Share::Shared => LINE,
    }
}

/// `IoDisconnectInterruptEx`. `true` when nobody is left on the vector. An ISR that runs on another processor is
/// over then.
pub fn disconnect(device: usize, handle: usize, info: &Info) -> bool {
    COUNTERS.with(|counters| counters[device].pending &= !(1 << place(handle, info.share)));
    let last = VECTORS.with(|vectors| {
        let chain = &mut vectors[info.vector as usize].chain;
        chain.retain(|c| (c.device, c.handle) != (device, handle));
        chain.is_empty()
    });
    while processor::are_several() && SERVED[info.vector as usize].load(Ordering::SeqCst) > 0 {
        cpu::pause();
    }
    last
}

/// Waits until no interrupt is served on another processor. At `PASSIVE_LEVEL`.
pub fn settle() {
    /// In microseconds.
    const PATIENCE: u64 = 1_000_000;
    let is_idle = || {
        SERVED
            .iter()
            .all(|served| served.load(Ordering::SeqCst) == 0)
    };
    if processor::are_several() {
        time::poll(PATIENCE, is_idle);
    }
}

/// The counters of a device.
pub fn counters(device: usize) -> Counters {
    COUNTERS.with(|counters| counters[device])
}

/// A service was asked about its line by somebody else, and it was not its own.
pub fn not_claimed(device: usize) {
    COUNTERS.with(|counters| counters[device].unclaimed += 1);
}

/// Something is to be looked at by the main loop: it goes around once more before it sleeps.
pub fn request_round() {
    ROUND.store(true, Ordering::Relaxed);
    if processor::number() != 0 {
        apic::request_dispatch_on(0);
    }
}

/// Whether a DPC waits, on any device, or a round is asked for, once.
pub fn is_pending() -> bool {
    ROUND.swap(false, Ordering::Relaxed)
        || COUNTERS.with(|counters| counters.iter().any(|c| c.pending != 0))
}

/// Runs the DPCs that a device's ISRs have queued, at `DISPATCH_LEVEL`, in the objects' order. A
/// device that has a line has one object.
pub fn run_dpcs(device: usize, mut dpc: impl FnMut(usize)) {
    let pending = COUNTERS.with(|counters| core::mem::take(&mut counters[device].pending));
    if pending == 0 {
        return;
    }
    cpu::set_priority(DISPATCH_LEVEL);
    for n in (0..=LINE).filter(|n| pending & 1 << n != 0) {
        COUNTERS.with(|counters| counters[device].dpc[n] += 1);
        dpc(if n == LINE { 0 } else { n });
    }
    cpu::set_priority(0);
}

/// What the interrupt stubs call.
#[unsafe(no_mangle)]
extern "C" fn on_interrupt(frame: &mut Frame) {
    if frame.vector < FIRST_INTERRUPT {
        let is_clock = frame.vector == idt::NMI && watchdog::came();
        if is_clock {
            super::call::watch_held_off(frame);
        }
        if is_clock || is_trap(frame) {
            return;
        }
        exception(frame);
    }
    let called_from = thunk::called_from();
    match frame.vector as u8 {
        apic::SPURIOUS_VECTOR => return,
        apic::TIMER_VECTOR => super::call::watch(frame),
        apic::SERIAL_VECTOR => console::on_interrupt(),
        apic::DISPATCH_VECTOR => {
            apic::end_of_interrupt();
            dpc::run();
            return thunk::put_back(called_from);
        }
        vector => device_interrupt(vector),
    }
    thunk::put_back(called_from);
    apic::end_of_interrupt();
}

/// Whether something was touched that is watched.
fn is_trap(frame: &mut Frame) -> bool {
    const DEBUG: u64 = 1;
    const PAGE_FAULT: u64 = 14;
    /// Of the error code: the page is there; it was written.
    const PROTECTED: u64 = 3;
    if frame.vector == DEBUG {
        let stepped = watch::stepped(frame);
        return super::rounds::stepped(frame) || stepped;
    }
    if frame.vector == PAGE_FAULT && frame.error == PROTECTED {
        return watch::written(cpu::fault_address(), frame);
    }
    const PRESENT: u64 = 1;
    frame.vector == PAGE_FAULT
        && frame.error & PRESENT == 0
        && super::trap::touched(cpu::fault_address(), frame.rip)
}

fn device_interrupt(vector: u8) {
    let before = cpu::priority();
    cpu::set_priority(super::vectors::irql(vector));
    let served = &SERVED[usize::from(vector)];
    served.fetch_add(1, Ordering::SeqCst);
    let each =
        |n: usize| VECTORS.with(|vectors| vectors[usize::from(vector)].chain.get(n).copied());
    let mut next = 0;
    while let Some(connection) = each(next) {
        next += 1;
        let claim = connection.serve();
        let n = place(connection.handle, connection.share);
        COUNTERS.with(|counters| {
            let counters = &mut counters[connection.device];
            match claim {
                Claim::NotMine => counters.unclaimed += 1,
                Claim::Mine => counters.isr[n] += 1,
                Claim::QueueDpc => {
                    counters.isr[n] += 1;
                    counters.pending |= 1 << n;
                }
            }
        });
        // The main loop looks at what it led to.
        if claim == Claim::QueueDpc && processor::number() != 0 {
            apic::request_dispatch_on(0);
        }
    }
    VECTORS.with(|vectors| vectors[usize::from(vector)].watch());
    served.fetch_sub(1, Ordering::SeqCst);
    cpu::set_priority(before);
}

impl Connection {
    fn serve(&self) -> Claim {
        if !self.service.lets_others_in() {
            return self.service.isr(self.message);
        }
        idt::nested(idt::Entry::Interrupt, || {
            cpu::enable_interrupts();
            let claim = self.service.isr(self.message);
            cpu::disable_interrupts();
            claim
        })
    }
}

impl Vector {
    /// A line that interrupts again and again while nothing comes of it.
    fn watch(&mut self) {
        let Some(first) = self.chain.first() else {
            return;
        };
        let progress = PROGRESS.load(Ordering::Relaxed);
        if first.share != Share::Shared || self.progress != progress {
            self.progress = progress;
            self.stuck = 0;
            return;
        }
        if self.stuck == 0 {
            self.since_us = time::now();
        }
        self.stuck += 1;
        if self.stuck < STORM {
            return;
        }
        self.stuck = 0;
        if time::now() - self.since_us < STORM_US {
            let chained = if self.chain.len() > 1 { 2 } else { 1 };
            crate::println!(
                "STORM: device {} was interrupted {STORM} times by its line, and nothing came of it",
                first.device
            );
            let service = (&raw const *first.service).cast::<()>() as u64;
            bug_check(
                HARDWARE_INTERRUPT_STORM,
                [
                    service,
                    first.device as u64,
                    &raw const *first as u64,
                    chained,
                ],
            );
        }
    }
}

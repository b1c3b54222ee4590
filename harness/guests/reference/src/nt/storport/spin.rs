//! The spin locks of an adapter: who holds which, who waits for which, and in which order they are taken.
//!
//! Source: `StorPortAcquireSpinLock`, of the locks and their order; `INTERRUPT_SYNCHRONIZATION_MODE`, of one interrupt
//! lock for all messages or one for each; `StorPortAcquireMSISpinLock`.

use super::locks::{self, Callback};
use super::order::{Added, Bits, Order};
use crate::dbg_print;
use crate::hal::{Local, cpu, exclusive, processor, time};
use crate::nt::bugcheck::{DPC_WATCHDOG_VIOLATION, bug_check};
use crate::nt::checks::{self, Check};
use crate::nt::clocks::{self, Way};
use crate::nt::dispatch::{MOST_DEVICES, MOST_OBJECTS};
use crate::nt::{dpc, image};
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Most DPC objects of an adapter whose locks are kept apart.
const MOST_DPCS: usize = 110;
/// Locks of an adapter: StartIo's, the messages', that of its channels, the DPCs'.
const MESSAGES: usize = 1;
const CHANNELS: usize = MESSAGES + MOST_OBJECTS;
const DPCS: usize = CHANNELS + 1;
pub(super) const LOCKS: usize = DPCS + MOST_DPCS;
const _: () = assert!(LOCKS + MOST_DPCS <= Bits::MOST);
/// Most locks that a processor holds.
const MOST_HELD: usize = 48;
/// Who waits so long is told, in microseconds.
const LONG: u64 = 3_000_000;
/// Who waits looks so often whether it waits for itself.
const LOOK: u32 = 256;

/// A lock of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// The StartIo lock.
    StartIo,
    /// The lock of a message; that of message 0 is the only one where messages, or a line, share one.
    Message(u32),
    /// The lock of a DPC object.
    Dpc(u64),
    /// Of fewer channels than processors, which the port driver has `HwStorStartIo` called on one after the other.
    Channels,
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartIo => f.write_str("the StartIo lock"),
            Self::Message(0) => f.write_str("the interrupt lock"),
            Self::Message(n) => write!(f, "the interrupt lock of message {n}"),
            Self::Dpc(_) => f.write_str("a DPC lock"),
            Self::Channels => f.write_str("a channel"),
        }
    }
}

/// Who took a lock: the miniport's routine, and the place in the image, or 0 where the port driver did.
#[derive(Clone, Copy, Debug)]
struct Taker {
    who: Callback,
    place: u64,
}

impl fmt::Display for Taker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = image::image().and_then(|image| image.place(self.place));
        match place {
            Some(place) => write!(f, "{} at {place}", self.who.name()),
            None => write!(f, "the port driver for {}", self.who.name()),
        }
    }
}

struct Spin {
    /// The processor that holds it, plus one.
    holder: AtomicU32,
}

struct Locks {
    each: [Spin; LOCKS],
    /// The objects of the DPC locks.
    dpcs: [AtomicU64; MOST_DPCS],
}

static ADAPTERS: [Locks; MOST_DEVICES] = [const {
    Locks {
        each: [const {
            Spin {
                holder: AtomicU32::new(0),
            }
        }; LOCKS],
        dpcs: [const { AtomicU64::new(0) }; MOST_DPCS],
    }
}; MOST_DEVICES];

static ORDERS: [Local<Order>; MOST_DEVICES] = [const { Local::new(Order::NONE) }; MOST_DEVICES];

/// A lock that a processor holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    device: usize,
    lock: Lock,
    at: usize,
    taker: Taker,
    /// It was held already: it is not free when this ends.
    again: bool,
    /// The handle of the miniport's, or 0.
    handle: u64,
}

impl Held {
    /// Two pages say otherwise of it, see [`super::control`].
    fn is_doubtful(&self) -> bool {
        (self.taker.who, self.taker.place) == (Callback::AdapterControl, 0)
    }
}

#[derive(Clone, Copy)]
struct HeldLocks {
    each: [Option<Held>; MOST_HELD],
    count: usize,
}

/// What a processor holds, and what it waits for; others look at it when they wait long.
static HELD: [Local<(HeldLocks, Option<Waits>)>; processor::MOST] =
    [const { Local::new((HeldLocks::NONE, None)) }; processor::MOST];

/// What a processor waits for.
#[derive(Clone, Copy)]
struct Waits {
    device: usize,
    at: usize,
    lock: Lock,
    taker: Taker,
}

fn own<R>(act: impl FnOnce(&mut HeldLocks) -> R) -> R {
    HELD[processor::number()].with(|(held, _)| act(held))
}

/// How many locks this processor holds.
pub(super) fn count() -> usize {
    own(|held| held.count)
}

fn index(device: usize, lock: Lock) -> usize {
    match lock {
        Lock::StartIo => 0,
        Lock::Message(n) => MESSAGES + n as usize % MOST_OBJECTS,
        Lock::Channels => CHANNELS,
        Lock::Dpc(object) => {
            let known = &ADAPTERS[device].dpcs;
            let mine = |slot: &AtomicU64| {
                let taken = slot.compare_exchange(0, object, Ordering::SeqCst, Ordering::SeqCst);
                taken.is_ok() || taken == Err(object)
            };
            // Of more DPCs than these the last share a lock.
            DPCS + known.iter().position(mine).unwrap_or(MOST_DPCS - 1)
        }
    }
}

/// Whether this processor holds the lock.
pub(super) fn is_own(device: usize, lock: Lock) -> bool {
    is_own_at(device, index(device, lock))
}

/// Whether this processor holds the lock, which is not one that stands for several.
pub(super) fn is_own_alone(device: usize, lock: Lock) -> bool {
    is_own(device, lock) && !is_shared(index(device, lock))
}

fn is_own_at(device: usize, at: usize) -> bool {
    let holder = ADAPTERS[device].each[at].holder.load(Ordering::Relaxed);
    holder == processor::number() as u32 + 1
}

/// Whether this processor holds an interrupt lock of the adapter.
pub(super) fn has_interrupt_lock(device: usize) -> bool {
    own(|held| {
        let mut held = held.each[..held.count].iter().flatten();
        held.any(|held| {
            held.device == device && matches!(held.lock, Lock::Message(_)) && !held.is_doubtful()
        })
    })
}

/// An adapter has another device extension, and other DPC objects with it.
pub(super) fn forget(device: usize) {
    for object in &ADAPTERS[device].dpcs {
        object.store(0, Ordering::SeqCst);
    }
    ORDERS[device].with(|order| order.forget(|lock| lock >= DPCS));
}

/// The locks of an adapter that this processor holds, and the DPC that it runs.
pub fn bits(device: usize) -> Bits {
    let held = own(|all| *all);
    let held = held.each[..held.count].iter().flatten();
    let held = held.filter(|held| held.device == device);
    let locks = held.fold(Bits::default(), |bits, held| bits.with(held.at, true));
    // A DPC is synchronized with itself.
    let dpc = dpc::running().filter(|_| locks::current() == Callback::Dpc);
    match dpc.map(|object| index(device, Lock::Dpc(object))) {
        Some(at) if !is_shared(at) => locks.with(at + MOST_DPCS, true),
        _ => locks,
    }
}

/// Whether a lock stands for those of several DPC objects, of which nothing can be said.
fn is_shared(at: usize) -> bool {
    at + 1 == LOCKS
}

/// Takes a lock for a routine, and waits for it. `place`: where in the image, 0 for the port driver. `handle`: the
/// miniport's, or 0. Whoever holds it already goes on as if it did not.
pub(super) fn take(device: usize, lock: Lock, who: Callback, place: u64, handle: u64) {
    let at = index(device, lock);
    let taker = Taker { who, place };
    let again = is_own(device, lock);
    if !again {
        // An interrupt's routine comes in between anything.
        if (who, place) != (Callback::Interrupt, 0) {
            order(device, at, taker);
        }
        wait(device, at, lock, taker);
        clocks::learn(Way::Lock(device, at));
    }
    let held = Held {
        device,
        lock,
        at,
        taker,
        again,
        handle,
    };
    own(|all| {
        if all.count < MOST_HELD {
            all.each[all.count] = Some(held);
            all.count += 1;
        }
    });
}

fn wait(device: usize, at: usize, lock: Lock, taker: Taker) {
    let spin = &ADAPTERS[device].each[at];
    let own = processor::number();
    let take = || {
        spin.holder
            .compare_exchange(0, own as u32 + 1, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    };
    if take() {
        return;
    }
    let waits = Waits {
        device,
        at,
        lock,
        taker,
    };
    // An interrupt's routine may wait within another's wait.
    let outer = HELD[own].with(|(_, now)| now.replace(waits));
    let (begin, mut told, mut looks) = (time::now(), false, 0u32);
    while !take() {
        cpu::pause();
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOK) {
            look_for_circle(device, own);
            if !told && time::now() - begin > LONG {
                told = true;
                dbg_print!("NT: processor {own} waits long: {}", Waiting(own));
            }
        }
    }
    HELD[own].with(|(_, now)| *now = outer);
    checks::kept(device, Check::Deadlock);
}

/// Releases the lock that was taken last, which the port driver took.
pub(super) fn give_back() {
    let held = own(|all| {
        all.count = all.count.checked_sub(1)?;
        all.each[all.count].take()
    });
    if let Some(held) = held {
        free(&held);
    }
}

fn free(held: &Held) {
    if !held.again {
        clocks::hand_on(Way::Lock(held.device, held.at));
        let spin = &ADAPTERS[held.device].each[held.at];
        spin.holder.store(0, Ordering::Release);
    }
}

/// What came of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Released {
    /// This processor held it.
    Well,
    /// Another one did.
    Elsewhere,
    /// Nobody did.
    NotHeld,
}

/// Releases what was taken with a handle of the miniport's.
pub(super) fn release(handle: u64) -> Released {
    release_that(|held| handle != 0 && held.handle == handle)
}

/// Releases a lock that the miniport took.
pub(super) fn release_lock(device: usize, lock: Lock) -> Released {
    release_that(|held| (held.device, held.lock) == (device, lock) && held.taker.place != 0)
}

fn release_that(is: impl Fn(&Held) -> bool) -> Released {
    let mine = processor::number();
    let others = (0..processor::count()).filter(|n| *n != mine);
    for n in core::iter::once(mine).chain(others) {
        let mut any = false;
        while let Some(held) = HELD[n].with(|(all, _)| all.take_last(&is)) {
            free(&held);
            any = true;
        }
        if any && n == mine {
            return Released::Well;
        }
        if any {
            return Released::Elsewhere;
        }
    }
    Released::NotHeld
}

impl HeldLocks {
    const NONE: Self = Self {
        each: [None; MOST_HELD],
        count: 0,
    };

    fn take_last(&mut self, is: impl Fn(&Held) -> bool) -> Option<Held> {
        let each = &mut self.each[..self.count];
        let at = each
            .iter()
            .rposition(|held| held.as_ref().is_some_and(&is))?;
        let held = each[at].take();
        each[at..].rotate_left(1);
        self.count -= 1;
        held
    }
}

/// Releases what was taken since there were `before`; the name of one such lock.
pub(super) fn release_since(before: usize) -> Option<Lock> {
    let mut last = None;
    while count() > before {
        last = own(|all| all.each[all.count - 1].map(|held| held.lock));
        give_back();
    }
    last
}

/// A lock that is taken while others are held comes after them: of two that are taken in either order, two
/// processors may each have one and wait for the other.
fn order(device: usize, at: usize, taker: Taker) {
    let held = own(|all| *all);
    let held = held.each[..held.count].iter().flatten();
    let beside = bits(device);
    let is_one = |held: &&Held| held.device == device && held.at != at && !held.is_doubtful();
    for held in held
        .filter(is_one)
        .filter(|held| !is_shared(held.at) && !is_shared(at))
    {
        match ORDERS[device].with(|order| order.add(held.at, at, beside)) {
            Added::Known => {}
            Added::Order => checks::kept(device, Check::Deadlock),
            Added::Circle => {
                let lock = name_of(device, at);
                let text = format!(
                    "{lock} is taken by {taker} while {} is held, which is taken elsewhere while {lock} is held",
                    held.lock
                );
                checks::broken(device, Check::Deadlock, format_args!("{text}"));
            }
        }
    }
}

fn name_of(device: usize, at: usize) -> Lock {
    match at {
        0 => Lock::StartIo,
        CHANNELS => Lock::Channels,
        at if at < DPCS => Lock::Message((at - MESSAGES) as u32),
        at => Lock::Dpc(ADAPTERS[device].dpcs[at - DPCS].load(Ordering::Relaxed)),
    }
}

/// The processors that wait for each other, if `own` is one of them.
fn circle(own: usize) -> Option<u32> {
    let (mut seen, mut at) = (0u32, own);
    loop {
        seen |= 1 << at;
        let waits = HELD[at].with(|(_, waits)| *waits)?;
        let holder = ADAPTERS[waits.device].each[waits.at]
            .holder
            .load(Ordering::SeqCst);
        at = (holder as usize).checked_sub(1)?;
        if at == own {
            return Some(seen);
        }
        if seen & 1 << at != 0 {
            return None;
        }
    }
}

/// Ends the machine where processors wait for each other: on Windows its watchdog would.
fn look_for_circle(device: usize, own: usize) {
    let Some(seen) = circle(own) else { return };
    // Those who wait do not get on: a circle that is one stays.
    if circle(own) != Some(seen) {
        return;
    }
    exclusive(|| {
        let mut text = String::from("processors wait for each other");
        for n in (0..processor::count()).filter(|n| seen & 1 << n != 0) {
            text += &format!("; {}", Waiting(n));
        }
        checks::broken(device, Check::Deadlock, format_args!("{text}"));
        bug_check(DPC_WATCHDOG_VIOLATION, [1, 0, 0, 0])
    })
}

/// What a processor waits for, and who has it.
struct Waiting(usize);

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(waits) = HELD[self.0].with(|(_, waits)| *waits) else {
            return write!(f, "processor {} waits for nothing", self.0);
        };
        write!(
            f,
            "processor {}: {} wants {}",
            self.0, waits.taker, waits.lock
        )?;
        let holder = ADAPTERS[waits.device].each[waits.at]
            .holder
            .load(Ordering::SeqCst);
        let Some(holder) = (holder as usize).checked_sub(1) else {
            return Ok(());
        };
        let held = HELD[holder].with(|(held, _)| *held);
        let mut held = held.each[..held.count].iter().flatten();
        match held.find(|held| (held.device, held.at) == (waits.device, waits.at)) {
            Some(held) => write!(f, ", which {} has taken on processor {holder}", held.taker),
            None => write!(f, ", which processor {holder} has"),
        }
    }
}

//! The locks that a miniport takes, and those that are taken for it. There is one processor: a lock that
//! is held when it is taken would never be given back.
//!
//! Source: the two tables of `StorPortAcquireSpinLock`.

use super::abi::{lock, stor_status as status};
use super::port::{Port, of_extension};
use crate::hal::{Local, cpu};
use crate::nt::checks::{self, Check};
use crate::nt::dispatch::DISPATCH_LEVEL;

/// Which locks of an adapter are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Locks {
    pub dpc: u32,
    pub start_io: bool,
    pub interrupt: bool,
}

impl Locks {
    pub const NONE: Self = Self {
        dpc: 0,
        start_io: false,
        interrupt: false,
    };

    /// What is wrong with these locks where `before` should be.
    pub fn beside(self, before: Self) -> &'static str {
        match () {
            () if self.start_io && !before.start_io => "the StartIo lock held",
            () if self.interrupt && !before.interrupt => "the interrupt lock held",
            () if self.dpc > before.dpc => "a DPC lock held",
            () => "a lock released that is not its own",
        }
    }
}

/// A routine of the miniport's that the port driver calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callback {
    None,
    FindAdapter,
    Initialize,
    Passive,
    BuildIo,
    StartIo,
    Interrupt,
    Dpc,
    Timer,
    ResetBus,
    AdapterControl,
    UnitControl,
    Synchronized,
}

impl Callback {
    /// Its name in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "DriverEntry",
            Self::FindAdapter => "HwStorFindAdapter",
            Self::Initialize => "HwStorInitialize",
            Self::Passive => "HwStorPassiveInitializeRoutine",
            Self::BuildIo => "HwStorBuildIo",
            Self::StartIo => "HwStorStartIo",
            Self::Interrupt => "the interrupt routine",
            Self::Dpc => "HwStorDpcRoutine",
            Self::Timer => "HwStorTimer",
            Self::ResetBus => "HwStorResetBus",
            Self::AdapterControl => "HwStorAdapterControl",
            Self::UnitControl => "HwStorUnitControl",
            Self::Synchronized => "the synchronized routine",
        }
    }

    /// Whether it may take a lock of this kind: the second table.
    fn may_take(self, kind: u32) -> bool {
        match self {
            Self::BuildIo | Self::Dpc | Self::AdapterControl | Self::UnitControl => true,
            Self::StartIo => kind != lock::START_IO,
            Self::Timer | Self::ResetBus => kind == lock::INTERRUPT,
            Self::Synchronized
            | Self::None
            | Self::FindAdapter
            | Self::Initialize
            | Self::Passive
            | Self::Interrupt => false,
        }
    }
}

static CURRENT: Local<(usize, Callback)> = Local::new((0, Callback::None));

/// A routine of a device's miniport is entered, or left for the one it was called in. The one before.
pub(super) fn enter(device: usize, who: Callback) -> (usize, Callback) {
    CURRENT.with(|current| core::mem::replace(current, (device, who)))
}

/// The device whose miniport is being called.
pub fn current_device() -> usize {
    CURRENT.with(|current| current.0)
}

/// The name of the miniport's routine that runs.
pub fn current_routine() -> &'static str {
    CURRENT.with(|current| current.1).name()
}

/// `STOR_LOCK_HANDLE` as the port driver uses it: the kind, and what is not the miniport's.
#[repr(C)]
struct Handle {
    kind: u32,
    irql: u32,
    held: u64,
    opaque: [u64; 2],
}

/// A handle whose lock is held has this in it.
const HELD: u64 = 0x6b63_6f6c;

fn name(kind: u32) -> &'static str {
    match kind {
        lock::DPC => "a DPC lock",
        lock::START_IO => "the StartIo lock",
        _ => "the interrupt lock",
    }
}

/// `StorPortAcquireSpinLock`.
pub(super) fn acquire(extension: u64, kind: u32, _context: u64, handle: u64) {
    let Some(port) = of_extension(extension) else {
        return;
    };
    let device = port.number();
    let before = cpu::priority();
    let level = match kind {
        lock::DPC | lock::START_IO => DISPATCH_LEVEL,
        lock::INTERRUPT => port.with(|state| state.levels.0),
        _ => {
            let text = format_args!("StorPortAcquireSpinLock of a kind that there is not");
            checks::broken(device, Check::Lock, text);
            return;
        }
    };
    let name = name(kind);
    let (_, who) = CURRENT.with(|current| *current);
    let text = format_args!("{name} is taken at IRQL {before}, and {level} is the most");
    checks::check(device, Check::Irql, before <= level, text);
    let allowed = who.may_take(kind);
    if held(port, kind) {
        let text = format_args!("{} takes {name}, which is held already", who.name());
        checks::broken(device, Check::Lock, text);
    } else {
        let text = format_args!("{} takes {name}, which it may not", who.name());
        checks::check(device, Check::Lock, allowed, text);
    }
    cpu::set_priority(level.max(before));
    set(port, kind, true);
    // SAFETY: the miniport gives a handle of its own.
    unsafe {
        (handle as *mut Handle).write(Handle {
            kind,
            irql: before.into(),
            held: HELD,
            opaque: [0; 2],
        });
    }
}

/// `StorPortReleaseSpinLock`.
pub(super) fn release(extension: u64, handle: u64) {
    let Some(port) = of_extension(extension) else {
        return;
    };
    // SAFETY: the miniport gives the handle that it acquired with.
    let handle = unsafe { &mut *(handle as *mut Handle) };
    if handle.held != HELD {
        let text = format_args!("a lock is released with a handle that holds none");
        checks::broken(port.number(), Check::Lock, text);
        return;
    }
    handle.held = 0;
    set(port, handle.kind, false);
    cpu::set_priority(handle.irql as u8);
}

/// `StorPortAcquireMSISpinLock(extension, message, old IRQL)`: the lock of one message, which its interrupt
/// routine runs under. Messages do not interrupt each other here, so there is one for all.
pub(super) fn acquire_message(extension: u64, message: u32, old: u64) -> u32 {
    let Some(port) = of_extension(extension) else {
        return status::INVALID_PARAMETER;
    };
    let (granted, level) = port.with(|state| (state.granted, state.levels.0));
    if message >= granted || old == 0 {
        return status::INVALID_PARAMETER;
    }
    let before = cpu::priority();
    let text = format_args!("a message's lock is taken at IRQL {before}, and {level} is the most");
    checks::check(port.number(), Check::Irql, before <= level, text);
    let is_free = !held(port, lock::INTERRUPT);
    let text = format_args!("a message's lock is taken, which is held already");
    checks::check(port.number(), Check::Lock, is_free, text);
    cpu::set_priority(level.max(before));
    set(port, lock::INTERRUPT, true);
    // SAFETY: the miniport's pointer to a ULONG, which it vouches for.
    unsafe { (old as *mut u32).write_unaligned(before.into()) };
    status::SUCCESS
}

/// `StorPortReleaseMSISpinLock(extension, message, old IRQL)`.
pub(super) fn release_message(extension: u64, message: u32, old: u8) -> u32 {
    let Some(port) = of_extension(extension) else {
        return status::INVALID_PARAMETER;
    };
    if message >= port.with(|state| state.granted) {
        return status::INVALID_PARAMETER;
    }
    let is_held = held(port, lock::INTERRUPT);
    let text = format_args!("a message's lock is released that is not held");
    checks::check(port.number(), Check::Lock, is_held, text);
    set(port, lock::INTERRUPT, false);
    cpu::set_priority(old);
    status::SUCCESS
}

fn held(port: &Port, kind: u32) -> bool {
    port.with(|state| match kind {
        lock::START_IO => state.locks.start_io,
        lock::INTERRUPT => state.locks.interrupt,
        _ => false,
    })
}

fn set(port: &Port, kind: u32, value: bool) {
    port.with(|state| match kind {
        lock::START_IO => state.locks.start_io = value,
        lock::INTERRUPT => state.locks.interrupt = value,
        _ => {
            let change = if value { 1 } else { -1 };
            state.locks.dpc = state.locks.dpc.saturating_add_signed(change);
        }
    });
}

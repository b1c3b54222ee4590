//! The locks that a miniport takes, by the two tables of `StorPortAcquireSpinLock`; what the locks are is in `spin`.

use super::abi::{lock, stor_status as status};
use super::port::{Port, of_extension};
use super::spin::{self, Lock, Released};
use crate::hal::cpu;
use crate::hal::processor::Own;
use crate::nt::checks::{self, Check};
use crate::nt::dispatch::DISPATCH_LEVEL;
use crate::nt::thunk;

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

/// The device whose miniport a processor is in, and in which of its routines.
static CURRENT: Own<(usize, Callback)> = Own::new((0, Callback::None));

/// A routine of a device's miniport is entered, or left for the one it was called in. The one before.
pub(super) fn enter(device: usize, who: Callback) -> (usize, Callback) {
    CURRENT.with(|current| core::mem::replace(current, (device, who)))
}

/// The device whose miniport is being called.
pub fn current_device() -> usize {
    CURRENT.get().0
}

/// The miniport's routine that runs.
pub(super) fn current() -> Callback {
    CURRENT.get().1
}

/// The name of the miniport's routine that runs.
pub fn current_routine() -> &'static str {
    CURRENT.get().1.name()
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
pub(super) fn acquire(extension: u64, kind: u32, context: u64, handle: u64) {
    let place = thunk::called_from();
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
    let (_, who) = CURRENT.get();
    let first = match kind {
        lock::DPC => Lock::Dpc(context),
        lock::START_IO => Lock::StartIo,
        _ => Lock::Message(0),
    };
    // Two pages say otherwise of what it is called with, see `control`.
    let is_doubtful = who == Callback::AdapterControl;
    if is_doubtful && kind == lock::INTERRUPT {
        // Held or not, it has it now.
    } else if spin::is_own_alone(device, first) {
        let text = format_args!("{} takes {name}, which is held already", who.name());
        checks::broken(device, Check::Lock, text);
    } else if kind != lock::INTERRUPT && who.may_take(kind) && spin::has_interrupt_lock(device) {
        let text = format_args!(
            "{} takes {name} while it has the interrupt lock, which comes last",
            who.name()
        );
        checks::broken(device, Check::Lock, text);
    } else {
        let text = format_args!("{name} is taken at IRQL {before}, and {level} is the most");
        checks::check(device, Check::Irql, before <= level || is_doubtful, text);
        let text = format_args!("{} takes {name}, which it may not", who.name());
        // With concurrent channels HwStorStartIo does not have it.
        let may = who.may_take(kind) || who == Callback::StartIo && port.has_channels();
        checks::check(device, Check::Lock, may, text);
    }
    cpu::set_priority(level.max(before));
    match kind {
        lock::INTERRUPT => port.take_interrupt_locks(who, place, handle),
        _ => spin::take(device, first, who, place, handle),
    }
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

/// `StorPortAcquireSpinLockEx`: it also has the kinds of threaded DPCs, and of who is at `DISPATCH_LEVEL` already; both
/// are locks of the DPC object that is given.
pub(super) fn acquire_ex(extension: u64, kind: u32, context: u64, handle: u64) -> u32 {
    let needs_object = matches!(kind, lock::DPC | lock::THREADED_DPC | lock::DPC_LEVEL);
    if handle == 0 || needs_object && context == 0 || of_extension(extension).is_none() {
        return status::INVALID_PARAMETER;
    }
    let kind = match kind {
        lock::DPC_LEVEL if cpu::priority() < DISPATCH_LEVEL => return status::INVALID_IRQL,
        lock::THREADED_DPC | lock::DPC_LEVEL => lock::DPC,
        lock::DPC | lock::START_IO | lock::INTERRUPT => kind,
        _ => return status::INVALID_PARAMETER,
    };
    acquire(extension, kind, context, handle);
    status::SUCCESS
}

/// `StorPortReleaseSpinLock`.
pub(super) fn release(extension: u64, handle: u64) {
    let Some(port) = of_extension(extension) else {
        return;
    };
    let device = port.number();
    // SAFETY: the miniport gives the handle that it acquired with.
    let content = unsafe { &mut *(handle as *mut Handle) };
    if content.held != HELD {
        let text = format_args!("a lock is released with a handle that holds none");
        checks::broken(device, Check::Lock, text);
        return;
    }
    content.held = 0;
    match spin::release(handle) {
        Released::Well => {}
        Released::Elsewhere => {
            let text = format_args!("a lock is released on another processor than it was taken on");
            checks::broken(device, Check::Lock, text);
        }
        Released::NotHeld => {
            let text = format_args!("a lock is released that is not held any more");
            checks::broken(device, Check::Lock, text);
        }
    }
    cpu::set_priority(content.irql as u8);
}

/// `StorPortAcquireMSISpinLock(extension, message, old IRQL)`: the lock of one message, which its interrupt
/// routine runs under.
pub(super) fn acquire_message(extension: u64, message: u32, old: u64) -> u32 {
    let place = thunk::called_from();
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
    let lock = port.lock_of(message);
    let is_free = current() == Callback::AdapterControl || !spin::is_own(port.number(), lock);
    let text = format_args!("a message's lock is taken, which is held already");
    checks::check(port.number(), Check::Lock, is_free, text);
    cpu::set_priority(level.max(before));
    spin::take(port.number(), lock, current(), place, 0);
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
    let lock = port.lock_of(message);
    let is_held = spin::release_lock(port.number(), lock) == Released::Well;
    let text = format_args!("a message's lock is released that is not held");
    checks::check(port.number(), Check::Lock, is_held, text);
    cpu::set_priority(old);
    status::SUCCESS
}

impl Port {
    /// The lock that the routine of a message, or of the line, runs under.
    pub(super) fn lock_of(&self, message: u32) -> Lock {
        // INTERRUPT_SYNCHRONIZATION_MODE: InterruptSupportNone, InterruptSynchronizeAll, this.
        const PER_MESSAGE: u32 = 2;
        let configuration = self.configuration();
        let each = configuration.message_routine != 0
            && configuration.message_synchronization == PER_MESSAGE;
        Lock::Message(if each { message } else { 0 })
    }

    /// Takes the interrupt lock, or those of all messages one after the other.
    pub(super) fn take_interrupt_locks(&self, who: Callback, place: u64, handle: u64) {
        let messages = self.with(|state| state.granted).max(1);
        let last = match self.lock_of(messages - 1) {
            Lock::Message(last) => last,
            _ => 0,
        };
        for message in 0..=last {
            spin::take(self.number(), Lock::Message(message), who, place, handle);
        }
    }
}

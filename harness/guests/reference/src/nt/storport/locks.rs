//! The locks that a miniport takes, and those that are taken for it. There is one processor: a lock that
//! is held when it is taken would never be given back.
//!
//! Source: the table of `StorPortAcquireSpinLock`.

use super::abi::lock;
use super::port::{Port, of_extension};
use crate::dbg_print;
use crate::hal::cpu;
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
    let before = cpu::priority();
    let level = match kind {
        lock::DPC | lock::START_IO => DISPATCH_LEVEL,
        lock::INTERRUPT => port.with(|state| state.levels.0),
        other => {
            dbg_print!("NT: check lock: StorPortAcquireSpinLock of kind {other}, which is none");
            return;
        }
    };
    if before > level {
        dbg_print!(
            "NT: check irql: {} is taken at IRQL {before}, {level} is the most",
            name(kind)
        );
    }
    cpu::set_priority(level.max(before));
    if held(port, kind) {
        dbg_print!("NT: check lock: {} is taken while it is held", name(kind));
    }
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
        dbg_print!("NT: check lock: a lock is released with a handle that holds none");
        return;
    }
    handle.held = 0;
    set(port, handle.kind, false);
    cpu::set_priority(handle.irql as u8);
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
            state.locks.dpc = state
                .locks
                .dpc
                .saturating_add_signed(if value { 1 } else { -1 })
        }
    });
}

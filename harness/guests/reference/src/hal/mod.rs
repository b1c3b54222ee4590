//! The machine: a q35 as QEMU makes it and the firmware leaves it, with one processor or more.
//!
//! Nothing here knows of Windows or of a driver.

pub mod apic;
pub mod boot;
pub mod console;
pub mod cpu;
pub mod idt;
pub mod mem;
pub mod mmio;
pub mod pci;
pub mod processor;
pub mod root_port;
pub mod time;
pub mod vm;
pub mod watchdog;

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

/// Where the isa-debug-exit device listens; QEMU's exit status is `value * 2 + 1`.
const DEBUG_EXIT: u16 = 0xf4;

/// How the guest ends.
#[derive(Clone, Copy)]
pub enum Exit {
    /// By command. QEMU's exit status is 1.
    Done = 0,
    /// By a bug check. QEMU's exit status is 3.
    Crash = 1,
    /// By a parameter that it does not know. QEMU's exit status is 5.
    Usage = 2,
}

/// Ends the machine.
pub fn exit(how: Exit) -> ! {
    console::drain();
    cpu::out8(DEBUG_EXIT, how as u8);
    cpu::halt()
}

/// Who runs alone, plus one; 0: nobody.
static ALONE: AtomicU32 = AtomicU32::new(0);

/// Runs `f` with interrupts off, and while no other processor runs such a thing. It may be called inside
/// itself. What `f` does has to have an end that depends on no other processor.
pub fn exclusive<R>(f: impl FnOnce() -> R) -> R {
    if !processor::are_several() {
        return cpu::without_interrupts(|| {
            let before = ALONE.load(Ordering::Relaxed);
            ALONE.store(1, Ordering::Relaxed);
            let result = f();
            ALONE.store(before, Ordering::Relaxed);
            result
        });
    }
    cpu::without_interrupts(|| {
        let own = processor::number() as u32 + 1;
        if ALONE.load(Ordering::Relaxed) == own {
            return f();
        }
        while ALONE
            .compare_exchange_weak(0, own, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            cpu::pause();
        }
        let result = f();
        ALONE.store(0, Ordering::Release);
        result
    })
}

/// Whether the processor that runs this is inside [`exclusive`].
pub fn is_exclusive() -> bool {
    ALONE.load(Ordering::Relaxed) == processor::number() as u32 + 1
}

/// A value that the processors reach from their main paths and from interrupt handlers, one at a time.
pub struct Local<T>(UnsafeCell<T>);

// SAFETY: one processor reaches it at a time; see `with`.
unsafe impl<T> Sync for Local<T> {}

impl<T> Local<T> {
    /// A new value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Reaches the value as [`exclusive`] has it. `f` must not reach the same value again.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        exclusive(|| {
            // SAFETY: nothing else runs meanwhile that reaches it, and `f` does not come back here.
            f(unsafe { &mut *self.0.get() })
        })
    }
}

//! The machine: a q35 with one processor, as QEMU makes it and the firmware leaves it.
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
pub mod root_port;
pub mod time;
pub mod vm;

use core::cell::UnsafeCell;

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

/// A value that the one processor reaches from the main path and from interrupt handlers.
///
/// Interrupts do not nest. The main path reaches what a handler changes with interrupts off.
pub struct Local<T>(UnsafeCell<T>);

// SAFETY: there is one processor; see `with`.
unsafe impl<T> Sync for Local<T> {}

impl<T> Local<T> {
    /// A new value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Reaches the value with interrupts off. `f` must not reach the same value again.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        cpu::without_interrupts(|| {
            // SAFETY: with interrupts off nothing else runs, and `f` does not come back here.
            f(unsafe { &mut *self.0.get() })
        })
    }
}

//! Calling a routine of a driver's image, by the convention of 64-bit Windows.
//!
//! Source: "x64 calling convention": four arguments in rcx, rdx, r8 and r9, the others behind a home
//! space of 32 bytes. A kernel thread has a stack of 24 KiB; here a driver gets 32 KiB with a page in
//! front of it that is not there. ISRs and DPCs run on the stacks of their interrupts.

use super::checks::{self, Check};
use super::{image, storport, thunk};
use crate::dbg_print;
use crate::hal::idt::Frame;
use crate::hal::processor::{self, Own};
use crate::hal::{self, apic, cpu, vm};
use alloc::format;
#[cfg(not(test))]
use core::arch::global_asm;

/// Size of a driver's stack, in bytes.
const STACK: u64 = 32 * 1024;
/// Most arguments.
const ARGUMENTS: usize = 6;

#[cfg(not(test))]
global_asm!(
    r#"
    .text
    .balign 16
    .global call_image
call_image:                     // rdi: routine, rsi: six arguments, rdx: top of another stack or 0
    pushq %rbp
    movq %rsp, %rbp
    testq %rdx, %rdx
    cmovneq %rdx, %rsp
    andq $-16, %rsp
    subq $64, %rsp
    movq %rdi, %rax
    movq %rsi, %r11
    movq (%r11), %rcx
    movq 8(%r11), %rdx
    movq 16(%r11), %r8
    movq 24(%r11), %r9
    movq 32(%r11), %r10
    movq %r10, 32(%rsp)
    movq 40(%r11), %r10
    movq %r10, 40(%rsp)
    call *%rax
    leave
    ret
    "#,
    options(att_syntax)
);

#[cfg(not(test))]
unsafe extern "C" {
    fn call_image(routine: u64, arguments: *const u64, stack: u64) -> u64;
}

#[cfg(test)]
unsafe fn call_image(_: u64, _: *const u64, _: u64) -> u64 {
    0
}

/// The timer looks so often, in microseconds.
const LOOK: u64 = 250_000;
/// After so long in one call the place where the driver is is printed. Looks are counted, and not the time: the clock of
/// a guest stands still as long as nobody asks for it.
const LONG: u64 = 8 * LOOK;
/// What a look counts at the least.
const LEAST: u64 = LOOK / 4;

/// Then it is looked so often which register or memory it touches next.
const TRIES: u32 = 4;

/// A call that a processor is in.
#[derive(Clone, Copy)]
struct Looks {
    /// How long its calls have taken, in microseconds.
    taken: u64,
    /// How often the timer has looked since that was long.
    long: u32,
    /// What it waits for has been told.
    told: bool,
}

impl Looks {
    /// The timer looks, `stalled` microseconds of stalls after the look before. A wait with a limit is so many looks at
    /// a register with a stall between them, and on a busy machine each look takes longer: the stalls are what counts.
    fn look(&mut self, stalled: u64) {
        self.taken += match stalled {
            0 => LOOK,
            stalled => stalled.clamp(LEAST, LOOK),
        };
        self.long += u32::from(self.taken >= LONG);
    }
}

/// How long the driver has asked a processor to stall since the last look, in microseconds.
static STALLED: Own<u64> = Own::new(0);

/// The driver has the processor stall.
pub fn stalls(microseconds: u32) {
    STALLED.with(|stalled| *stalled += u64::from(microseconds));
}

/// What a processor is in: the outermost call, of its main path or of an interrupt's or DPC's; none without one.
static LOOKS: Own<Option<Looks>> = Own::new(None);

/// The timer's interrupt, which came at `place`.
pub fn watch(place: u64) {
    let stalled = STALLED.with(core::mem::take);
    let Some(looks) = LOOKS.with(|looks| {
        looks.as_mut().map(|looks| {
            looks.look(stalled);
            *looks
        })
    }) else {
        return;
    };
    let device = storport::current_device();
    let place = || {
        let of = |at| image::image().and_then(|image| image.place(at));
        let called =
            || of(thunk::called_from()).map(|at| format!("{at}, in a routine that it called"));
        of(place)
            .or_else(called)
            .unwrap_or_else(|| "a routine of the model".into())
    };
    match looks.long {
        n if looks.told || n == 0 => {}
        n if n <= TRIES => {
            if n == 1 {
                dbg_print!(
                    "NT: the driver does not come back: it is at {}, in {}",
                    place(),
                    storport::current_routine()
                );
            }
            storport::port(device).watch(!n.is_multiple_of(2));
        }
        // It touches neither.
        _ => {
            told();
            checks::broken(
                device,
                Check::Poll,
                format_args!(
                    "{} does not come back: it is at {}",
                    storport::current_routine(),
                    place()
                ),
            );
        }
    }
    apic::timer(LOOK);
}

/// The clock that nothing holds off has come: it looks where the timer can't, at `HIGH_LEVEL` or with interrupts off.
pub fn watch_held_off(frame: &Frame) {
    const INTERRUPTS: u64 = 1 << 9;
    let timer_comes = frame.rflags & INTERRUPTS != 0 && cpu::priority() < apic::TIMER_VECTOR >> 4;
    // What the model is at in the middle of is let be.
    if !timer_comes && !hal::is_exclusive() {
        watch(frame.rip);
    }
}

/// Whether this processor is in a call that does not come back.
pub fn is_long() -> bool {
    LOOKS.get().is_some_and(|looks| looks.long > 0)
}

/// What this processor waits for has been told.
pub fn told() {
    LOOKS.with(|looks| {
        if let Some(looks) = looks {
            looks.told = true;
        }
    });
}

static STACK_TOP: Own<u64> = Own::new(0);

/// Calls `routine`; up to six arguments.
///
/// # Panics
/// With more, or when there is no memory for the driver's stack.
pub fn call(routine: u64, arguments: &[u64]) -> u64 {
    let mut all = [0; ARGUMENTS];
    all[..arguments.len()].copy_from_slice(arguments);
    let outermost = processor::is_on_main_stack();
    let stack = if outermost { stack() } else { 0 };
    // What interrupts a call is looked at with it.
    let begins = LOOKS.with(|looks| {
        let begins = looks.is_none();
        looks.get_or_insert(Looks {
            taken: 0,
            long: 0,
            told: false,
        });
        begins
    });
    if begins {
        STALLED.with(|stalled| *stalled = 0);
        apic::timer(LOOK);
    }
    // SAFETY: the image is mapped and its code is trusted as far as a driver's is: what it breaks is
    // this machine.
    let result = unsafe { call_image(routine, all.as_ptr(), stack) };
    if begins {
        LOOKS.with(|looks| *looks = None);
    }
    result
}

fn stack() -> u64 {
    let known = STACK_TOP.get();
    if known != 0 {
        return known;
    }
    let bottom = vm::allocate_pages(STACK / vm::PAGE).expect("memory for the driver's stack");
    STACK_TOP.with(|top| *top = bottom + STACK);
    bottom + STACK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks_until_long(stalled: u64) -> u32 {
        let mut looks = Looks {
            taken: 0,
            long: 0,
            told: false,
        };
        let is_long = |_: &u32| {
            looks.look(stalled);
            looks.long > 0
        };
        (1..100).find(is_long).unwrap()
    }

    #[test]
    fn a_call_is_as_long_as_its_stalls_and_as_its_looks_without_any() {
        assert_eq!(looks_until_long(0), 8);
        assert_eq!(looks_until_long(LOOK), 8);
        assert_eq!(looks_until_long(LOOK / 2), 16);
        assert_eq!(looks_until_long(1), 32);
    }
}

//! Calling a routine of a driver's image, by the convention of 64-bit Windows.
//!
//! Source: "x64 calling convention": four arguments in rcx, rdx, r8 and r9, the others behind a home
//! space of 32 bytes. A kernel thread has a stack of 24 KiB; here a driver gets 32 KiB with a page in
//! front of it that is not there. ISRs and DPCs run on the stacks of their interrupts.

use super::{image, rounds, storport, thunk};
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
/// After so many looks into one call the place where the driver is is printed. They are counted, and not the time: the
/// clock of a guest stands still as long as nobody asks for it.
const LONG: u32 = 8;
/// It is let go on step by step from this look on: who goes round is told after [`LONG`] looks.
const SUSPICIOUS: u32 = LONG - 1;

/// A call that a processor is in.
#[derive(Clone, Copy)]
struct Looks {
    /// How often the timer has looked since the first of its calls began.
    count: u32,
    /// What it waits for has been told.
    told: bool,
}

/// What a processor is in: the outermost call, of its main path or of an interrupt's or DPC's; none without one.
static LOOKS: Own<Option<Looks>> = Own::new(None);

/// Where the stack of the innermost call ends.
static STACK_END: Own<u64> = Own::new(0);

/// The timer's interrupt.
pub fn watch(frame: &mut Frame) {
    let Some(looks) = LOOKS.with(|looks| {
        looks.as_mut().map(|looks| {
            looks.count += 1;
            *looks
        })
    }) else {
        return;
    };
    if looks.count == LONG {
        let of = |at| image::image().and_then(|image| image.place(at));
        let called =
            || of(thunk::called_from()).map(|at| format!("{at}, in a routine that it called"));
        let place = of(frame.rip).or_else(called);
        dbg_print!(
            "NT: the driver does not come back: it is at {}, in {}",
            place.unwrap_or_else(|| "a routine of the model".into()),
            storport::current_routine()
        );
    }
    if looks.count >= SUSPICIOUS && !looks.told {
        rounds::begin(storport::current_device(), frame);
    }
    apic::timer(LOOK);
}

/// The clock that nothing holds off has come: it looks where the timer can't, at `HIGH_LEVEL` or with interrupts off.
pub fn watch_held_off(frame: &mut Frame) {
    const INTERRUPTS: u64 = 1 << 9;
    let timer_comes = frame.rflags & INTERRUPTS != 0 && cpu::priority() < apic::TIMER_VECTOR >> 4;
    // What the model is at in the middle of is let be.
    if !timer_comes && !hal::is_exclusive() {
        watch(frame);
    }
}

/// Where the stack of the driver's routine that runs ends.
pub fn stack_end() -> u64 {
    STACK_END.get()
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
            count: 0,
            told: false,
        });
        begins
    });
    if begins {
        apic::timer(LOOK);
    }
    let end = if outermost {
        stack
    } else {
        cpu::stack_pointer()
    };
    let outer = STACK_END.with(|own| core::mem::replace(own, end));
    // SAFETY: the image is mapped and its code is trusted as far as a driver's is: what it breaks is
    // this machine.
    let result = unsafe { call_image(routine, all.as_ptr(), stack) };
    STACK_END.with(|own| *own = outer);
    if begins {
        let looks = LOOKS.with(Option::take);
        if looks.is_some_and(|looks| looks.count >= SUSPICIOUS) {
            rounds::forget();
        }
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

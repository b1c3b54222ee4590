//! Calling a routine of a driver's image, by the convention of 64-bit Windows.
//!
//! Source: "x64 calling convention": four arguments in rcx, rdx, r8 and r9, the others behind a home
//! space of 32 bytes. A kernel thread has a stack of 24 KiB; here a driver gets 32 KiB with a page in
//! front of it that is not there. ISRs and DPCs run on the stacks of their interrupts.

use super::storport;
use crate::dbg_print;
use crate::hal::processor::{self, Own};
use crate::hal::{apic, vm};
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

/// How often the timer has looked since the call began that a processor's main path is in; none without one.
static LOOKS: Own<Option<u32>> = Own::new(None);

/// The timer's interrupt, which came at `place`.
pub fn watch(place: u64) {
    let Some(looks) = LOOKS.with(|looks| {
        *looks = looks.map(|looks| looks + 1);
        *looks
    }) else {
        return;
    };
    let port = || storport::port(storport::current_device());
    match looks {
        LONG => {
            let place = super::image::image().and_then(|image| image.place(place));
            let place = place.unwrap_or_else(|| "a routine of the model".into());
            dbg_print!("NT: the driver does not come back: it is at {place}");
            port().watch(true);
        }
        n if n == LONG + 1 => port().watch(false),
        _ => {}
    }
    apic::timer(LOOK);
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
    if outermost {
        LOOKS.with(|looks| *looks = Some(0));
        apic::timer(LOOK);
    }
    // SAFETY: the image is mapped and its code is trusted as far as a driver's is: what it breaks is
    // this machine.
    let result = unsafe { call_image(routine, all.as_ptr(), stack) };
    if outermost {
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

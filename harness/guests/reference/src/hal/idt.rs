//! Descriptor tables and the way from an interrupt to Rust.
//!
//! Compiled code uses the red zone below its stack pointer, so every entry switches to a stack of
//! its own. The stubs save all registers, the vector ones too, and handlers run with interrupts
//! off: they do not nest. Only the one of `apic::DISPATCH_VECTOR` lets others in, on a third stack.

#[cfg(not(test))]
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

#[cfg(not(test))]
use super::apic;

const STACK: usize = 32 * 1024;
const VECTORS: usize = 256;
const CODE: u16 = 0x08;
const TASK: u16 = 0x18;
/// Interrupt gate, present, ring 0.
const GATE: u8 = 0x8e;

#[repr(C, align(16))]
struct Stack([u8; STACK]);

#[repr(C, packed)]
struct TaskState {
    reserved: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: [u16; 5],
    io_map: u16,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    low: u16,
    code: u16,
    ist: u8,
    kind: u8,
    middle: u16,
    high: u32,
    reserved: u32,
}

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

struct Tables {
    gates: [Gate; VECTORS],
    segments: [u64; 5],
    task: TaskState,
    interrupt_stack: Stack,
    exception_stack: Stack,
    dispatch_stack: Stack,
}

struct Shared(UnsafeCell<Tables>);
// SAFETY: written once, by `install`, before interrupts are on; read by the processor.
unsafe impl Sync for Shared {}

static TABLES: Shared = Shared(UnsafeCell::new(Tables {
    gates: [Gate {
        low: 0,
        code: 0,
        ist: 0,
        kind: 0,
        middle: 0,
        high: 0,
        reserved: 0,
    }; VECTORS],
    segments: [0, 0x00af_9a00_0000_ffff, 0x00cf_9200_0000_ffff, 0, 0],
    task: TaskState {
        reserved: 0,
        rsp: [0; 3],
        reserved1: 0,
        ist: [0; 7],
        reserved2: [0; 5],
        io_map: size_of::<TaskState>() as u16,
    },
    interrupt_stack: Stack([0; STACK]),
    exception_stack: Stack([0; STACK]),
    dispatch_stack: Stack([0; STACK]),
}));

/// The registers at an interrupt, as the stub saved them.
#[repr(C)]
#[derive(Debug)]
pub struct Frame {
    /// r15 to r8, then rbp, rdi, rsi, rdx, rcx, rbx, rax.
    pub general: [u64; 15],
    /// Which entry of the table.
    pub vector: u64,
    /// The processor's error code, or 0.
    pub error: u64,
    /// Where it happened.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
}

#[cfg(not(test))]
global_asm!(
    r#"
    .altmacro
    .macro stub n
    .balign 16
    .if (\n == 8) || (\n >= 10 && \n <= 14) || (\n == 17) || (\n == 21) || (\n == 29) || (\n == 30)
    .else
    pushq $0
    .endif
    pushq $\n
    jmp stub_common
    .endm

    .text
    .balign 16
stubs:
    .set n, 0
    .rept 256
    stub %n
    .set n, n + 1
    .endr

    .balign 16
stub_common:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    subq $512, %rsp
    fxsave64 (%rsp)
    cld
    call on_interrupt
    fxrstor64 (%rsp)
    addq $512, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    iretq
    "#,
    options(att_syntax)
);

/// Distance between two stubs in bytes.
const STUB: u64 = 16;

/// First vector that is not an exception.
const FIRST_INTERRUPT: usize = 32;

#[cfg(not(test))]
unsafe extern "C" {
    static stubs: u8;
}

/// Loads the descriptor tables.
///
/// # Safety
/// Once, at boot, before interrupts are enabled.
#[cfg(not(test))]
pub unsafe fn install() {
    // SAFETY: nothing else uses the tables yet, and they are never moved.
    unsafe {
        let tables = &mut *TABLES.0.get();
        let top = |stack: &Stack| &raw const *stack as u64 + STACK as u64;
        tables.task.ist[0] = top(&tables.interrupt_stack);
        tables.task.ist[1] = top(&tables.exception_stack);
        tables.task.ist[2] = top(&tables.dispatch_stack);
        for (n, gate) in tables.gates.iter_mut().enumerate() {
            let entry = &raw const stubs as u64 + n as u64 * STUB;
            *gate = Gate {
                low: entry as u16,
                code: CODE,
                ist: match n {
                    n if n < FIRST_INTERRUPT => 2,
                    n if n == usize::from(apic::DISPATCH_VECTOR) => 3,
                    _ => 1,
                },
                kind: GATE,
                middle: (entry >> 16) as u16,
                high: (entry >> 32) as u32,
                reserved: 0,
            };
        }
        let task = &raw const tables.task as u64;
        let limit = size_of::<TaskState>() as u64 - 1;
        tables.segments[3] =
            limit | (task & 0xff_ffff) << 16 | 0x89 << 40 | (task >> 24 & 0xff) << 56;
        tables.segments[4] = task >> 32;
        let segments = TablePointer {
            limit: size_of_val(&tables.segments) as u16 - 1,
            base: &raw const tables.segments as u64,
        };
        let gates = TablePointer {
            limit: size_of_val(&tables.gates) as u16 - 1,
            base: &raw const tables.gates as u64,
        };
        asm!("lgdt [{}]", "lidt [{}]", "ltr {:x}", in(reg) &raw const segments,
            in(reg) &raw const gates, in(reg) TASK, options(nostack));
    }
}

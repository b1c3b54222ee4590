//! Descriptor tables and the way from an interrupt to Rust.
//!
//! Compiled code uses the red zone below its stack pointer, so every entry switches to a stack of
//! its own. The stubs save all registers, the vector ones too, and handlers run with interrupts
//! off. One that lets others in has to do so within [`nested`], so that they come to stacks below its own.
//! Each processor has its own segments, task and stacks; the gates are the same for all.

#[cfg(not(test))]
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

#[cfg(not(test))]
use super::apic;
use super::{mem, processor};

/// Size of the stack of one handler, and how many there are of each kind.
const STACK: usize = 32 * 1024;
const INTERRUPTS: usize = 10;
const EXCEPTIONS: usize = 1;
const DISPATCHES: usize = 2;
const NMIS: usize = 1;
const STACKS: usize = (INTERRUPTS + EXCEPTIONS + DISPATCHES + NMIS) * STACK;
const VECTORS: usize = 256;
const CODE: u16 = 0x08;
const TASK: u16 = 0x18;
/// Interrupt gate, present, ring 0.
const GATE: u8 = 0x8e;

/// Which handlers are let in on stacks of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Of devices, the timer and the serial port.
    Interrupt = 0,
    /// Of [`apic::DISPATCH_VECTOR`].
    Dispatch = 2,
}

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
    segments: [u64; 5],
    task: TaskState,
}

struct Shared<T>(UnsafeCell<T>);
// SAFETY: gates are written once, before interrupts are on, and then read by processors. A processor's tables
// are written before it runs, and then by itself, with interrupts off.
unsafe impl<T> Sync for Shared<T> {}

static GATES: Shared<[Gate; VECTORS]> = Shared(UnsafeCell::new(
    [Gate {
        low: 0,
        code: 0,
        ist: 0,
        kind: 0,
        middle: 0,
        high: 0,
        reserved: 0,
    }; VECTORS],
));

static TABLES: [Shared<Tables>; processor::MOST] = [const {
    Shared(UnsafeCell::new(Tables {
        segments: [0, 0x00af_9a00_0000_ffff, 0x00cf_9200_0000_ffff, 0, 0],
        task: TaskState {
            reserved: 0,
            rsp: [0; 3],
            reserved1: 0,
            ist: [0; 7],
            reserved2: [0; 5],
            io_map: size_of::<TaskState>() as u16,
        },
    }))
}; processor::MOST];

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
/// It comes in between anything, the other exceptions too.
pub const NMI: u64 = 2;

#[cfg(not(test))]
unsafe extern "C" {
    static stubs: u8;
}

/// Writes the gates, and gives the first processor its tables.
///
/// # Safety
/// Once, at boot, before interrupts are enabled.
pub unsafe fn install() {
    // SAFETY: nothing else uses the gates yet, and they are never moved.
    #[cfg(not(test))]
    unsafe {
        for (n, gate) in (*GATES.0.get()).iter_mut().enumerate() {
            let entry = &raw const stubs as u64 + n as u64 * STUB;
            *gate = Gate {
                low: entry as u16,
                code: CODE,
                ist: match n {
                    n if n as u64 == NMI => 4,
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
        assert!(prepare(0), "memory for stacks");
        load(0);
    }
}

/// Makes the tables of a processor that does not run yet. `false` when there is no memory for its stacks.
pub fn prepare(n: usize) -> bool {
    let Some(stacks) = mem::pages(STACKS) else {
        return false;
    };
    // SAFETY: the processor does not use them yet.
    unsafe { describe(n, stacks) };
    true
}

/// # Safety
/// The processor does not use its tables yet.
unsafe fn describe(n: usize, stacks: u64) {
    let top = |above: usize| stacks + (above * STACK) as u64;
    // SAFETY: the caller's contract.
    let tables = unsafe { &mut *TABLES[n].0.get() };
    tables.task.ist[0] = top(INTERRUPTS);
    tables.task.ist[1] = top(INTERRUPTS + EXCEPTIONS);
    tables.task.ist[2] = top(INTERRUPTS + EXCEPTIONS + DISPATCHES);
    tables.task.ist[3] = top(INTERRUPTS + EXCEPTIONS + DISPATCHES + NMIS);
    let task = &raw const tables.task as u64;
    let limit = size_of::<TaskState>() as u64 - 1;
    tables.segments[3] = limit | (task & 0xff_ffff) << 16 | 0x89 << 40 | (task >> 24 & 0xff) << 56;
    tables.segments[4] = task >> 32;
}

/// Loads the tables of the processor that runs this.
///
/// # Safety
/// Once, by processor `n`, before its interrupts are enabled, with its tables made.
pub unsafe fn load(n: usize) {
    let segments = TablePointer {
        limit: 5 * 8 - 1,
        base: TABLES[n].0.get() as u64,
    };
    let gates = TablePointer {
        limit: (VECTORS * size_of::<Gate>()) as u16 - 1,
        base: GATES.0.get() as u64,
    };
    #[cfg(not(test))]
    // SAFETY: the tables hold what is true and are never moved.
    unsafe {
        asm!("lgdt [{}]", "lidt [{}]", "ltr {:x}", in(reg) &raw const segments,
            in(reg) &raw const gates, in(reg) TASK, options(nostack));
    }
    #[cfg(test)]
    let _ = (segments.base, gates.base, segments.limit, gates.limit);
}

/// Runs `act` so that it may let handlers in that come to the same entry: they have stacks below its own. There
/// are no more of them than there are priorities. Called and left with interrupts off.
pub fn nested<R>(entry: Entry, act: impl FnOnce() -> R) -> R {
    let place = TABLES[processor::number()].0.get();
    let move_by = |bytes: i64| {
        // SAFETY: the table is this processor's, which has interrupts off; the field is not aligned.
        unsafe {
            let field = (&raw mut (*place).task.ist)
                .cast::<u64>()
                .add(entry as usize);
            field.write_unaligned(field.read_unaligned().wrapping_add_signed(bytes));
        }
    };
    move_by(-(STACK as i64));
    let result = act();
    move_by(STACK as i64);
    result
}

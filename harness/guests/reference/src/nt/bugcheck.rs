//! `KeBugCheckEx`, and which bug check a processor exception becomes.
//!
//! Source: Microsoft's bug check reference.

use super::dispatch;
use super::{image, thunk};
use crate::hal::idt::{Frame, NMI};
use crate::hal::{self, Exit, cpu, processor};
use crate::println;
use crate::standin;

/// Codes and names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BugCheck(pub u32, pub &'static str);

/// A processor exception that nobody handles.
pub const KMODE_EXCEPTION_NOT_HANDLED: BugCheck = BugCheck(0x1e, "KMODE_EXCEPTION_NOT_HANDLED");
/// A request that is completed again.
pub const MULTIPLE_IRP_COMPLETE_REQUESTS: BugCheck =
    BugCheck(0x44, "MULTIPLE_IRP_COMPLETE_REQUESTS");
/// An address that is not mapped, touched at `PASSIVE_LEVEL`.
pub const PAGE_FAULT_IN_NONPAGED_AREA: BugCheck = BugCheck(0x50, "PAGE_FAULT_IN_NONPAGED_AREA");
/// An exception that must not happen in the kernel.
pub const UNEXPECTED_KERNEL_MODE_TRAP: BugCheck = BugCheck(0x7f, "UNEXPECTED_KERNEL_MODE_TRAP");
/// An address that is not mapped, touched at a raised IRQL.
pub const DRIVER_IRQL_NOT_LESS_OR_EQUAL: BugCheck = BugCheck(0xd1, "DRIVER_IRQL_NOT_LESS_OR_EQUAL");
/// Somebody outside wants to know what the processor does.
pub const NMI_HARDWARE_FAILURE: BugCheck = BugCheck(0x80, "NMI_HARDWARE_FAILURE");
/// Processors that do not come back.
pub const DPC_WATCHDOG_VIOLATION: BugCheck = BugCheck(0x133, "DPC_WATCHDOG_VIOLATION");
/// A line that stays asserted.
pub const HARDWARE_INTERRUPT_STORM: BugCheck = BugCheck(0xf2, "HARDWARE_INTERRUPT_STORM");

/// A driver calls a routine that is not there.
pub const DRIVER_ENTRYPOINT_NOT_FOUND: BugCheck =
    BugCheck(0xc000_0263, "STATUS_DRIVER_ENTRYPOINT_NOT_FOUND");
/// Names of the codes that a driver gives to `KeBugCheckEx`.
const NAMES: &[BugCheck] = &[
    BugCheck(0x0a, "IRQL_NOT_LESS_OR_EQUAL"),
    KMODE_EXCEPTION_NOT_HANDLED,
    MULTIPLE_IRP_COMPLETE_REQUESTS,
    PAGE_FAULT_IN_NONPAGED_AREA,
    BugCheck(0x7a, "KERNEL_DATA_INPAGE_ERROR"),
    UNEXPECTED_KERNEL_MODE_TRAP,
    NMI_HARDWARE_FAILURE,
    BugCheck(0x9c, "MACHINE_CHECK_EXCEPTION"),
    BugCheck(0x9f, "DRIVER_POWER_STATE_FAILURE"),
    BugCheck(0xc4, "DRIVER_VERIFIER_DETECTED_VIOLATION"),
    DRIVER_IRQL_NOT_LESS_OR_EQUAL,
    BugCheck(0xe2, "MANUALLY_INITIATED_CRASH"),
    HARDWARE_INTERRUPT_STORM,
    DPC_WATCHDOG_VIOLATION,
    BugCheck(0xf7, "DRIVER_OVERRAN_STACK_BUFFER"),
    BugCheck(0x139, "KERNEL_SECURITY_CHECK_FAILURE"),
];

/// The name of a code; of one that is not in the list, that it is a driver's own.
pub fn name(code: u32) -> &'static str {
    let known = NAMES.iter().find(|known| known.0 == code);
    known.map_or("of the driver's own", |known| known.1)
}

const ACCESS_VIOLATION: u64 = 0xc000_0005;
const ILLEGAL_INSTRUCTION: u64 = 0xc000_001d;
const DIVIDE_BY_ZERO: u64 = 0xc000_0094;
const ASSERTION_FAILURE: u64 = 0xc000_0420;

const DIVIDE_ERROR: u64 = 0;
const INVALID_OPCODE: u64 = 6;
const DOUBLE_FAULT: u64 = 8;
const PAGE_FAULT: u64 = 14;
/// Bit of a page fault's error code: the access was a write.
const WRITE: u64 = 2;

/// Prints the STOP line and the machine line, and ends the machine.
pub fn bug_check(code: BugCheck, parameters: [u64; 4]) -> ! {
    cpu::disable_interrupts();
    // The other processors come to a stop at what they share.
    hal::exclusive(|| stop(code, parameters))
}

fn stop(code: BugCheck, parameters: [u64; 4]) -> ! {
    if processor::are_several() {
        println!("NT: it is processor {} that stops", processor::number());
    }
    let [a, b, c, d] = parameters;
    println!(
        "*** STOP: 0x{:08X} (0x{a:016X},0x{b:016X},0x{c:016X},0x{d:016X})",
        code.0
    );
    println!("MISFIRE: crash 0x{:X} {}", code.0, code.1);
    standin::crash(code.0, parameters);
    hal::exit(Exit::Crash)
}

/// A processor exception.
pub fn exception(frame: &Frame) -> ! {
    print_registers(frame);
    if let Some(place) = image::image().and_then(|image| image.place(frame.rip)) {
        println!("NT: the exception is in {place}");
    }
    thunk::print_last_calls();
    let irql = u64::from(dispatch::irql());
    let address = cpu::fault_address();
    let write = u64::from(frame.error & WRITE != 0);
    match frame.vector {
        PAGE_FAULT if irql > 0 => bug_check(
            DRIVER_IRQL_NOT_LESS_OR_EQUAL,
            [address, irql, write, frame.rip],
        ),
        PAGE_FAULT => bug_check(PAGE_FAULT_IN_NONPAGED_AREA, [address, write, frame.rip, 0]),
        DIVIDE_ERROR => unhandled(DIVIDE_BY_ZERO, frame.rip),
        NMI => bug_check(NMI_HARDWARE_FAILURE, [0x4f_4454; 4]),
        INVALID_OPCODE => unhandled(ILLEGAL_INSTRUCTION, frame.rip),
        DOUBLE_FAULT => bug_check(UNEXPECTED_KERNEL_MODE_TRAP, [frame.vector, 0, 0, 0]),
        _ => unhandled(ACCESS_VIOLATION, frame.rip),
    }
}

fn unhandled(exception: u64, rip: u64) -> ! {
    bug_check(KMODE_EXCEPTION_NOT_HANDLED, [exception, rip, 0, 0])
}

/// An assertion of the guest itself did not hold.
pub fn assertion() -> ! {
    unhandled(ASSERTION_FAILURE, 0)
}

fn print_registers(frame: &Frame) {
    const NAMES: [&str; 15] = [
        "r15", "r14", "r13", "r12", "r11", "r10", "r9 ", "r8 ", "rbp", "rdi", "rsi", "rdx", "rcx",
        "rbx", "rax",
    ];
    for (names, values) in NAMES.chunks(3).zip(frame.general.chunks(3)).rev() {
        let [a, b, c] = [values[2], values[1], values[0]];
        println!(
            "{}={a:016x} {}={b:016x} {}={c:016x}",
            names[2], names[1], names[0]
        );
    }
    println!(
        "rip={:016x} rsp={:016x} efl={:08x} trap={:#04x} error={:#x}",
        frame.rip, frame.rsp, frame.rflags, frame.vector, frame.error
    );
}

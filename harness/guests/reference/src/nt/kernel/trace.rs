//! Tracing, which nobody has turned on: what a driver with WPP or TraceLogging imports.
//!
//! Source: `EtwRegister`, `EtwSetInformation`, `EtwUnregister`, `EtwWriteTransfer`, `IoWMIRegistrationControl`,
//! `MmGetSystemRoutineAddress` (0: there is no such routine), `RtlInitUnicodeString`, `WmiQueryTraceInformation`,
//! `WmiTraceMessage`.

use super::memory;
use crate::nt::status::NtStatus;

/// `STATUS_NOT_IMPLEMENTED`.
const NOT_IMPLEMENTED: u32 = 0xc000_0002;
/// The longest text of a `UNICODE_STRING`, in bytes without its NUL.
const LONGEST: u64 = 0xfffc;

/// `EtwRegister`: the handle is that of nobody.
pub(super) extern "win64" fn register(_id: u64, _routine: u64, _context: u64, handle: u64) -> u32 {
    if handle != 0 {
        // SAFETY: the driver's pointer, which it vouches for.
        unsafe { (handle as *mut u64).write_unaligned(0) };
    }
    NtStatus::SUCCESS.0
}

/// `EtwSetInformation`, `EtwUnregister`, `EtwWriteTransfer`, `IoWMIRegistrationControl`, `WmiTraceMessage`.
pub(super) extern "win64" fn succeed() -> u32 {
    NtStatus::SUCCESS.0
}

/// `WmiQueryTraceInformation`.
pub(super) extern "win64" fn query() -> u32 {
    NOT_IMPLEMENTED
}

/// `MmGetSystemRoutineAddress`.
pub(super) extern "win64" fn no_routine(_name: u64) -> u64 {
    0
}

/// `UNICODE_STRING`.
#[repr(C)]
struct Text {
    length: u16,
    room: u16,
    text: u64,
}

/// `RtlInitUnicodeString`.
pub(super) extern "win64" fn name(to: u64, text: u64) {
    let letters = if text == 0 {
        0
    } else {
        memory::length_of_wide_text(text)
    };
    let length = (2 * letters).min(LONGEST) as u16;
    let room = if text == 0 { 0 } else { length + 2 };
    // SAFETY: the driver's structure, which it vouches for.
    unsafe { (to as *mut Text).write_unaligned(Text { length, room, text }) };
}

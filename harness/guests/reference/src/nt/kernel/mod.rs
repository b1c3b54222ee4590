//! What `ntoskrnl.exe` exports, as far as a StorPort miniport calls it.

pub(super) mod memory;
pub mod missing;
mod print;
mod trace;

use super::bugcheck::{self, bug_check};
use super::storport::ProcessorNumber;
use super::{surface, thunk};
use crate::dbg_print;
use crate::hal::{processor, time};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, Ordering};

/// A routine by its name.
pub struct Routine {
    name: &'static str,
    entry: *const (),
}

// SAFETY: the pointer is that of a function.
unsafe impl Sync for Routine {}

impl Routine {
    /// A routine of this name.
    pub const fn new(name: &'static str, entry: *const ()) -> Self {
        Self { name, entry }
    }
}

/// Looks a routine up.
pub fn find(routines: &[Routine], name: &str) -> Option<u64> {
    routines
        .iter()
        .find(|routine| routine.name == name)
        .map(|routine| routine.entry as u64)
}

/// Fails to compile when the routines are not those of the list.
pub const fn complete(routines: &[Routine], names: &[&str]) {
    assert!(
        routines.len() == names.len(),
        "the model's list has other routines"
    );
    let mut n = 0;
    while n < names.len() {
        let (a, b) = (routines[n].name.as_bytes(), names[n].as_bytes());
        assert!(a.len() == b.len(), "the model's list has another order");
        let mut i = 0;
        while i < a.len() {
            assert!(a[i] == b[i], "the model's list has another order");
            i += 1;
        }
        n += 1;
    }
}

static ROUTINES: &[Routine] = &[
    Routine::new("DbgPrint", dbg_print_routine as *const ()),
    Routine::new("DbgPrintEx", dbg_print_ex as *const ()),
    Routine::new("EtwRegister", trace::register as *const ()),
    Routine::new("EtwSetInformation", trace::succeed as *const ()),
    Routine::new("EtwUnregister", trace::succeed as *const ()),
    Routine::new("EtwWriteTransfer", trace::succeed as *const ()),
    Routine::new("IoWMIRegistrationControl", trace::succeed as *const ()),
    Routine::new("KeBugCheck", bug_check_alone as *const ()),
    Routine::new("KeBugCheckEx", bug_check_routine as *const ()),
    Routine::new(
        "KeGetCurrentProcessorNumberEx",
        processor_number as *const (),
    ),
    Routine::new("KeNumberProcessors", (&raw const PROCESSORS).cast()),
    Routine::new("KeQueryActiveProcessorCount", processor_mask as *const ()),
    Routine::new(
        "KeQueryActiveProcessorCountEx",
        processor_count as *const (),
    ),
    Routine::new(
        "KeQueryMaximumProcessorCountEx",
        processor_count as *const (),
    ),
    Routine::new(
        "KeQueryPerformanceCounter",
        performance_counter as *const (),
    ),
    Routine::new("KeStallExecutionProcessor", stall as *const ()),
    Routine::new(
        "MmGetPhysicalAddress",
        memory::physical_address as *const (),
    ),
    Routine::new("MmGetSystemRoutineAddress", trace::no_routine as *const ()),
    Routine::new("RtlCompareMemory", memory::count_same as *const ()),
    Routine::new("RtlInitUnicodeString", trace::name as *const ()),
    Routine::new("WmiQueryTraceInformation", trace::query as *const ()),
    Routine::new("WmiTraceMessage", trace::succeed as *const ()),
    Routine::new("__C_specific_handler", no_handler as *const ()),
    Routine::new("__chkstk", stack_is_there as *const ()),
    Routine::new("_vsnprintf", print_into as *const ()),
    Routine::new("_vsnwprintf", print_wide_into as *const ()),
    Routine::new("memcmp", memory::compare_memory as *const ()),
    Routine::new("memcpy", memory::move_memory as *const ()),
    Routine::new("memmove", memory::move_memory as *const ()),
    Routine::new("memset", memory::set_memory as *const ()),
    Routine::new("strcmp", memory::compare_text as *const ()),
    Routine::new("strlen", memory::length_of_text as *const ()),
    Routine::new("strncmp", memory::compare_text_up_to as *const ()),
    Routine::new("wcslen", memory::length_of_wide_text as *const ()),
];

const _: () = complete(ROUTINES, surface::KERNEL);

/// The address of a routine of `ntoskrnl.exe`.
pub fn routine(dll: &str, name: &str) -> Option<u64> {
    dll.eq_ignore_ascii_case("ntoskrnl.exe")
        .then(|| find(ROUTINES, name))
        .flatten()
}

/// `DbgPrint`: one line of the driver's log. What follows the format is taken as it lies where arguments
/// lie, which holds for integers and pointers.
extern "win64" fn dbg_print_routine(
    format: u64,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
    f: u64,
) -> u32 {
    print(format, &[a, b, c, d, e, f])
}

/// `DbgPrintEx` and `StorPortDebugPrint` have what the line is about before the format; all of it is printed.
extern "win64" fn dbg_print_ex(
    _component: u32,
    _level: u32,
    format: u64,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
) -> u32 {
    print(format, &[a, b, c, d, e])
}

/// Prints lines of the driver's.
pub(super) fn print(format: u64, arguments: &[u64]) -> u32 {
    // SAFETY: the driver's string ends.
    let text = unsafe { print::format(format, arguments) };
    for line in text.lines() {
        dbg_print!("{line}");
    }
    0
}

/// `_vsnprintf`: what fits, and how long it is; -1 when it does not fit. The list of arguments is where they lie.
extern "win64" fn print_into(buffer: u64, size: u64, format: u64, list: u64) -> i32 {
    const MOST: u64 = 16;
    // SAFETY: the driver's string ends, and its list is on its stack, which goes on behind it.
    let (text, room) = unsafe {
        let arguments: [u64; MOST as usize] =
            core::array::from_fn(|n| (list as *const u64).add(n).read_unaligned());
        (print::format(format, &arguments), size as usize)
    };
    let taken = text.len().min(room);
    // SAFETY: the driver vouches for `size` bytes.
    unsafe {
        core::ptr::copy_nonoverlapping(text.as_ptr(), buffer as *mut u8, taken);
        if text.len() < room {
            (buffer as *mut u8).add(taken).write(0);
        }
    }
    if text.len() > room {
        -1
    } else {
        text.len() as i32
    }
}

/// `_vsnwprintf`: the same in UTF-16, of which the first 256 characters are followed.
extern "win64" fn print_wide_into(buffer: u64, size: u64, format: u64, list: u64) -> i32 {
    const LONGEST: u64 = 512;
    let letter = |at: u64| {
        // SAFETY: the driver's string ends.
        let letter = unsafe { (at as *const u16).read_unaligned() };
        u8::try_from(letter).unwrap_or(b'?')
    };
    let mut narrow: Vec<u8> = (0..LONGEST)
        .map(|n| letter(format + 2 * n))
        .take_while(|letter| *letter != 0)
        .collect();
    narrow.push(0);
    let mut text = [0u8; LONGEST as usize];
    let room = (size as usize).min(text.len());
    let length = print_into(
        text.as_mut_ptr() as u64,
        room as u64,
        narrow.as_ptr() as u64,
        list,
    );
    let taken = usize::try_from(length).unwrap_or(room);
    // With its end, where there is room for it.
    for (n, letter) in text.iter().enumerate().take(room.min(taken + 1)) {
        // SAFETY: the driver vouches for `size` characters.
        unsafe {
            (buffer as *mut u16)
                .add(n)
                .write_unaligned(u16::from(*letter))
        };
    }
    length
}

/// `__chkstk`, which a routine with a large frame calls with its size in rax: the stack is there. No register but r10
/// and r11 may change.
#[cfg(not(test))]
#[unsafe(naked)]
extern "win64" fn stack_is_there() {
    core::arch::naked_asm!("ret")
}
#[cfg(test)]
extern "win64" fn stack_is_there() {}

/// What is exported and no routine.
pub const VARIABLES: &[&str] = &["KeNumberProcessors"];

/// `KeNumberProcessors`.
static PROCESSORS: AtomicU8 = AtomicU8::new(1);

/// Variables have their values from here on.
pub fn set_variables() {
    PROCESSORS.store(processor::count() as u8, Ordering::Relaxed);
}

/// `KeGetCurrentProcessorNumberEx`: the index, and the number where it is asked for.
extern "win64" fn processor_number(at: u64) -> u32 {
    if at != 0 {
        // SAFETY: the driver's pointer, which it vouches for.
        unsafe { (at as *mut ProcessorNumber).write_unaligned(ProcessorNumber::own()) };
    }
    processor::number() as u32
}

/// `KeQueryActiveProcessorCount`: the number, and a bit for each where it is asked for.
extern "win64" fn processor_mask(at: u64) -> u32 {
    if at != 0 {
        // SAFETY: as for `processor_number`.
        unsafe { (at as *mut u64).write_unaligned((1 << processor::count()) - 1) };
    }
    processor::count() as u32
}

/// `KeQueryPerformanceCounter`: microseconds since boot.
extern "win64" fn performance_counter(frequency: u64) -> u64 {
    if frequency != 0 {
        // SAFETY: as for `processor_number`.
        unsafe { (frequency as *mut u64).write_unaligned(1_000_000) };
    }
    time::now()
}

/// `KeStallExecutionProcessor`. Its page asks for 50 microseconds at most; only `StorPortStallExecution` is judged.
extern "win64" fn stall(microseconds: u32) {
    let end = time::now() + u64::from(microseconds);
    while time::now() < end {}
}

/// `__C_specific_handler`, which nothing calls: an exception ends the run. Images import it.
extern "win64" fn no_handler() -> u32 {
    const CONTINUE_SEARCH: u32 = 1;
    CONTINUE_SEARCH
}

/// `KeBugCheck`.
extern "win64" fn bug_check_alone(code: u32) -> ! {
    bug_check_routine(code, 0, 0, 0, 0)
}

/// `KeBugCheckEx`.
extern "win64" fn bug_check_routine(code: u32, a: u64, b: u64, c: u64, d: u64) -> ! {
    thunk::print_last_calls();
    bug_check(bugcheck::BugCheck(code, bugcheck::name(code)), [a, b, c, d])
}

/// `KeQueryActiveProcessorCountEx` and `KeQueryMaximumProcessorCountEx`: all are in group 0, and are there from
/// the beginning.
extern "win64" fn processor_count(group: u16) -> u32 {
    const ALL_GROUPS: u16 = 0xffff;
    match group {
        0 | ALL_GROUPS => processor::count() as u32,
        _ => 0,
    }
}

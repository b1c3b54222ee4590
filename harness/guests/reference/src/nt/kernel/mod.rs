//! What `ntoskrnl.exe` exports, as far as a StorPort miniport calls it.

pub(super) mod memory;
pub mod missing;
mod print;

use super::bugcheck::{self, bug_check};
use super::surface;
use crate::dbg_print;
use crate::hal::processor;

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
    Routine::new("KeBugCheck", bug_check_alone as *const ()),
    Routine::new("KeBugCheckEx", bug_check_routine as *const ()),
    Routine::new(
        "KeQueryActiveProcessorCountEx",
        processor_count as *const (),
    ),
    Routine::new(
        "KeQueryMaximumProcessorCountEx",
        processor_count as *const (),
    ),
    Routine::new(
        "MmGetPhysicalAddress",
        memory::physical_address as *const (),
    ),
    Routine::new("__C_specific_handler", no_handler as *const ()),
    Routine::new("_vsnprintf", print_into as *const ()),
    Routine::new("memcmp", memory::compare_memory as *const ()),
    Routine::new("memcpy", memory::move_memory as *const ()),
    Routine::new("memmove", memory::move_memory as *const ()),
    Routine::new("memset", memory::set_memory as *const ()),
    Routine::new("strlen", memory::length_of_text as *const ()),
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

//! What `ntoskrnl.exe` exports, as far as a StorPort miniport calls it.

pub mod missing;
mod print;

use super::bugcheck::{self, bug_check};
use super::surface;
use crate::dbg_print;

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
    Routine::new("KeBugCheckEx", bug_check_routine as *const ()),
    Routine::new(
        "KeQueryActiveProcessorCountEx",
        active_processor_count as *const (),
    ),
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
    // SAFETY: the driver's string ends.
    let text = unsafe { print::format(format, &[a, b, c, d, e, f]) };
    for line in text.lines() {
        dbg_print!("{line}");
    }
    0
}

/// `KeBugCheckEx`.
extern "win64" fn bug_check_routine(code: u32, a: u64, b: u64, c: u64, d: u64) -> ! {
    bug_check(bugcheck::BugCheck(code, bugcheck::name(code)), [a, b, c, d])
}

/// `KeQueryActiveProcessorCountEx`: there is one.
extern "win64" fn active_processor_count(_group: u16) -> u32 {
    1
}

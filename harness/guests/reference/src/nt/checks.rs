//! What is checked of a driver that is an image, in the spirit of Driver Verifier. Each check is a rule of
//! the harness (`WIN-SPT`): a line for each breach, and at the end a line for what was kept.

use super::dispatch::MOST_DEVICES;
use crate::dbg_print;
use core::fmt::Arguments;
use core::sync::atomic::{AtomicU32, Ordering};

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// IRQLs.
    Irql,
    /// Locks.
    Lock,
    /// SRBs.
    Srb,
    /// Addresses.
    Address,
    /// DPCs.
    Dpc,
    /// What `HwStorFindAdapter` returns.
    Found,
    /// `StorPortStallExecution`.
    Stall,
    /// Memory of requests that are completed.
    Touch,
    /// Registers of a device that is gone.
    Gone,
    /// Requests of PnP and power.
    Pnp,
    /// Lists of supported control types.
    Control,
    /// Memory beside what was lent.
    Bounds,
    /// Waiting without an end.
    Poll,
    /// What a miniport may not do while it writes a crash dump, and that it writes it.
    Dump,
    /// Locks that processors wait for.
    Deadlock,
    /// Memory that processors write.
    Race,
    /// Memory that a device reaches after its request was completed.
    Late,
    /// Whether a request gets to the unit that it is for.
    Unit,
}

const NAMES: [&str; 18] = [
    "irql", "lock", "srb", "address", "dpc", "found", "stall", "touch", "gone", "pnp", "control",
    "bounds", "poll", "dump", "deadlock", "race", "late", "unit",
];
/// Most lines about one check.
const MOST_LINES: u32 = 8;

static KEPT: [[AtomicU32; NAMES.len()]; MOST_DEVICES] =
    [const { [const { AtomicU32::new(0) }; NAMES.len()] }; MOST_DEVICES];
static BROKEN: [[AtomicU32; NAMES.len()]; MOST_DEVICES] =
    [const { [const { AtomicU32::new(0) }; NAMES.len()] }; MOST_DEVICES];

/// It was put to the test, and kept.
pub fn kept(device: usize, check: Check) {
    KEPT[device][check as usize].fetch_add(1, Ordering::Relaxed);
}

/// It was not kept.
pub fn broken(device: usize, check: Check, text: Arguments) {
    let lines = BROKEN[device][check as usize].fetch_add(1, Ordering::Relaxed);
    if lines < MOST_LINES {
        dbg_print!("NT: check {} dev={device}: {text}", NAMES[check as usize]);
    }
}

/// Kept or not.
pub fn check(device: usize, check: Check, is_kept: bool, text: Arguments) {
    if is_kept {
        kept(device, check);
    } else {
        broken(device, check, text);
    }
}

/// Prints what was kept throughout.
pub fn print(device: usize) {
    for (n, name) in NAMES.iter().enumerate() {
        let count = |counts: &[[AtomicU32; NAMES.len()]]| counts[device][n].load(Ordering::Relaxed);
        if count(&KEPT) > 0 && count(&BROKEN) == 0 {
            dbg_print!("NT: kept {name} dev={device}");
        }
    }
}

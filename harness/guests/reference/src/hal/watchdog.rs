//! A clock that no priority and no flag of a processor holds off: the real-time clock's periodic interrupt, as an NMI.
//!
//! Source: MC146818, registers A to C; 82093AA, "Delivery Mode".

use super::{apic, cpu, processor};
use core::sync::atomic::{AtomicBool, Ordering};

/// Index and data of the clock's registers.
const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const A: u8 = 0x0a;
const B: u8 = 0x0b;
const C: u8 = 0x0c;
/// Of A: the oscillator runs, four times a second. Of B: periodic interrupts. Of C: one is asked for.
const FOUR_HERTZ: u8 = 0x2e;
const PERIODIC: u8 = 0x40;
const ASKED: u8 = 0x80;

static RUNS: AtomicBool = AtomicBool::new(false);

fn read(register: u8) -> u8 {
    cpu::out8(INDEX, register);
    cpu::in8(DATA)
}

/// Starts it, for all processors that run.
pub fn start() {
    if RUNS.swap(true, Ordering::SeqCst) {
        return;
    }
    apic::connect_clock(processor::are_several());
    cpu::out8(INDEX, A);
    cpu::out8(DATA, FOUR_HERTZ);
    let before = read(B);
    cpu::out8(INDEX, B);
    cpu::out8(DATA, before | PERIODIC);
    read(C);
}

/// An NMI has come. Whether it is the clock's; of several processors the first one alone could tell.
pub fn came() -> bool {
    RUNS.load(Ordering::Relaxed) && (read(C) & ASKED != 0 || processor::are_several())
}

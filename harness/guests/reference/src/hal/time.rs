//! The time that the machine has had since boot, from the ACPI power-management timer.
//!
//! A host that has no processor free lets the machine stand still, and its devices likewise, while the
//! timer runs on. What passes meanwhile counts for nothing: a time limit is over when the guest has
//! looked around often enough, not when the host was busy long enough.

use super::pci::Function;
use super::{Local, apic, cpu, processor};

/// The timer's frequency in Hz.
const FREQUENCY: u64 = 3_579_545;
const COUNTER_MASK: u32 = 0xff_ffff;
/// The LPC bridge of q35, which holds the timer's port.
const BRIDGE: Function = Function::new(0, 0x1f, 0);
const PM_BASE: u16 = 0x40;
const ACPI_CONTROL: u16 = 0x44;
const ACPI_ENABLE: u8 = 0x80;
const TIMER: u16 = 8;
/// The longest sleep at a time in microseconds, to a deadline that is near and to another.
const SLICE_US: u64 = 1_500;
const LONG_SLICE_US: u64 = 20_000;
const NEAR_US: u64 = 200_000;
/// What counts at most between two looks at the timer, beside a sleep, in microseconds.
const STEP_US: u64 = 500;

/// Where the firmware puts the power-management ports; used when it put them nowhere.
const USUAL_BASE: u32 = 0x600;

struct Clock {
    port: u16,
    last: u32,
    ticks: u64,
    /// How long the guest has slept at most since `last`, in microseconds.
    slept: u64,
}

static CLOCK: Local<Clock> = Local::new(Clock {
    port: 0,
    last: 0,
    ticks: 0,
    slept: 0,
});

/// Finds the timer. The clock starts at 0.
pub fn install() {
    if BRIDGE.read32(PM_BASE) & 0xff80 == 0 {
        BRIDGE.write32(PM_BASE, USUAL_BASE | 1);
        BRIDGE.write8(ACPI_CONTROL, ACPI_ENABLE);
    }
    let port = (BRIDGE.read32(PM_BASE) & 0xff80) as u16 + TIMER;
    CLOCK.with(|clock| {
        clock.port = port;
        clock.last = cpu::in32(port) & COUNTER_MASK;
    });
}

/// Microseconds since `install` that count. It has to be read at least every four seconds, which the
/// timer interrupt of `sleep_until` sees to.
pub fn now() -> u64 {
    CLOCK.with(|clock| {
        let read = cpu::in32(clock.port) & COUNTER_MASK;
        let passed = u64::from(read.wrapping_sub(clock.last) & COUNTER_MASK);
        let most = (clock.slept + STEP_US) * FREQUENCY / 1_000_000;
        let counted = passed.min(most);
        clock.ticks += counted;
        // Who looks meanwhile on another processor leaves the rest of the sleep to the one that sleeps.
        clock.slept = match processor::number() {
            0 => 0,
            _ => clock.slept.saturating_sub(counted * 1_000_000 / FREQUENCY),
        };
        clock.last = read;
        clock.ticks * 1_000_000 / FREQUENCY
    })
}

/// Sleeps until the next interrupt, or until the time `deadline` (microseconds) at most; it may be
/// shorter. `ready` is asked once more with interrupts off: when it holds there is no sleep.
pub fn sleep_until(deadline: u64, ready: impl FnOnce() -> bool) {
    let now = now();
    if now >= deadline {
        return;
    }
    let left = deadline - now;
    let slice = left.min(if left > NEAR_US {
        LONG_SLICE_US
    } else {
        SLICE_US
    });
    cpu::disable_interrupts();
    if !ready() {
        CLOCK.with(|clock| clock.slept = slice);
        apic::timer(slice);
        cpu::wait_for_interrupt();
    }
    cpu::enable_interrupts();
}

/// Asks `done` until it holds, at first at once, then every millisecond; `false` when `limit_us`
/// microseconds have passed without it.
pub fn poll(limit_us: u64, mut done: impl FnMut() -> bool) -> bool {
    let end = now() + limit_us;
    let mut eager = 4;
    loop {
        if done() {
            return true;
        }
        let now = now();
        if now >= end {
            return false;
        }
        if eager > 0 {
            eager -= 1;
            continue;
        }
        let next = end.min(now + 1000);
        while self::now() < next {
            sleep_until(next, || false);
        }
    }
}

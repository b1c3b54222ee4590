//! Time since boot, from the ACPI power-management timer.

use super::pci::Function;
use super::{Local, apic, cpu};

/// The timer's frequency in Hz.
const FREQUENCY: u64 = 3_579_545;
const COUNTER_MASK: u32 = 0xff_ffff;
/// The LPC bridge of q35, which holds the timer's port.
const BRIDGE: Function = Function::new(0, 0x1f, 0);
const PM_BASE: u16 = 0x40;
const ACPI_CONTROL: u16 = 0x44;
const ACPI_ENABLE: u8 = 0x80;
const TIMER: u16 = 8;
/// Where the firmware puts the power-management ports; used when it put them nowhere.
const USUAL_BASE: u32 = 0x600;

struct Clock {
    port: u16,
    last: u32,
    ticks: u64,
}

static CLOCK: Local<Clock> = Local::new(Clock {
    port: 0,
    last: 0,
    ticks: 0,
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

/// Microseconds since `install`. It has to be read at least every four seconds, which the timer
/// interrupt of `sleep_until` sees to.
pub fn now() -> u64 {
    CLOCK.with(|clock| {
        let read = cpu::in32(clock.port) & COUNTER_MASK;
        clock.ticks += u64::from(read.wrapping_sub(clock.last) & COUNTER_MASK);
        clock.last = read;
        clock.ticks * 1_000_000 / FREQUENCY
    })
}

/// Sleeps until the next interrupt, or until the time `deadline` (microseconds) at most.
/// `ready` is asked once more with interrupts off: when it holds there is no sleep.
pub fn sleep_until(deadline: u64, ready: impl FnOnce() -> bool) {
    let now = now();
    if now >= deadline {
        return;
    }
    cpu::disable_interrupts();
    if !ready() {
        apic::timer(deadline - now);
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

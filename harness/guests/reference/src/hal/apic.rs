//! The local APIC, the I/O APIC, and where a PCI pin ends.

use super::mmio::Mmio;
use super::{cpu, exclusive};

/// Where messages are written: processor 0, fixed delivery.
pub const MESSAGE_ADDRESS: u64 = 0xfee0_0000;
/// Vector of the timer; Windows' clock uses the same one.
pub const TIMER_VECTOR: u8 = 0xd1;
/// Vector of the serial port.
pub const SERIAL_VECTOR: u8 = 0xc4;
/// Vector that the processor sends to itself: work for when the priority allows it.
pub const DISPATCH_VECTOR: u8 = 0x2f;
/// Vector of the APIC's spurious interrupt.
pub const SPURIOUS_VECTOR: u8 = 0xff;
/// Inputs of the I/O APIC that the serial port and the real-time clock drive.
const SERIAL_INPUT: u8 = 4;
const CLOCK_INPUT: u8 = 8;

const LOCAL: Mmio = Mmio::new(0xfee0_0000, 0x1000);
const IO: Mmio = Mmio::new(0xfec0_0000, 0x20);

/// Registers of the local APIC, in bytes from its base.
mod local {
    pub const TASK_PRIORITY: usize = 0x80;
    pub const END_OF_INTERRUPT: usize = 0xb0;
    pub const SPURIOUS: usize = 0xf0;
    pub const COMMAND: usize = 0x300;
    pub const COMMAND_TO: usize = 0x310;
    /// Of the command: to this processor, asserted.
    pub const SELF: u32 = 1 << 18 | 1 << 14;
    /// To the one that is named, asserted; it is to begin anew, and then at a page.
    pub const OTHER: u32 = 1 << 14;
    pub const INIT: u32 = 5 << 8;
    pub const START: u32 = 6 << 8;
    pub const TO_SHIFT: u32 = 24;
    pub const TIMER: usize = 0x320;
    pub const TIMER_START: usize = 0x380;
    pub const TIMER_DIVIDE: usize = 0x3e0;
}

/// Index and data window of the I/O APIC.
mod io {
    pub const SELECT: usize = 0x00;
    pub const DATA: usize = 0x10;
    /// First register of the redirection table; two for each input.
    pub const REDIRECTION: u32 = 0x10;
    /// Delivered as an NMI, to a processor or to all.
    pub const NMI: u32 = 4 << 8;
    pub const ALL: u32 = 0xff << 24;
    pub const LEVEL: u32 = 1 << 15;
    pub const MASKED: u32 = 1 << 16;
    pub const INPUTS: u32 = 24;
}

/// Timer ticks in a microsecond, at QEMU's 1 GHz divided by 16. Only how soon the processor looks
/// at the time again depends on it, never what time it is.
const TICKS_PER_US: u64 = 62;
const DIVIDE_BY_16: u32 = 3;

/// Both 8259s masked, local APIC on, every input of the I/O APIC masked but the serial port's.
pub fn install() {
    cpu::out8(0x21, 0xff);
    cpu::out8(0xa1, 0xff);
    install_own();
    for input in 0..io::INPUTS as u8 {
        mask(input);
    }
    redirect(SERIAL_INPUT, 0, u32::from(SERIAL_VECTOR));
}

/// The local APIC of the processor that runs this, on.
pub fn install_own() {
    LOCAL.write(local::TASK_PRIORITY, 0u32);
    LOCAL.write(local::SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
    LOCAL.write(local::TIMER_DIVIDE, DIVIDE_BY_16);
    LOCAL.write(local::TIMER, u32::from(TIMER_VECTOR));
}

/// Where messages for a processor are written.
pub fn message_address(processor: usize) -> u64 {
    MESSAGE_ADDRESS | (processor as u64) << 12
}

fn command(to: u32, command: u32) {
    exclusive(|| {
        LOCAL.write(local::COMMAND_TO, to << local::TO_SHIFT);
        LOCAL.write(local::COMMAND, local::OTHER | command);
    });
}

/// Has a processor begin at a page below 1 MiB.
pub fn start_processor(n: u32, page: u64) {
    command(n, local::INIT);
    command(n, local::START | (page >> 12) as u32);
}

/// Asks for an interrupt of [`DISPATCH_VECTOR`] on a processor.
pub fn request_dispatch_on(processor: usize) {
    if processor == super::processor::number() {
        request_dispatch();
    } else {
        command(processor as u32, DISPATCH_VECTOR.into());
    }
}

/// The interrupt that is being handled is over.
pub fn end_of_interrupt() {
    LOCAL.write(local::END_OF_INTERRUPT, 0u32);
}

/// Asks for an interrupt of [`DISPATCH_VECTOR`].
pub fn request_dispatch() {
    LOCAL.write(local::COMMAND, local::SELF | u32::from(DISPATCH_VECTOR));
}

/// One timer interrupt after `us` microseconds, at most about a second.
pub fn timer(us: u64) {
    let ticks = (us.clamp(10, 1_000_000) * TICKS_PER_US) as u32;
    LOCAL.write(local::TIMER_START, ticks);
}

fn redirect(input: u8, high: u32, low: u32) {
    let register = io::REDIRECTION + 2 * u32::from(input);
    IO.write(io::SELECT, register + 1);
    IO.write(io::DATA, high);
    IO.write(io::SELECT, register);
    IO.write(io::DATA, low);
}

/// Routes an input to `vector`, level triggered.
pub fn connect_line(input: u8, vector: u8) {
    redirect(input, 0, io::LEVEL | u32::from(vector));
}

/// The real-time clock's interrupts are NMIs from here on, of the first processor or of all.
pub fn connect_clock(all: bool) {
    redirect(CLOCK_INPUT, if all { io::ALL } else { 0 }, io::NMI);
}

/// Masks an input.
pub fn mask(input: u8) {
    let register = io::REDIRECTION + 2 * u32::from(input);
    IO.write(io::SELECT, register);
    IO.write(io::DATA, io::MASKED);
}

/// The input that a PCI pin of the root bus drives (`pin` 1 is INTA).
///
/// On q35 the slots below 25 go to PIRQ E to H in turn, and PIRQ A is input 16.
pub fn line_of(slot: u8, pin: u8) -> u8 {
    16 + 4 + (slot + pin - 1) % 4
}

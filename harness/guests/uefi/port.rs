//! The ports that the host listens at.

use core::arch::asm;

use crate::text;
use crate::text::Text;

/// Where it prints.
const DEBUG: u16 = 0x402;
/// A byte written there ends the machine.
const EXIT: u16 = 0xf4;
/// The serial port of the commands: the third, which a firmware does not poll for keys.
const COMMANDS: u16 = 0x3e8;
/// Its line status, and the bit that says that a byte is there.
const LINE_STATUS: u16 = COMMANDS + 5;
const DATA_READY: u8 = 1;

/// Nothing interrupts this program but while the firmware runs for it.
pub fn hush() {
    // SAFETY: the firmware's own services let interrupts in again.
    unsafe { asm!("cli", options(nomem, nostack)) };
}

/// Prints a line.
pub fn say(line: &Text) {
    for byte in text!["MISFIRE: ", line.bytes(), "\n"].bytes() {
        write(DEBUG, *byte);
    }
}

/// The next command.
pub fn line(buffer: &mut [u8]) -> &[u8] {
    let mut length = 0;
    loop {
        while read(LINE_STATUS) & DATA_READY == 0 {
            core::hint::spin_loop();
        }
        match (read(COMMANDS), buffer.get_mut(length)) {
            (b'\n', _) | (_, None) => return &buffer[..length],
            (byte, Some(place)) => *place = byte,
        }
        length += 1;
    }
}

/// Ends the machine.
pub fn leave() -> ! {
    loop {
        write(EXIT, 0);
    }
}

fn write(port: u16, byte: u8) {
    // SAFETY: these ports are the host's.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack)) };
}

fn read(port: u16) -> u8 {
    let byte;
    // SAFETY: these ports are the host's.
    unsafe { asm!("in al, dx", in("dx") port, out("al") byte, options(nomem, nostack)) };
    byte
}

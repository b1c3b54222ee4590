//! The serial port: lines out, command lines in.
//!
//! Output goes through the port's 16-byte FIFO, so the line status is asked once for each 16 bytes.

use super::{Local, cpu, exclusive};
use core::fmt;

const PORT: u16 = 0x3f8;
const DATA: u16 = PORT;
const INTERRUPT_ENABLE: u16 = PORT + 1;
const FIFO_CONTROL: u16 = PORT + 2;
const LINE_CONTROL: u16 = PORT + 3;
const MODEM_CONTROL: u16 = PORT + 4;
const LINE_STATUS: u16 = PORT + 5;
const DATA_READY: u8 = 0x01;
/// There is room for 16 bytes more.
const TRANSMITTER_EMPTY: u8 = 0x20;
/// The last byte has left the port.
const ALL_SENT: u8 = 0x40;
const FIFO: usize = 16;
/// A port that never empties is given up after this many looks: a minute or so. On a machine with much
/// to do the other end may be read late, and what is written to a full FIFO is lost.
const PATIENCE: u32 = 200_000_000;
const BUFFER: usize = 512;
const LONGEST_LINE: usize = 256;

struct Output {
    bytes: [u8; BUFFER],
    used: usize,
    /// Who takes what is printed, in place of the port.
    to: Option<fn(&[u8])>,
}

struct Input {
    line: [u8; LONGEST_LINE],
    used: usize,
    complete: bool,
}

static OUTPUT: Local<Output> = Local::new(Output {
    bytes: [0; BUFFER],
    used: 0,
    to: None,
});
static INPUT: Local<Input> = Local::new(Input {
    line: [0; LONGEST_LINE],
    used: 0,
    complete: false,
});

/// 8 data bits, FIFO on, an interrupt for each byte received.
pub fn install() {
    cpu::out8(LINE_CONTROL, 0x03);
    cpu::out8(FIFO_CONTROL, 0x07);
    cpu::out8(MODEM_CONTROL, 0x0b);
    cpu::out8(INTERRUPT_ENABLE, 0x01);
}

impl Output {
    fn push(&mut self, text: &[u8]) {
        for &byte in text {
            self.bytes[self.used] = byte;
            self.used += 1;
            if byte == b'\n' || self.used == BUFFER {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        if let Some(to) = self.to {
            to(&self.bytes[..self.used]);
            self.used = 0;
            return;
        }
        for part in self.bytes[..self.used].chunks(FIFO) {
            wait_for(TRANSMITTER_EMPTY);
            part.iter().for_each(|&byte| cpu::out8(DATA, byte));
        }
        self.used = 0;
    }
}

fn wait_for(status: u8) {
    let mut looks = 0;
    while cpu::in8(LINE_STATUS) & status == 0 && looks < PATIENCE {
        looks += 1;
    }
}

/// From here on `to` takes what is printed, in pieces that end with a line or are full, and what arrives
/// at the port is somebody else's. `to` prints nothing.
pub fn redirect(to: fn(&[u8])) {
    OUTPUT.with(|output| {
        output.flush();
        output.to = Some(to);
    });
}

/// A line that is to be read as if it had arrived, unless one waits already.
pub fn give(text: &str) {
    INPUT.with(|input| {
        if !input.complete && text.len() <= LONGEST_LINE {
            input.line[..text.len()].copy_from_slice(text.as_bytes());
            input.used = text.len();
            input.complete = true;
        }
    });
}

/// Takes what has been printed so far to the port.
pub fn flush() {
    OUTPUT.with(Output::flush);
}

/// Takes what has been printed so far out of the port: a machine that ends loses what is still in it.
pub fn drain() {
    flush();
    wait_for(ALL_SENT);
}

struct Writer;

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        OUTPUT.with(|output| output.push(text.as_bytes()));
        Ok(())
    }
}

/// Prints; a line leaves when its end is printed.
pub fn print(text: fmt::Arguments) {
    // A line is one processor's.
    let _ = exclusive(|| fmt::Write::write_fmt(&mut Writer, text));
}

/// Prints one line on the serial port.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => {
        $crate::hal::console::print(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// The serial port's interrupt: takes the bytes that have come. What does not fit into a line is
/// dropped, and so is what comes before the last line has been read.
pub fn on_interrupt() {
    if OUTPUT.with(|output| output.to.is_some()) {
        return;
    }
    INPUT.with(|input| {
        while cpu::in8(LINE_STATUS) & DATA_READY != 0 && !input.complete {
            match cpu::in8(DATA) {
                b'\r' => {}
                b'\n' => input.complete = true,
                byte if input.used < LONGEST_LINE => {
                    input.line[input.used] = byte;
                    input.used += 1;
                }
                _ => {}
            }
        }
    });
}

/// Whether a line waits to be read.
pub fn has_line() -> bool {
    INPUT.with(|input| input.complete)
}

/// Gives the line that has come to `f`; what is not UTF-8 is an empty line.
pub fn read_line<T>(f: impl FnOnce(&str) -> T) -> Option<T> {
    let mut line = [0; LONGEST_LINE];
    let used = INPUT.with(|input| {
        input.complete.then(|| {
            line[..input.used].copy_from_slice(&input.line[..input.used]);
            input.complete = false;
            core::mem::take(&mut input.used)
        })
    })?;
    // What came meanwhile stayed in the port's FIFO.
    on_interrupt();
    Some(f(core::str::from_utf8(&line[..used]).unwrap_or("")))
}

//! A serial port that is looked at, without interrupts.

use crate::hal::{cpu, time};

const LINE_STATUS: u16 = 5;
const DATA_READY: u8 = 0x01;
/// There is room for 16 bytes more.
const TRANSMITTER_EMPTY: u8 = 0x20;
const FIFO: usize = 16;
/// Instructions between two looks.
const PAUSE: u32 = 400;
/// A port that never empties is given up after this many looks.
const PATIENCE: u32 = 200_000_000;

/// Leaves the machine to who brings the bytes: whoever looks at a port all the time keeps QEMU's other
/// threads out.
pub fn let_others() {
    for _ in 0..PAUSE {
        core::hint::spin_loop();
    }
}

/// A port.
#[derive(Clone, Copy)]
pub struct Serial(u16);

impl Serial {
    /// The port at this address, with 8 data bits and its FIFO on.
    pub fn install(base: u16) -> Self {
        for (register, value) in [(3, 0x03), (2, 0x07), (4, 0x03), (1, 0x00)] {
            cpu::out8(base + register, value);
        }
        Self(base)
    }

    /// Sends bytes.
    pub fn send(self, bytes: &[u8]) {
        for part in bytes.chunks(FIFO) {
            let mut looks = 0;
            while self.status() & TRANSMITTER_EMPTY == 0 && looks < PATIENCE {
                looks += 1;
            }
            part.iter().for_each(|&byte| cpu::out8(self.0, byte));
        }
    }

    /// A byte that has come.
    pub fn take(self) -> Option<u8> {
        (self.status() & DATA_READY != 0).then(|| cpu::in8(self.0))
    }

    /// A byte, until the time `deadline` (microseconds).
    pub fn wait(self, deadline: u64) -> Option<u8> {
        loop {
            if let Some(byte) = self.take() {
                return Some(byte);
            }
            if time::now() >= deadline {
                return None;
            }
            let_others();
        }
    }

    fn status(self) -> u8 {
        cpu::in8(self.0 + LINE_STATUS)
    }
}

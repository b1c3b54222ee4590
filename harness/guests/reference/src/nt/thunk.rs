//! What an image calls in place of the model's routines: a piece of code for each import, which notes where the
//! call comes from and goes on to the routine.

#[cfg(not(test))]
use crate::hal::cpu;
use crate::hal::mem;
use crate::hal::mmio::Mmio;
use crate::hal::processor::CALLED_FROM;
use crate::hal::vm::{self, PAGE, Rights};

/// Bytes of a piece.
const SIZE: u64 = 32;

/// The pieces of an image.
pub struct Thunks {
    memory: Mmio,
    address: u64,
}

impl Thunks {
    /// Memory for so many.
    pub fn new(count: usize) -> Option<Self> {
        let bytes = (count as u64 * SIZE).max(1).next_multiple_of(PAGE);
        let memory = mem::dma(bytes as usize)?;
        let address = vm::map(memory.address(), bytes, Rights::Execute)?;
        Some(Self { memory, address })
    }

    /// The address of piece `n`, which leads to `routine`.
    pub fn to(&self, n: usize, routine: u64) -> u64 {
        let code = code(routine);
        let at = n * SIZE as usize;
        for (offset, byte) in code.iter().enumerate() {
            self.memory.write(at + offset, *byte);
        }
        self.address + at as u64
    }
}

/// mov r11, [rsp]; mov gs:[CALLED_FROM], r11; mov r11, routine; jmp r11. A call may change r11.
fn code(routine: u64) -> [u8; 26] {
    let mut code = [0; 26];
    code[..4].copy_from_slice(&[0x4c, 0x8b, 0x1c, 0x24]);
    code[4..9].copy_from_slice(&[0x65, 0x4c, 0x89, 0x1c, 0x25]);
    code[9..13].copy_from_slice(&(CALLED_FROM as u32).to_le_bytes());
    code[13..15].copy_from_slice(&[0x49, 0xbb]);
    code[15..23].copy_from_slice(&routine.to_le_bytes());
    code[23..].copy_from_slice(&[0x41, 0xff, 0xe3]);
    code
}

/// Where the image called from last, on this processor: the return address.
pub fn called_from() -> u64 {
    #[cfg(not(test))]
    return cpu::own64(CALLED_FROM);
    #[cfg(test)]
    return 0;
}

/// An interrupt's routine has called since, and is over.
pub fn put_back(called_from: u64) {
    #[cfg(not(test))]
    cpu::set_own64(CALLED_FROM, called_from);
    #[cfg(test)]
    let _ = called_from;
}

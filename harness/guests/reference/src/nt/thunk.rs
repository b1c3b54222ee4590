//! What an image calls in place of the model's routines: a piece of code for each import, which notes where the
//! call comes from and goes on to the routine.

use crate::hal::Local;
#[cfg(not(test))]
use crate::hal::cpu;
use crate::hal::mem;
use crate::hal::mmio::Mmio;
use crate::hal::processor::CALLED_FROM;
use crate::hal::vm::{self, PAGE, Rights};
use crate::nt::image;
use crate::println;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of a piece.
const SIZE: u64 = 96;
/// The last calls of a processor, in its area: where the last one is, and for each the place, the number of the import
/// and the first argument.
const LAST: u32 = CALLED_FROM as u32 + 8;
const CALLS: u32 = 0x900;
const CALL: u32 = 16;
const MOST: u32 = 16;
/// So many of them are printed.
const PRINTED: u32 = 8;

/// Where the pieces of the image are that was loaded last.
static PIECES: Local<(u64, u64)> = Local::new((0, 0));

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
        PIECES.with(|pieces| *pieces = (address, address + bytes));
        Some(Self { memory, address })
    }

    /// The address of piece `n`, which leads to `routine`.
    pub fn to(&self, n: usize, routine: u64) -> u64 {
        let code = code(n as u32, routine);
        let at = n * SIZE as usize;
        for (offset, byte) in code.iter().enumerate() {
            self.memory.write(at + offset, *byte);
        }
        self.address + at as u64
    }
}

/// Where the number of the import is in a piece.
const IMPORT: usize = 58;

/// The import whose piece begins at `address`, if one does.
pub fn import_at(address: u64) -> Option<u32> {
    let range = PIECES.with(|pieces| *pieces);
    let is_piece =
        (range.0..range.1).contains(&address) && (address - range.0).is_multiple_of(SIZE);
    // SAFETY: a piece is there, which is longer.
    is_piece.then(|| unsafe { ((address + IMPORT as u64) as *const u32).read_unaligned() })
}

/// Notes the call, and goes on to the routine. A call may change r10 and r11.
fn code(import: u32, routine: u64) -> Vec<u8> {
    let word = u32::to_le_bytes;
    [
        &[0x4c, 0x8b, 0x1c, 0x24][..],   // mov r11, [rsp]
        &[0x65, 0x4c, 0x89, 0x1c, 0x25], // mov gs:[CALLED_FROM], r11
        &word(CALLED_FROM as u32),
        &[0x65, 0x44, 0x8b, 0x14, 0x25], // mov r10d, gs:[LAST]
        &word(LAST),
        &[0x41, 0x83, 0xc2, CALL as u8], // add r10d, CALL
        &[0x41, 0x81, 0xe2],             // and r10d, its range
        &word((MOST - 1) * CALL),
        &[0x65, 0x44, 0x89, 0x14, 0x25], // mov gs:[LAST], r10d
        &word(LAST),
        &[0x65, 0x4d, 0x89, 0x9a], // mov gs:[r10 + CALLS], r11
        &word(CALLS),
        &[0x65, 0x41, 0xc7, 0x82], // mov dword gs:[r10 + CALLS + 8], import
        &word(CALLS + 8),
        &word(import),
        &[0x65, 0x41, 0x89, 0x8a], // mov gs:[r10 + CALLS + 12], ecx
        &word(CALLS + 12),
        &[0x49, 0xbb], // mov r11, routine
        &routine.to_le_bytes(),
        &[0x41, 0xff, 0xe3], // jmp r11
    ]
    .concat()
}

/// Prints the last calls of the image on this processor, the last one first.
pub fn print_last_calls() {
    let Some(image) = image::image() else { return };
    let last = own64(LAST as usize) as u32;
    for n in 0..PRINTED {
        let at = CALLS + (last.wrapping_sub(n * CALL) & ((MOST - 1) * CALL));
        let (place, call) = (own64(at as usize), own64(at as usize + 8));
        let (Some((_, name)), Some(place)) = (image.import(call as u32), image.place(place)) else {
            break;
        };
        if n == 0 {
            println!("NT: the last calls into the model, the last one first:");
        }
        let what = (call >> 32) as u32;
        let code = match name {
            "StorPortNotification" | "StorPortExtendedFunction" => format!("({what:#x})"),
            _ => String::new(),
        };
        println!("NT:   {name}{code} from {place}");
    }
}

fn own64(at: usize) -> u64 {
    #[cfg(not(test))]
    return cpu::own64(at);
    #[cfg(test)]
    {
        let _ = at;
        0
    }
}

/// Where the image called from last, on this processor: the return address.
pub fn called_from() -> u64 {
    own64(CALLED_FROM)
}

/// An interrupt's routine has called since, and is over.
pub fn put_back(called_from: u64) {
    #[cfg(not(test))]
    cpu::set_own64(CALLED_FROM, called_from);
    #[cfg(test)]
    let _ = called_from;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_has_the_number_of_its_import_where_it_is_looked_for() {
        let code = code(0x0102_0304, 7);
        assert!(code.len() <= SIZE as usize);
        assert_eq!(code[IMPORT..IMPORT + 4], 0x0102_0304u32.to_le_bytes());
    }
}

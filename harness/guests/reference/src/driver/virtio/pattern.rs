//! Data that is told apart by the number of its block.

use crate::hal::mmio::Mmio;

/// Bytes are written and compared in steps of eight.
const WORD: usize = 8;

fn pattern(block: u64, word: usize) -> u64 {
    (block << 32 | word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Writes block `block`'s pattern over the first `length` bytes.
pub fn fill(data: Mmio, length: usize, block: u64) {
    (0..length / WORD).for_each(|word| data.write(word * WORD, pattern(block, word)));
}

/// Writes zeroes over the first `length` bytes.
pub fn erase(data: Mmio, length: usize) {
    (0..length / WORD).for_each(|word| data.write(word * WORD, 0u64));
}

/// Whether the first `length` bytes hold block `block`'s pattern.
pub fn compare(data: Mmio, length: usize, block: u64) -> bool {
    (0..length / WORD).all(|word| data.read::<u64>(word * WORD) == pattern(block, word))
}

//! What a compiler takes from the kernel: memory and strings.

use crate::hal::vm;

/// `memcpy`, `memmove` and `StorPortMoveMemory`: the ranges may overlap.
pub(in crate::nt) extern "win64" fn move_memory(to: u64, from: u64, length: u64) -> u64 {
    // SAFETY: the driver vouches for both; where it is wrong there is a page fault, as there should be.
    unsafe { core::ptr::copy(from as *const u8, to as *mut u8, length as usize) };
    to
}

/// `memset`.
pub(super) extern "win64" fn set_memory(to: u64, value: u32, length: u64) -> u64 {
    // SAFETY: as for `move_memory`.
    unsafe { core::ptr::write_bytes(to as *mut u8, value as u8, length as usize) };
    to
}

/// `memcmp`.
pub(super) extern "win64" fn compare_memory(a: u64, b: u64, length: u64) -> i32 {
    for n in 0..length {
        // SAFETY: as for `move_memory`.
        let (a, b) = unsafe { (((a + n) as *const u8).read(), ((b + n) as *const u8).read()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// `RtlCompareMemory`: how many bytes are the same from the beginning on.
pub(super) extern "win64" fn count_same(a: u64, b: u64, length: u64) -> u64 {
    // SAFETY: as for `move_memory`.
    let differs =
        |n: &u64| unsafe { ((a + n) as *const u8).read() != ((b + n) as *const u8).read() };
    (0..length).find(differs).unwrap_or(length)
}

/// `strcmp`.
pub(super) extern "win64" fn compare_text(a: u64, b: u64) -> i32 {
    compare_text_up_to(a, b, u64::MAX)
}

/// `strncmp`.
pub(super) extern "win64" fn compare_text_up_to(a: u64, b: u64, length: u64) -> i32 {
    for n in 0..length {
        // SAFETY: as for `move_memory`; neither is read behind its end.
        let (a, b) = unsafe { (((a + n) as *const u8).read(), ((b + n) as *const u8).read()) };
        if a != b || a == 0 {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// `strlen`.
pub(super) extern "win64" fn length_of_text(text: u64) -> u64 {
    // SAFETY: as for `move_memory`.
    let is_over = |n: &u64| unsafe { ((text + n) as *const u8).read() } == 0;
    (0..).find(is_over).unwrap_or(0)
}

/// `wcslen`.
pub(super) extern "win64" fn length_of_wide_text(text: u64) -> u64 {
    // SAFETY: as for `move_memory`.
    let is_over = |n: &u64| unsafe { ((text + 2 * n) as *const u16).read_unaligned() } == 0;
    (0..).find(is_over).unwrap_or(0)
}

/// `MmGetPhysicalAddress`: 0 for what is not mapped.
pub(super) extern "win64" fn physical_address(address: u64) -> u64 {
    vm::physical(address).unwrap_or(0)
}

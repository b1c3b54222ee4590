//! The memory routines that compiled code calls, and the heap.
//!
//! The heap is one region that is only ever extended; freed blocks go to a list of their size
//! class. DMA memory comes from the same region, by the page, and is kept for good.

use super::exclusive;
use super::mmio::Mmio;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

/// End of the heap: the guest has to live in 64 MiB, and the firmware keeps the top of it.
const HEAP_END: usize = 56 << 20;
const PAGE: usize = 4096;
/// Size classes are powers of two from 2^4.
const CLASSES: usize = 24;
const SMALLEST: u32 = 4;

unsafe extern "C" {
    static kernel_end: u8;
}

struct Heap(UnsafeCell<HeapState>);

struct HeapState {
    next: usize,
    free: [*mut u8; CLASSES],
}

// SAFETY: one processor at a time reaches it, with interrupts off.
unsafe impl Sync for Heap {}

#[cfg_attr(not(test), global_allocator)]
static HEAP: Heap = Heap(UnsafeCell::new(HeapState {
    next: 0,
    free: [ptr::null_mut(); CLASSES],
}));

fn class_of(layout: Layout) -> usize {
    let size = layout.size().max(layout.align()).max(1 << SMALLEST);
    (size.next_power_of_two().trailing_zeros() - SMALLEST) as usize
}

impl HeapState {
    fn extend(&mut self, size: usize, align: usize) -> *mut u8 {
        if self.next == 0 {
            self.next = &raw const kernel_end as usize;
        }
        let start = self.next.next_multiple_of(align);
        if start + size > HEAP_END {
            return ptr::null_mut();
        }
        self.next = start + size;
        start as *mut u8
    }
}

// SAFETY: blocks of one class have one size and alignment, and a block is in at most one list.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        exclusive(|| unsafe { self.take(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        exclusive(|| unsafe { self.give_back(block, layout) });
    }
}

impl Heap {
    unsafe fn take(&self, layout: Layout) -> *mut u8 {
        let class = class_of(layout);
        if class >= CLASSES {
            return ptr::null_mut();
        }
        // SAFETY: see `Sync`; a free block's first word holds the next one.
        unsafe {
            let state = &mut *self.0.get();
            let head = state.free[class];
            if head.is_null() {
                let size = 1 << (class as u32 + SMALLEST);
                return state.extend(size, size.min(PAGE).max(layout.align()));
            }
            state.free[class] = *head.cast::<*mut u8>();
            head
        }
    }

    unsafe fn give_back(&self, block: *mut u8, layout: Layout) {
        let class = class_of(layout);
        // SAFETY: as in `alloc`.
        unsafe {
            let state = &mut *self.0.get();
            *block.cast::<*mut u8>() = state.free[class];
            state.free[class] = block;
        }
    }
}

/// Memory for stacks: `size` bytes, a multiple of a page's, which hold anything. Where it begins.
pub fn pages(size: usize) -> Option<u64> {
    // SAFETY: see `Sync`.
    let block = exclusive(|| unsafe { (*HEAP.0.get()).extend(size, PAGE) });
    (!block.is_null()).then_some(block as u64)
}

/// Zeroed memory for a device to read and write: physical and virtual address are the same.
/// `size` is in bytes and rounded up to pages. `None` when the memory is used up.
pub fn dma(size: usize) -> Option<Mmio> {
    let size = size.next_multiple_of(PAGE);
    let block = pages(size)?;
    // SAFETY: the block was just taken and has this size.
    unsafe { ptr::write_bytes(block as *mut u8, 0, size) };
    Some(Mmio::new(block, size))
}

#[cfg(not(test))]
mod routines {
    use core::arch::asm;

    /// Copies `n` bytes that do not overlap.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        // SAFETY: the caller's ranges are valid; the direction flag is clear by the ABI.
        unsafe {
            asm!("rep movsq", "mov rcx, {tail}", "rep movsb", tail = in(reg) n % 8,
                inout("rcx") n / 8 => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        to
    }

    /// Copies `n` bytes that may overlap.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= n {
            // SAFETY: a forward copy never overtakes what it still has to read.
            return unsafe { memcpy(to, from, n) };
        }
        // SAFETY: the ranges are valid and copied from the end; the flag is cleared again.
        unsafe {
            asm!("std", "rep movsb", "cld", inout("rcx") n => _,
                inout("rdi") to.wrapping_add(n).wrapping_sub(1) => _,
                inout("rsi") from.wrapping_add(n).wrapping_sub(1) => _, options(nostack));
        }
        to
    }

    /// Fills `n` bytes with the low byte of `value`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, value: i32, n: usize) -> *mut u8 {
        let word = u64::from(value as u8) * 0x0101_0101_0101_0101;
        // SAFETY: the caller's range is valid.
        unsafe {
            asm!("rep stosq", "mov rcx, {tail}", "rep stosb", tail = in(reg) n % 8,
                inout("rcx") n / 8 => _, inout("rdi") to => _, in("rax") word,
                options(nostack, preserves_flags));
        }
        to
    }

    /// Compares `n` bytes; negative, 0 or positive as the first difference is.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        let mut i = 0;
        while i < n {
            // SAFETY: both ranges have `n` bytes.
            let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
            i += 1;
        }
        0
    }

    /// Compares `n` bytes; 0 when they are equal.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        // SAFETY: the same contract.
        unsafe { memcmp(a, b, n) }
    }

    /// Length of a string that ends with a zero byte.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const u8) -> usize {
        let mut n = 0;
        // SAFETY: the caller's string ends.
        while unsafe { text.add(n).read_volatile() } != 0 {
            n += 1;
        }
        n
    }

    /// `core` and `alloc` as shipped name it; with `panic=abort` nothing calls it.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}

    /// The same.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        crate::hal::cpu::halt()
    }
}

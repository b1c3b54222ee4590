//! A part of the address space of its own, in the upper half, where pages have rights and every piece
//! of memory has a page behind it that is not there.

use super::mmio::Mmio;
use super::processor::{self, Own};
use super::{Local, cpu, exclusive, mem};
use core::sync::atomic::{AtomicU32, Ordering};

/// A page, in bytes.
pub const PAGE: u64 = 4096;
/// Where the part begins: an entry of the topmost table.
const SPACE: u64 = 0xffff_f800_0000_0000;
/// Pieces are put one behind the other from here on.
const PIECES: u64 = SPACE + (1 << 32);
const ENTRIES: u64 = 512;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const UNCACHED: u64 = 1 << 4;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// What may be done with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read.
    Read,
    /// Read and written.
    Write,
    /// Read and executed.
    Execute,
    /// All of it.
    All,
    /// Read and written, without a cache: registers.
    Registers,
}

impl Rights {
    fn bits(self) -> u64 {
        match self {
            Self::Read => NO_EXECUTE,
            Self::Write => WRITABLE | NO_EXECUTE,
            Self::Execute => 0,
            Self::All => WRITABLE,
            Self::Registers => WRITABLE | UNCACHED | NO_EXECUTE,
        }
    }
}

#[cfg(not(test))]
unsafe extern "C" {
    static mut boot_pml4: [u64; ENTRIES as usize];
}

/// The topmost table.
fn top() -> Mmio {
    #[cfg(not(test))]
    let at = (&raw const boot_pml4) as u64;
    #[cfg(test)]
    let at = 0;
    Mmio::new(at, PAGE as usize)
}

static NEXT: Local<u64> = Local::new(PIECES);

/// Makes the processor honour the rights. Once, before anything is mapped.
pub fn install() {
    cpu::enable_no_execute();
}

fn index(address: u64, level: u32) -> usize {
    ((address >> (12 + 9 * level)) % ENTRIES) as usize * 8
}

/// The entry for a page, in the lowest table; `None` without the tables above, unless they are to be made.
fn entry(address: u64, make: bool) -> Option<(Mmio, usize)> {
    let mut table = top();
    for level in [3, 2, 1] {
        let at = index(address, level);
        let mut value: u64 = table.read(at);
        if value & PRESENT == 0 {
            if !make {
                return None;
            }
            value = mem::dma(PAGE as usize)?.address() | WRITABLE | PRESENT;
            table.write(at, value);
        }
        table = Mmio::new(value & ADDRESS, PAGE as usize);
    }
    Some((table, index(address, 0)))
}

/// Maps the page at `physical` to `address`. `false` when there is no memory for tables.
pub fn map_page(address: u64, physical: u64, rights: Rights) -> bool {
    exclusive(|| {
        let Some((table, at)) = entry(address, true) else {
            return false;
        };
        table.write(at, physical & ADDRESS | rights.bits() | PRESENT);
        cpu::flush_page(address);
        true
    })
}

/// How often pages were taken away.
static TAKEN_AWAY: AtomicU32 = AtomicU32::new(0);
/// How often they had been when a processor forgot last what it had cached.
static FORGOTTEN: Own<u32> = Own::new(0);

/// Pages that another processor has taken away are gone for this one too from here on.
pub fn catch_up() {
    if !processor::are_several() {
        return;
    }
    let now = TAKEN_AWAY.load(Ordering::Acquire);
    if FORGOTTEN.with(|known| core::mem::replace(known, now)) != now {
        cpu::flush_pages();
    }
}

/// The page at `physical`, mapped to `address`, may be read and no more written; on other processors as [`unmap`]
/// has it.
pub fn protect(address: u64, physical: u64) {
    map_page(address, physical, Rights::Read);
    TAKEN_AWAY.fetch_add(1, Ordering::Release);
}

/// Takes `pages` pages from `address` on away: touching them is a page fault; on other processors from their next
/// [`catch_up`] on.
pub fn unmap(address: u64, pages: u64) {
    for page in 0..pages {
        let address = address + page * PAGE;
        if let Some((table, at)) = entry(address, false) {
            table.write(at, 0u64);
            cpu::flush_page(address);
        }
    }
    TAKEN_AWAY.fetch_add(1, Ordering::Release);
}

/// Where the page of an address is in memory, and where in it the address points; `None` for what is not
/// mapped here.
pub fn physical(address: u64) -> Option<u64> {
    if address < SPACE {
        return None;
    }
    let (table, at) = entry(address, false)?;
    let value: u64 = table.read(at);
    (value & PRESENT != 0).then_some(value & ADDRESS | (address % PAGE))
}

/// So many addresses that nothing else uses, with a page that is never there on either side.
pub fn reserve(pages: u64) -> u64 {
    NEXT.with(|next| {
        let address = *next + PAGE;
        *next = address + pages * PAGE;
        address
    })
}

/// Maps physical memory that lies together, from within its first page on.
pub fn map(physical: u64, length: u64, rights: Rights) -> Option<u64> {
    let within = physical % PAGE;
    let pages = (within + length).div_ceil(PAGE);
    let address = reserve(pages);
    let all =
        (0..pages).all(|n| map_page(address + n * PAGE, physical - within + n * PAGE, rights));
    all.then_some(address + within)
}

/// Zeroed memory that lies together, which ends where a page ends that is not there: whoever runs over
/// its end is caught. `length` is rounded up to 16 bytes.
pub fn allocate(length: u64) -> Option<u64> {
    let length = length.max(1).next_multiple_of(16);
    let bytes = length.next_multiple_of(PAGE);
    let memory = mem::dma(bytes as usize)?;
    let address = map(memory.address(), bytes, Rights::Write)?;
    Some(address + bytes - length)
}

/// Zeroed pages that lie together.
pub fn allocate_pages(pages: u64) -> Option<u64> {
    let memory = mem::dma((pages * PAGE) as usize)?;
    map(memory.address(), pages * PAGE, Rights::Write)
}

//! What a Windows with virtio-win's `fwcfg` driver has for QEMU, so that it can write the memory of a crash down in
//! the form that Windows' debuggers read: the head of such a file, and what QEMU looks up in the kernel for it.
//!
//! Offsets are those of QEMU's `win_dump_defs.h`. Addresses are mapped one to one here.

use crate::hal::{cpu, mem, mmio::Mmio};

/// Ports of QEMU's configuration device: which item, its bytes, and the address of what is to be done (big-endian,
/// and the second half starts it).
const SELECT: u16 = 0x510;
const BYTES: u16 = 0x511;
const DO_HIGH: u16 = 0x514;
const DO_LOW: u16 = 0x518;
/// The item with the list of the others: their names, and how many bytes an entry has.
const LIST: u16 = 0x19;
const NAME: &[u8] = b"etc/vmcoreinfo\0";
const ENTRY: usize = 64;
/// More than this there never are.
const MOST_ITEMS: u32 = 256;
/// What is to be done: the item in the upper half is written.
const SELECTS: u32 = 0x08;
const WRITES: u32 = 0x10;

/// Where the parts are in the one block of memory.
const NOTE: usize = 0;
const HEAD: usize = NOTE + NOTE_HEAD;
const DATA: usize = 0x3000;
const STOP: usize = 0x3800;
const PROCESSORS: usize = 0x3840;
const PROCESSOR: usize = 0x3880;
const ASKED: usize = 0x3900;
const SAID: usize = 0x3940;
const CONTEXT: usize = 0x4000;
const LENGTH: usize = 0x5000;

/// An ELF note: its head with its name, and the head of the file.
const NOTE_HEAD: usize = 24;
const HEAD_BYTES: u32 = 8192;
const NOTE_NAME: &[u8] = b"VMCOREINFO\0";
/// An ELF note is what is given.
const FORMAT_ELF: u16 = 1;

/// The part of the memory that is in the file: where the kernel lies, and how many pages.
const FIRST_PAGE: u64 = 0x200;
const PAGES: u64 = 16;

/// What QEMU was given.
pub struct Given(Mmio);

impl Given {
    /// Gives it to QEMU, if that takes it.
    pub fn new() -> Option<Self> {
        let item = item()?;
        let block = mem::dma(LENGTH)?;
        let at = |offset: usize| block.address() + offset as u64;
        text(block, NOTE + 12, NOTE_NAME);
        block.write(NOTE, NOTE_NAME.len() as u32);
        block.write(NOTE + 4, HEAD_BYTES);
        text(block, HEAD, b"PAGEDU64");
        for (offset, value) in [(8, 15), (12, 26100), (48, 0x8664), (52, 1), (136, 1)] {
            block.write(HEAD + offset, value as u32);
        }
        for (offset, value) in [
            (16, cpu::page_tables()),
            (128, at(DATA)),
            (144, PAGES),
            (152, FIRST_PAGE),
            (160, PAGES),
        ] {
            block.write(HEAD + offset, value);
        }
        // The debugger's data block: where the stop code is, and what is known of each processor.
        text(block, DATA + 0x10, b"KDBG");
        block.write(DATA + 0x88, at(STOP));
        block.write(DATA + 0x218, at(PROCESSORS));
        block.write(DATA + 0x338, 0_u16);
        block.write(PROCESSORS, at(PROCESSOR));
        block.write(PROCESSOR, at(CONTEXT));
        // What is written to the item: the forms of host and guest, length and address of the note.
        block.write(SAID + 2, FORMAT_ELF);
        block.write(SAID + 4, NOTE_HEAD as u32 + HEAD_BYTES);
        block.write(SAID + 8, at(NOTE));
        block.write(ASKED, (u32::from(item) << 16 | SELECTS | WRITES).to_be());
        block.write(ASKED + 4, 16_u32.to_be());
        block.write(ASKED + 8, at(SAID).to_be());
        cpu::out32(DO_HIGH, ((at(ASKED) >> 32) as u32).to_be());
        cpu::out32(DO_LOW, (at(ASKED) as u32).to_be());
        Some(Self(block))
    }

    /// The kernel's own variable with its stop code.
    pub fn stops(&self, code: u32, parameters: [u64; 4]) {
        self.0.write(STOP, u64::from(code));
        for (n, parameter) in parameters.into_iter().enumerate() {
            self.0.write(STOP + 8 + 8 * n, parameter);
        }
    }
}

fn text(block: Mmio, at: usize, text: &[u8]) {
    for (n, byte) in text.iter().enumerate() {
        block.write(at + n, *byte);
    }
}

/// The item that takes where the note is.
fn item() -> Option<u16> {
    cpu::out16(SELECT, LIST);
    let mut bytes = core::iter::repeat_with(|| cpu::in8(BYTES));
    let count = bytes.by_ref().take(4).fold(0, |n, b| n << 8 | u32::from(b));
    for _ in 0..count.min(MOST_ITEMS) {
        let mut entry = [0; ENTRY];
        entry.fill_with(|| bytes.next().unwrap_or_default());
        if entry[8..].starts_with(NAME) {
            return Some(u16::from_be_bytes([entry[4], entry[5]]));
        }
    }
    None
}

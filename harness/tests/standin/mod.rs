//! A disk that boots the reference kernel in the place of a Windows: a boot sector, PVH's start
//! information with the kernel's command line, and the kernel as it lies in memory.
//!
//! **It is not Windows.** What is tried with it is the harness.

use std::path::{Path, PathBuf};

/// The kernel, an ELF file.
const KERNEL: &[u8] = include_bytes!(env!("MISFIRE_GUEST"));
const SECTOR: usize = 512;
/// Where the disk is read to, and how much of it at a time.
const LOW: u64 = 0x1_0000;
const PIECE: usize = 64 * SECTOR;
/// The firmware's own memory begins behind this.
const LOW_END: u64 = 0x9_0000;
/// Where the kernel is linked to.
const HIGH: u64 = 0x20_0000;
/// The start information has a page of its own.
const START_BYTES: usize = 4096;
const COMMAND_LINE_AT: usize = 0x40;
/// PVH's magic number of the start information.
const MAGIC: u32 = 0x336e_c578;

/// From the firmware (16 bit) to the kernel's entry (32 bit, flat segments, paging off): the disk is read
/// to `LOW`, the kernel copied to `HIGH`.
#[rustfmt::skip]
const CODE: &[u8] = &[
    /* 00 */ 0xea, 0x05, 0x7c, 0x00, 0x00,                   // ljmp $0, $0x7c05
    /* 05 */ 0xfa,                                           // cli
    /* 06 */ 0x31, 0xc0,                                     // xor %ax, %ax
    /* 08 */ 0x8e, 0xd8,                                     // mov %ax, %ds
    /* 0a */ 0x8e, 0xc0,                                     // mov %ax, %es
    /* 0c */ 0x8e, 0xd0,                                     // mov %ax, %ss
    /* 0e */ 0xbc, 0x00, 0x7c,                               // mov $0x7c00, %sp
    /* 11 */ 0xfb,                                           // sti
    /* 12 */ 0x8b, 0x0e, 0xde, 0x7d,                         // mov PIECES, %cx
    /* 16 */ 0xbe, 0xc0, 0x7d,                               // mov $PACKET, %si
    /* 19 */ 0x51, 0x56,                                     // push %cx; push %si
    /* 1b */ 0xb4, 0x42,                                     // mov $0x42, %ah       read, with a packet
    /* 1d */ 0xcd, 0x13,                                     // int $0x13
    /* 1f */ 0x5e, 0x59,                                     // pop %si; pop %cx
    /* 21 */ 0x72, 0x23,                                     // jc fail
    /* 23 */ 0x81, 0x44, 0x06, 0x00, 0x08,                   // addw $0x800, 6(%si)  a piece further
    /* 28 */ 0x66, 0x83, 0x44, 0x08, 0x40,                   // addl $64, 8(%si)
    /* 2d */ 0xe2, 0xea,                                     // loop 0x19
    /* 2f */ 0xfa,                                           // cli
    /* 30 */ 0x66, 0x0f, 0x01, 0x16, 0xd8, 0x7d,             // lgdtl GDT_POINTER
    /* 36 */ 0x0f, 0x20, 0xc0,                               // mov %cr0, %eax
    /* 39 */ 0x0c, 0x01,                                     // or $1, %al           protected mode
    /* 3b */ 0x0f, 0x22, 0xc0,                               // mov %eax, %cr0
    /* 3e */ 0x66, 0xea, 0x49, 0x7c, 0x00, 0x00, 0x08, 0x00, // ljmpl $8, $0x7c49
    /* 46 */ 0xf4, 0xeb, 0xfd,                               // fail: hlt; jmp fail
    /* 49 */ 0x66, 0xb8, 0x10, 0x00,                         // mov $0x10, %ax
    /* 4d */ 0x8e, 0xd8,                                     // mov %ax, %ds
    /* 4f */ 0x8e, 0xc0,                                     // mov %ax, %es
    /* 51 */ 0x8e, 0xd0,                                     // mov %ax, %ss
    /* 53 */ 0xbe, 0x00, 0x10, 0x01, 0x00,                   // mov $0x11000, %esi   LOW + START_BYTES
    /* 58 */ 0xbf, 0x00, 0x00, 0x20, 0x00,                   // mov $0x200000, %edi  HIGH
    /* 5d */ 0x8b, 0x0d, 0xd0, 0x7d, 0x00, 0x00,             // mov WORDS, %ecx
    /* 63 */ 0xfc,                                           // cld
    /* 64 */ 0xf3, 0xa5,                                     // rep movsl
    /* 66 */ 0x31, 0xc0,                                     // xor %eax, %eax
    /* 68 */ 0x8b, 0x0d, 0xe0, 0x7d, 0x00, 0x00,             // mov ZEROS, %ecx
    /* 6e */ 0xf3, 0xab,                                     // rep stosl             what begins as zeros
    /* 70 */ 0xbb, 0x00, 0x00, 0x01, 0x00,                   // mov $0x10000, %ebx   LOW
    /* 75 */ 0xff, 0x25, 0xd4, 0x7d, 0x00, 0x00,             // jmp *ENTRY
];
/// Where in the sector the code finds what it needs.
const GDT: usize = 0x1a0;
const PACKET: usize = 0x1c0;
const WORDS: usize = 0x1d0;
const ENTRY: usize = 0x1d4;
const GDT_POINTER: usize = 0x1d8;
const PIECES: usize = 0x1de;
const ZEROS: usize = 0x1e0;

/// Writes the disk to `folder`. `canned` says what the stand-in is to do, `parameters` are the kernel's.
pub fn disk(folder: &Path, canned: &str, parameters: &str) -> PathBuf {
    let kernel = Kernel::of(KERNEL);
    let mut image = start(&format!("standin {canned} -- {parameters}"));
    image.extend(&kernel.memory);
    let pieces = image.len().div_ceil(PIECE);
    image.resize(pieces * PIECE, 0);
    assert!(
        LOW + image.len() as u64 <= LOW_END,
        "the kernel is too large"
    );

    let mut sector = vec![0; SECTOR];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, CODE);
    put(GDT + 8, &0x00cf_9a00_0000_ffff_u64.to_le_bytes());
    put(GDT + 16, &0x00cf_9200_0000_ffff_u64.to_le_bytes());
    put(PACKET, &[0x10, 0, 64, 0, 0, 0, 0x00, 0x10, 1]);
    put(WORDS, &(kernel.memory.len() as u32 / 4).to_le_bytes());
    put(ENTRY, &kernel.entry.to_le_bytes());
    put(GDT_POINTER, &23u16.to_le_bytes());
    put(GDT_POINTER + 2, &(0x7c00 + GDT as u32).to_le_bytes());
    put(PIECES, &(pieces as u16).to_le_bytes());
    put(ZEROS, &kernel.zeros.to_le_bytes());
    put(0x1fe, &[0x55, 0xaa]);
    // The firmware wants a disk to be a few cylinders large.
    let mut disk = [sector, image].concat();
    disk.resize(2 << 20, 0);
    let path = folder.join("standin.img");
    std::fs::write(&path, disk).unwrap();
    path
}

fn start(command_line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [MAGIC, 1, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    for long in [0, LOW + COMMAND_LINE_AT as u64, 0, 0, 0] {
        bytes.extend(long.to_le_bytes());
    }
    bytes.resize(COMMAND_LINE_AT, 0);
    bytes.extend(command_line.bytes());
    assert!(bytes.len() < START_BYTES);
    bytes.resize(START_BYTES, 0);
    bytes
}

/// The kernel as it lies in memory from `HIGH` on, and how many words of zeros come after it: after a reset
/// they would be as they were left.
struct Kernel {
    memory: Vec<u8>,
    zeros: u32,
    entry: u32,
}

impl Kernel {
    fn of(elf: &[u8]) -> Self {
        let long = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap());
        let half = |at: usize| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]]));
        let (table, size, count) = (long(32) as usize, half(54), half(56));
        let mut memory = Vec::new();
        for header in (0..count).map(|n| table + n * size) {
            const LOAD: u8 = 1;
            if elf[header] != LOAD {
                continue;
            }
            let (offset, address) = (long(header + 8) as usize, long(header + 24));
            let (in_file, in_memory) = (long(header + 32) as usize, long(header + 40) as usize);
            let at = (address - HIGH) as usize;
            memory.resize(memory.len().max(at + in_memory.next_multiple_of(4)), 0);
            memory[at..at + in_file].copy_from_slice(&elf[offset..offset + in_file]);
        }
        let entry = long(24) as u32;
        let all = memory.len();
        let used = memory.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        memory.truncate(used.next_multiple_of(4));
        let zeros = ((all - memory.len()) / 4) as u32;
        Self {
            memory,
            zeros,
            entry,
        }
    }
}

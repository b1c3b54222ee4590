//! A disk that boots the reference kernel in the place of a Windows: a boot sector, PVH's start
//! information with the kernel's command line, and the kernel as it lies in memory.
//!
//! **It is not Windows.** What is tried with it is the harness.

use std::path::{Path, PathBuf};

/// The kernel, an ELF file.
pub const KERNEL: &[u8] = include_bytes!(env!("MISFIRE_GUEST"));
const SECTOR: usize = 512;
/// Where the disk is read to, and how much of it at a time. The firmware moves each piece to where it belongs.
pub const LOW: u64 = 0x1_0000;
const PIECE: usize = 64 * SECTOR;
/// Where the kernel is linked to.
pub const HIGH: u64 = 0x20_0000;
/// The most that the kernel may take: behind it is its own memory.
const HIGH_END: u64 = 0x80_0000;
/// The start information has a page of its own, before the kernel on the disk and at `LOW` when that begins.
const START_BYTES: usize = 4096;
const COMMAND_LINE_AT: usize = 0x40;
/// PVH's magic number of the start information.
const MAGIC: u32 = 0x336e_c578;

/// From the firmware (16 bit) to the kernel's entry (32 bit, flat segments, paging off): the disk is read
/// to `LOW`, piece by piece, and moved so that the kernel is at `HIGH`.
#[rustfmt::skip]
const CODE: &[u8] = &[
    /* 00 */ 0xea, 0x05, 0x7c, 0x00, 0x00,                          // ljmp $0, $0x7c05
    /* 05 */ 0xfa,                                                  // cli
    /* 06 */ 0x31, 0xc0,                                            // xor %ax, %ax
    /* 08 */ 0x8e, 0xd8,                                            // mov %ax, %ds
    /* 0a */ 0x8e, 0xc0,                                            // mov %ax, %es
    /* 0c */ 0x8e, 0xd0,                                            // mov %ax, %ss
    /* 0e */ 0xbc, 0x00, 0x7c,                                      // mov $0x7c00, %sp
    /* 11 */ 0xfb,                                                  // sti
    /* 12 */ 0x8b, 0x0e, 0xde, 0x7d,                                // mov PIECES, %cx
    /* 16 */ 0x60,                                                  // pusha
    /* 17 */ 0xbe, 0xc0, 0x7d,                                      // mov $PACKET, %si
    /* 1a */ 0xb4, 0x42,                                            // mov $0x42, %ah       read, with a packet
    /* 1c */ 0xcd, 0x13,                                            // int $0x13
    /* 1e */ 0x72, 0x35,                                            // jc fail
    /* 20 */ 0x66, 0x83, 0x06, 0xc8, 0x7d, 0x40,                    // addl $64, PACKET + 8
    /* 26 */ 0xbe, 0x60, 0x7d,                                      // mov $MOVE, %si
    /* 29 */ 0xb9, 0x00, 0x40,                                      // mov $0x4000, %cx     words of a piece
    /* 2c */ 0xb4, 0x87,                                            // mov $0x87, %ah       move, with descriptors
    /* 2e */ 0xcd, 0x15,                                            // int $0x15
    /* 30 */ 0x72, 0x23,                                            // jc fail
    /* 32 */ 0x66, 0x81, 0x06, 0x7a, 0x7d, 0x00, 0x80, 0x00, 0x00,  // addl $0x8000, MOVE + 0x1a
    /* 3b */ 0x61,                                                  // popa
    /* 3c */ 0xe2, 0xd8,                                            // loop 0x16
    /* 3e */ 0xfa,                                                  // cli
    /* 3f */ 0x66, 0x0f, 0x01, 0x16, 0xd8, 0x7d,                    // lgdtl GDT_POINTER
    /* 45 */ 0x0f, 0x20, 0xc0,                                      // mov %cr0, %eax
    /* 48 */ 0x0c, 0x01,                                            // or $1, %al           protected mode
    /* 4a */ 0x0f, 0x22, 0xc0,                                      // mov %eax, %cr0
    /* 4d */ 0x66, 0xea, 0x58, 0x7c, 0x00, 0x00, 0x08, 0x00,        // ljmpl $8, $0x7c58
    /* 55 */ 0xf4, 0xeb, 0xfd,                                      // fail: hlt; jmp fail
    /* 58 */ 0x66, 0xb8, 0x10, 0x00,                                // mov $0x10, %ax
    /* 5c */ 0x8e, 0xd8,                                            // mov %ax, %ds
    /* 5e */ 0x8e, 0xc0,                                            // mov %ax, %es
    /* 60 */ 0x8e, 0xd0,                                            // mov %ax, %ss
    /* 62 */ 0xfc,                                                  // cld
    /* 63 */ 0xbe, 0x00, 0xf0, 0x1f, 0x00,                          // mov $0x1ff000, %esi  HIGH - START_BYTES
    /* 68 */ 0xbf, 0x00, 0x00, 0x01, 0x00,                          // mov $0x10000, %edi   LOW
    /* 6d */ 0xb9, 0x00, 0x04, 0x00, 0x00,                          // mov $0x400, %ecx     words of START_BYTES
    /* 72 */ 0xf3, 0xa5,                                            // rep movsl
    /* 74 */ 0x31, 0xc0,                                            // xor %eax, %eax
    /* 76 */ 0x8b, 0x3d, 0xd0, 0x7d, 0x00, 0x00,                    // mov ZEROS_AT, %edi
    /* 7c */ 0x8b, 0x0d, 0xe0, 0x7d, 0x00, 0x00,                    // mov ZEROS, %ecx
    /* 82 */ 0xf3, 0xab,                                            // rep stosl             what begins as zeros
    /* 84 */ 0xbb, 0x00, 0x00, 0x01, 0x00,                          // mov $0x10000, %ebx   LOW
    /* 89 */ 0xff, 0x25, 0xd4, 0x7d, 0x00, 0x00,                    // jmp *ENTRY
];
/// Where in the sector the code finds what it needs.
const MOVE: usize = 0x160;
const GDT: usize = 0x1a0;
const PACKET: usize = 0x1c0;
const ZEROS_AT: usize = 0x1d0;
const ENTRY: usize = 0x1d4;
const GDT_POINTER: usize = 0x1d8;
const PIECES: usize = 0x1de;
const ZEROS: usize = 0x1e0;

/// Writes the disk to `folder`. `canned` says what the stand-in is to do, `parameters` are the kernel's.
pub fn disk(folder: &Path, canned: &str, parameters: &str) -> PathBuf {
    let kernel = Kernel::of(KERNEL);
    let mut image = start(canned, parameters);
    image.extend(&kernel.memory);
    let pieces = image.len().div_ceil(PIECE);
    image.resize(pieces * PIECE, 0);
    let zeros_at = HIGH + kernel.memory.len() as u64;
    let end = HIGH + image.len() as u64;
    assert!(end <= HIGH_END, "the kernel is too large");

    let mut sector = vec![0; SECTOR];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, CODE);
    put(GDT + 8, &0x00cf_9a00_0000_ffff_u64.to_le_bytes());
    put(GDT + 16, &0x00cf_9200_0000_ffff_u64.to_le_bytes());
    put(PACKET, &[0x10, 0, 64, 0, 0, 0, 0x00, 0x10, 1]);
    put(ZEROS_AT, &(zeros_at as u32).to_le_bytes());
    // From where to where a piece is moved: limit, address, what may be done there.
    put(MOVE + 0x10, &moved(LOW));
    put(MOVE + 0x18, &moved(HIGH - START_BYTES as u64));
    put(ENTRY, &kernel.entry.to_le_bytes());
    put(GDT_POINTER, &23u16.to_le_bytes());
    put(GDT_POINTER + 2, &(0x7c00 + GDT as u32).to_le_bytes());
    put(PIECES, &(pieces as u16).to_le_bytes());
    put(ZEROS, &kernel.zeros.to_le_bytes());
    put(0x1fe, &[0x55, 0xaa]);
    // The firmware wants a disk to be a few cylinders large.
    let mut disk = [sector, image].concat();
    disk.resize(disk.len().max(2 << 20), 0);
    let path = folder.join("standin.img");
    std::fs::write(&path, disk).unwrap();
    path
}

/// What the firmware is told of a place of a piece: its segment's descriptor.
fn moved(at: u64) -> [u8; 8] {
    const DATA: u64 = 0x93;
    (0xffff | (at & 0xff_ffff) << 16 | DATA << 40).to_le_bytes()
}

/// PVH's start information, with the command line behind it.
pub fn start(canned: &str, parameters: &str) -> Vec<u8> {
    let command_line = format!("standin {canned} -- {parameters}");
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
pub struct Kernel {
    pub memory: Vec<u8>,
    pub zeros: u32,
    pub entry: u32,
}

impl Kernel {
    pub fn of(elf: &[u8]) -> Self {
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

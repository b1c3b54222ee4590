//! Starting the kernel without a firmware.
//!
//! QEMU's loader puts the kernel and its start information into memory; all that is left is the way
//! from the processor's reset vector to the kernel's 32-bit entry, which a ROM of 64 KiB holds. No
//! firmware means that every access in a trace before the guest's first line is QEMU's own, and that
//! nothing is copied, listed or waited for.

use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::machine::START_ADDRESS;

/// Size of the ROM in bytes; it ends where the first 4 GiB end.
const ROM_BYTES: usize = 0x1_0000;
/// Where the ROM's code lies in it.
const CODE_AT: usize = 0xff00;
/// Where the processor begins, in the ROM.
const RESET_AT: usize = 0xfff0;

/// From the reset vector (16 bit) to the entry (32 bit, flat segments, paging off), with the start
/// information in EBX, as the PVH boot protocol asks for.
#[rustfmt::skip]
const CODE: &[u8] = &[
    /* ff00 */ 0xfa,                                           // cli
    /* ff01 */ 0x2e, 0x66, 0x0f, 0x01, 0x16, 0x48, 0xff,       // lgdtl %cs:0xff48
    /* ff08 */ 0x0f, 0x20, 0xc0,                               // mov %cr0, %eax
    /* ff0b */ 0x0c, 0x01,                                     // or $1, %al           protected mode
    /* ff0d */ 0x0f, 0x22, 0xc0,                               // mov %eax, %cr0
    /* ff10 */ 0x66, 0xea, 0x18, 0xff, 0xff, 0xff, 0x08, 0x00, // ljmpl $8, $0xffffff18
    /* ff18 */ 0x66, 0xb8, 0x10, 0x00,                         // mov $0x10, %ax
    /* ff1c */ 0x8e, 0xd8,                                     // mov %ax, %ds
    /* ff1e */ 0x8e, 0xc0,                                     // mov %ax, %es
    /* ff20 */ 0x8e, 0xd0,                                     // mov %ax, %ss
    /* ff22 */ 0xbb, 0x00, 0x70, 0x00, 0x00,                   // mov $0x7000, %ebx    START_ADDRESS
    /* ff27 */ 0xff, 0x63, 0x38,                               // jmp *0x38(%ebx)      ENTRY_AT
    /* ff2a */ 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
    /* ff30 */ 0, 0, 0, 0, 0, 0, 0, 0,                         // the GDT: nothing,
    /* ff38 */ 0xff, 0xff, 0, 0, 0, 0x9a, 0xcf, 0,             // 0x08: code, 4 GiB
    /* ff40 */ 0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0,             // 0x10: data, 4 GiB
    /* ff48 */ 0x17, 0x00, 0x30, 0xff, 0xff, 0xff,             // its size - 1 and its address
];
/// To the code: jmp 0xff00.
const RESET: &[u8] = &[0xe9, 0x0d, 0xff];

/// Where the kernel's entry is found, after PVH's start information.
const ENTRY_AT: usize = 0x38;
/// Where the command line begins.
const COMMAND_LINE_AT: usize = 0x40;
/// PVH's magic number of the start information.
const MAGIC: u32 = 0x336e_c578;

/// The ROM.
fn rom() -> Vec<u8> {
    let mut rom = vec![0; ROM_BYTES];
    rom[CODE_AT..][..CODE.len()].copy_from_slice(CODE);
    rom[RESET_AT..][..RESET.len()].copy_from_slice(RESET);
    rom
}

/// What lies at [`START_ADDRESS`]: PVH's start information (version 1, no modules, no memory map), the
/// entry, and the command line.
fn start(entry: u32, command_line: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(COMMAND_LINE_AT + command_line.len() + 1);
    for word in [MAGIC, 1, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    let command_line_address = START_ADDRESS + COMMAND_LINE_AT as u64;
    for long in [0, command_line_address, 0, 0, 0] {
        bytes.extend(long.to_le_bytes());
    }
    debug_assert_eq!(bytes.len(), ENTRY_AT);
    bytes.extend(entry.to_le_bytes());
    bytes.resize(COMMAND_LINE_AT, 0);
    bytes.extend(command_line.bytes().take_while(|b| *b != 0));
    bytes.push(0);
    bytes
}

/// The entry of an ELF file of 64 bits: 8 bytes at offset 24.
fn entry(elf: &[u8]) -> Option<u32> {
    let bytes = elf.get(24..32)?.try_into().ok()?;
    u32::try_from(u64::from_le_bytes(bytes)).ok()
}

/// The ROM as a file in memory.
///
/// # Errors
/// When the operating system gives no such file.
pub(super) fn rom_file() -> io::Result<OwnedFd> {
    memory_file("misfire-rom", &rom())
}

/// The start information of `kernel` as a file in memory.
///
/// # Errors
/// When the operating system gives no such file, or `kernel` is no ELF file.
pub(super) fn start_file(kernel: &[u8], command_line: &str) -> io::Result<OwnedFd> {
    let entry = entry(kernel).ok_or(io::ErrorKind::InvalidData)?;
    memory_file("misfire-start", &start(entry, command_line))
}

/// A file in memory that can't change any more.
///
/// # Errors
/// When the operating system gives no such file.
pub(super) fn memory_file(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = std::fs::File::from(memfd_create(name, flags)?);
    file.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn the_reset_vector_leads_to_the_code() {
        let rom = rom();
        assert_eq!(rom.len(), ROM_BYTES);
        assert_eq!(rom[RESET_AT], 0xe9);
        let distance = i16::from_le_bytes([rom[RESET_AT + 1], rom[RESET_AT + 2]]);
        let target = RESET_AT as i64 + 3 + i64::from(distance);
        assert_eq!(target, CODE_AT as i64);
        assert!(CODE_AT + CODE.len() <= RESET_AT);
    }

    #[test]
    fn the_code_names_the_same_addresses_as_the_tables() {
        assert_eq!(u64::from(word(CODE, 0x23)), START_ADDRESS);
        assert_eq!(usize::from(CODE[0x29]), ENTRY_AT);
        assert_eq!(usize::from(word(CODE, 0x48) as u16) + 1, 3 * 8);
        assert_eq!(word(CODE, 0x4a), 0xffff_ff30);
        assert_eq!(word(CODE, 0x12), 0xffff_ff18);
    }

    #[test]
    fn the_start_information_leads_to_the_command_line() {
        let bytes = start(0x20_0000, "os=win7 mistake=a,b");
        assert_eq!(word(&bytes, 0), MAGIC);
        assert_eq!(word(&bytes, ENTRY_AT), 0x20_0000);
        let at = usize::try_from(u64::from(word(&bytes, 24)) - START_ADDRESS).unwrap();
        assert_eq!(&bytes[at..], b"os=win7 mistake=a,b\0");
    }

    #[test]
    fn the_kernels_entry_is_the_one_of_its_pvh_note() {
        let kernel = super::super::reference::KERNEL;
        let note = kernel.windows(4).position(|w| w == b"Xen\0").unwrap();
        assert_eq!(entry(kernel), Some(word(kernel, note + 4)));
        assert_eq!(entry(b"\x7fELF"), None);
    }
}

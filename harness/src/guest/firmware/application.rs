//! The application that a UEFI firmware runs (`guests/uefi`), as a PE image.
//!
//! The compiler makes an ELF file for a fixed place in memory. A PE image has the same bytes at the same
//! place behind headers of its own (PE format, and UEFI 2.10, 2.1.1), and no relocations.

use object::pod::{Pod, bytes_of, bytes_of_slice, from_bytes};
use object::read::elf::ElfFile64;
use object::{LittleEndian as LE, Object as _, ObjectSegment as _, pe};

const PROGRAM: &[u8] = include_bytes!(env!("MISFIRE_UEFI"));

/// Of an image in memory, and of its headers in the file.
const PAGE: u32 = 0x1000;
/// The headers are a page, so that the file is as the memory is.
const HEADERS: u32 = PAGE;
/// Data directories, all of which are empty.
const DIRECTORIES: usize = pe::IMAGE_NUMBEROF_DIRECTORY_ENTRIES;
/// No relocations, and addresses above 2 GiB are well.
const CHARACTERISTICS: u16 = pe::IMAGE_FILE_RELOCS_STRIPPED.0
    | pe::IMAGE_FILE_EXECUTABLE_IMAGE.0
    | pe::IMAGE_FILE_LARGE_ADDRESS_AWARE.0;
/// Code and data in one section.
const SECTION: u32 = pe::IMAGE_SCN_CNT_CODE.0
    | pe::IMAGE_SCN_CNT_INITIALIZED_DATA.0
    | pe::IMAGE_SCN_MEM_EXECUTE.0
    | pe::IMAGE_SCN_MEM_READ.0
    | pe::IMAGE_SCN_MEM_WRITE.0;

/// The image as the firmware loads it.
pub(super) fn image() -> Option<Vec<u8>> {
    let program: ElfFile64<'_> = ElfFile64::parse(PROGRAM).ok()?;
    let begin = program.segments().map(|s| s.address()).min()?;
    let end = program.segments().map(|s| s.address() + s.size()).max()?;
    let base = begin.checked_sub(u64::from(HEADERS))?;
    let size = u32::try_from(end.checked_sub(base)?).ok()?;
    let size = size.next_multiple_of(PAGE);
    let entry = u32::try_from(program.entry().checked_sub(base)?).ok()?;
    let mut image = headers(base, size, entry)?;
    image.resize(size as usize, 0);
    for segment in program.segments() {
        let at = usize::try_from(segment.address() - base).ok()?;
        let bytes = segment.data().ok()?;
        image
            .get_mut(at..)?
            .get_mut(..bytes.len())?
            .copy_from_slice(bytes);
    }
    Some(image)
}

/// The page of headers of an image of `size` bytes at `base` that begins at `entry`, counted from there. What is
/// not said is 0: no time, no symbols, no versions, and the firmware sees to the stack.
fn headers(base: u64, size: u32, entry: u32) -> Option<Vec<u8>> {
    let mut dos: pe::ImageDosHeader = blank()?;
    dos.e_magic.set(LE, pe::IMAGE_DOS_SIGNATURE);
    dos.e_lfanew.set(LE, size_of_val(&dos) as u32);

    let mut nt: pe::ImageNtHeaders64 = blank()?;
    let directories = [0_u64; DIRECTORIES];
    let optional_bytes = size_of_val(&nt.optional_header) + size_of_val(&directories);
    nt.signature.set(LE, pe::IMAGE_NT_SIGNATURE);
    let file = &mut nt.file_header;
    file.machine.set(LE, pe::IMAGE_FILE_MACHINE_AMD64);
    file.number_of_sections.set(LE, 1);
    file.size_of_optional_header.set(LE, optional_bytes as u16);
    file.characteristics.set(LE, pe::FileFlags(CHARACTERISTICS));
    let optional = &mut nt.optional_header;
    optional.magic.set(LE, pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC);
    optional.size_of_code.set(LE, size - HEADERS);
    optional.address_of_entry_point.set(LE, entry);
    optional.base_of_code.set(LE, HEADERS);
    optional.image_base.set(LE, base);
    optional.section_alignment.set(LE, PAGE);
    optional.file_alignment.set(LE, PAGE);
    optional.size_of_image.set(LE, size);
    optional.size_of_headers.set(LE, HEADERS);
    optional
        .subsystem
        .set(LE, pe::IMAGE_SUBSYSTEM_EFI_APPLICATION);
    optional.number_of_rva_and_sizes.set(LE, DIRECTORIES as u32);

    let mut section: pe::ImageSectionHeader = blank()?;
    section.name = *b".text\0\0\0";
    section.virtual_size.set(LE, size - HEADERS);
    section.virtual_address.set(LE, HEADERS);
    section.size_of_raw_data.set(LE, size - HEADERS);
    section.pointer_to_raw_data.set(LE, HEADERS);
    section.characteristics.set(LE, pe::SectionFlags(SECTION));

    let mut page = [
        bytes_of(&dos),
        bytes_of(&nt),
        bytes_of_slice(&directories),
        bytes_of(&section),
    ]
    .concat();
    page.resize(HEADERS as usize, 0);
    Some(page)
}

/// A header that says nothing.
fn blank<T: Pod>() -> Option<T> {
    let zeros = [0_u64; 64];
    let (header, _) = from_bytes(bytes_of_slice(&zeros)).ok()?;
    Some(*header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::read::pe::PeFile64;

    #[test]
    fn the_image_has_the_programs_bytes_where_the_program_wants_them() {
        let image = image().unwrap();
        let read: PeFile64<'_> = PeFile64::parse(&*image).unwrap();
        let optional = &read.nt_headers().optional_header;
        assert_eq!(optional.size_of_image.get(LE) as usize, image.len());
        let base = optional.image_base.get(LE);
        assert_eq!(base % 0x1_0000, 0);
        let program: ElfFile64<'_> = ElfFile64::parse(PROGRAM).unwrap();
        assert_eq!(read.entry(), program.entry());
        let entry = program.entry();
        let code = program
            .segments()
            .find(|s| (s.address()..s.address() + s.size()).contains(&entry));
        let code = code.unwrap();
        let at = (code.address() - base) as usize;
        let bytes = code.data().unwrap();
        assert_eq!(&image[at..at + bytes.len()], bytes);
        let section = read.section_table().iter().next().unwrap();
        assert_eq!(section.raw_name(), b".text");
        assert_eq!(section.characteristics.get(LE).0, SECTION);
    }
}

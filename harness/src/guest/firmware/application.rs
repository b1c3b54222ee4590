//! The application that a UEFI firmware runs (`guests/uefi`), as a PE image.
//!
//! The compiler makes an ELF file for a fixed place in memory. A PE image has the same bytes at the same
//! place behind headers of its own (PE format, and UEFI 2.10, 2.1.1), and no relocations.

const PROGRAM: &[u8] = include_bytes!(env!("MISFIRE_UEFI"));

/// Of an image in memory, and of its headers in the file.
const PAGE: u32 = 0x1000;
/// The headers are a page, so that the file is as the memory is.
const HEADERS: u32 = PAGE;
/// Where the PE header begins.
const PE_AT: usize = 0x80;
const MACHINE_X64: u16 = 0x8664;
/// No relocations, executable, larger addresses than 2 GiB.
const CHARACTERISTICS: u16 = 0x0001 | 0x0002 | 0x0020;
/// Of the optional header with 16 directories, all of which are empty.
const OPTIONAL_BYTES: u16 = 240;
const PE32_PLUS: u16 = 0x20b;
const EFI_APPLICATION: u16 = 10;
/// Code and data, executable, readable, writable.
const SECTION: u32 = 0x20 | 0x40 | 0x2000_0000 | 0x4000_0000 | 0x8000_0000;

/// The image as the firmware loads it.
pub(super) fn image() -> Option<Vec<u8>> {
    let elf = Elf(PROGRAM);
    let loads = elf.loads()?;
    let begin = loads.iter().map(|load| load.address).min()?;
    let end = loads.iter().map(|load| load.address + load.memory).max()?;
    let base = begin.checked_sub(u64::from(HEADERS))?;
    let size = u32::try_from(end.checked_sub(base)?).ok()?;
    let size = size.next_multiple_of(PAGE);
    let mut image = headers(
        base,
        size,
        u32::try_from(elf.entry()?.checked_sub(base)?).ok()?,
    );
    image.resize(size as usize, 0);
    for load in loads {
        let at = usize::try_from(load.address - base).ok()?;
        image
            .get_mut(at..)?
            .get_mut(..load.bytes.len())?
            .copy_from_slice(load.bytes);
    }
    Some(image)
}

/// The page of headers of an image of `size` bytes at `base` that begins at `entry`, counted from there.
fn headers(base: u64, size: u32, entry: u32) -> Vec<u8> {
    let mut page = vec![0; PE_AT];
    page[..2].copy_from_slice(b"MZ");
    page[0x3c..0x40].copy_from_slice(&(PE_AT as u32).to_le_bytes());
    let mut words = |bytes: &[u8]| page.extend_from_slice(bytes);
    words(b"PE\0\0");
    words(&MACHINE_X64.to_le_bytes());
    // One section; no time, no symbols.
    words(&1_u16.to_le_bytes());
    words(&[0; 12]);
    words(&OPTIONAL_BYTES.to_le_bytes());
    words(&CHARACTERISTICS.to_le_bytes());
    let optional = |words: &mut dyn FnMut(&[u8])| {
        words(&PE32_PLUS.to_le_bytes());
        words(&[0; 2]);
        let code = size - HEADERS;
        for word in [code, 0, 0, entry, HEADERS] {
            words(&word.to_le_bytes());
        }
        words(&base.to_le_bytes());
        for word in [PAGE, PAGE] {
            words(&word.to_le_bytes());
        }
        // Versions of the system, the image and the subsystem.
        words(&[0; 16]);
        for word in [size, HEADERS, 0] {
            words(&word.to_le_bytes());
        }
        words(&EFI_APPLICATION.to_le_bytes());
        words(&[0; 2]);
        // Stack and heap, which the firmware sees to, and flags.
        words(&[0; 36]);
        words(&16_u32.to_le_bytes());
        words(&[0; 16 * 8]);
    };
    optional(&mut words);
    words(b".text\0\0\0");
    for word in [size - HEADERS, HEADERS, size - HEADERS, HEADERS] {
        words(&word.to_le_bytes());
    }
    words(&[0; 12]);
    words(&SECTION.to_le_bytes());
    page.resize(HEADERS as usize, 0);
    page
}

/// An ELF file of 64 bits.
struct Elf<'a>(&'a [u8]);

/// A piece of it that lies in memory.
struct Load<'a> {
    address: u64,
    bytes: &'a [u8],
    /// Bytes in memory, zeros behind those of the file included.
    memory: u64,
}

impl<'a> Elf<'a> {
    fn long(&self, at: usize) -> Option<u64> {
        let bytes = self.0.get(at..)?.get(..8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn place(&self, at: usize) -> Option<usize> {
        usize::try_from(self.long(at)?).ok()
    }

    fn entry(&self) -> Option<u64> {
        self.long(24)
    }

    fn loads(&self) -> Option<Vec<Load<'a>>> {
        const LOAD: [u8; 4] = 1_u32.to_le_bytes();
        const HEADER: usize = 56;
        let (table, count) = (self.place(32)?, usize::from(*self.0.get(56)?));
        let headers = (0..count).map(|n| table + n * HEADER);
        let loads = headers.filter(|at| self.0.get(*at..*at + 4) == Some(&LOAD));
        let load = |at: usize| {
            let bytes = self.0.get(self.place(at + 8)?..)?;
            Some(Load {
                address: self.long(at + 16)?,
                bytes: bytes.get(..self.place(at + 32)?)?,
                memory: self.long(at + 40)?,
            })
        };
        loads.map(load).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn the_image_has_the_programs_bytes_where_the_program_wants_them() {
        let image = image().unwrap();
        assert_eq!(&image[..2], b"MZ");
        assert_eq!(&image[PE_AT..PE_AT + 4], b"PE\0\0");
        let optional = PE_AT + 24;
        assert_eq!(word(&image, optional + 56) as usize, image.len());
        let (low, high) = (word(&image, optional + 24), word(&image, optional + 28));
        let base = u64::from(low) | u64::from(high) << 32;
        assert_eq!(base % 0x1_0000, 0);
        let entry = word(&image, optional + 16) as usize;
        assert_eq!(Elf(PROGRAM).entry(), Some(base + entry as u64));
        let loads = Elf(PROGRAM).loads().unwrap();
        let code = loads.iter().find(|load| {
            (load.address..load.address + load.memory).contains(&(base + entry as u64))
        });
        let code = code.unwrap();
        let at = (code.address - base) as usize;
        assert_eq!(&image[at..at + code.bytes.len()], code.bytes);
        let section = optional + usize::from(OPTIONAL_BYTES);
        assert_eq!(&image[section..section + 5], b".text");
        assert_eq!(word(&image, section + 36), SECTION);
    }

    #[test]
    fn what_is_no_program_has_no_pieces() {
        assert!(Elf(b"\x7fELF").loads().is_none());
    }
}

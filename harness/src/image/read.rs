//! From the bytes of a file to the image as it lies in memory.

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{
    DataDirectories, ImageNtHeaders, ImageOptionalHeader as _, ImportTable, SectionTable,
};

use super::error::ImageError;
use super::handed::{MOST_BYTES, PAGE};

/// A section: a part of the image with rights of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Where it begins, from the image's beginning.
    pub at: u32,
    /// Its size in memory, in bytes.
    pub size: u32,
    /// It may be written.
    pub writable: bool,
    /// It is code.
    pub executable: bool,
    /// It is thrown away when the driver's entry has returned.
    pub discardable: bool,
}

/// A routine that the image calls in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The DLL, as the image names it.
    pub dll: String,
    /// The routine.
    pub name: String,
    /// Where its address is put, from the image's beginning.
    pub slot: u32,
}

/// A place in the image that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// From the image's beginning.
    pub at: u32,
    /// Its name.
    pub name: String,
}

/// A driver's image that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As it lies in memory at its own address, before relocation; a multiple of a page.
    pub bytes: Vec<u8>,
    /// The address that it was linked for.
    pub base: u64,
    /// Where it is entered.
    pub entry: u32,
    /// The headers are not among them.
    pub sections: Vec<Section>,
    /// Where the 64-bit addresses are that move with the image.
    pub relocations: Vec<u32>,
    /// What it calls in other images.
    pub imports: Vec<Import>,
    /// What it exports.
    pub symbols: Vec<Symbol>,
    /// The stack's security cookie.
    pub cookie: Option<u32>,
    /// `.pdata`: where it begins and its size, a multiple of an entry's.
    pub functions: Option<(u32, u32)>,
}

/// Entries of `.pdata` have this size.
const FUNCTION: u32 = 12;
/// Places of the load configuration directory: its cookie, and where that ends.
const COOKIE_AT: usize = 88;
const COOKIE_END: usize = 96;

const ALIGNED: &str = "it does not begin at a multiple of the section alignment";
const ORDERED: &str = "it begins before the one in front of it ends";
const INSIDE: &str = "it goes beyond the image";

impl Image {
    /// Reads an image.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(data: &[u8]) -> Result<Self, ImageError> {
        let (headers, directories, table) = headers(data)?;
        let optional = headers.optional_header();
        let (base, alignment) = (optional.image_base(), optional.section_alignment());
        let sections = sections(data, &table, optional.size_of_image(), alignment)?;
        let mut bytes = vec![0; round(optional.size_of_image()) as usize];
        let first = (optional.size_of_headers() as usize).min(bytes.len());
        bytes[..first].copy_from_slice(part(data, 0, first as u64, "the headers")?);
        for (section, header) in sections.iter().zip(table.iter()) {
            let from = header.pointer_to_raw_data.get(LE);
            let length = header.size_of_raw_data.get(LE).min(round(section.size));
            let raw = part(data, from.into(), length.into(), &section.name)?;
            bytes[section.at as usize..][..raw.len()].copy_from_slice(raw);
        }
        let entry = optional.address_of_entry_point();
        let is_code = |section: &&Section| {
            section.executable && (section.at..section.at + section.size).contains(&entry)
        };
        sections
            .iter()
            .find(is_code)
            .ok_or(ImageError::Entry(entry))?;
        let mut image = Self {
            bytes,
            base,
            entry,
            sections,
            relocations: Vec::new(),
            imports: Vec::new(),
            symbols: Vec::new(),
            cookie: None,
            functions: None,
        };
        image.find_relocations(headers, &directories)?;
        image.find_imports(&directories)?;
        image.find_cookie(&directories)?;
        image.functions = range(&directories, pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION)
            .map(|(at, size)| {
                image
                    .inside("the exception directory", at, size)
                    .map(|_| (at, size - size % FUNCTION))
            })
            .transpose()?;
        image.find_symbols(&directories);
        Ok(image)
    }

    /// The bytes at a place; an error when they are not in the image.
    fn inside(&self, what: &'static str, at: u32, size: u32) -> Result<&[u8], ImageError> {
        let from = at as usize;
        self.bytes
            .get(from..from.saturating_add(size as usize))
            .ok_or(ImageError::Outside {
                what,
                at: at.into(),
            })
    }

    fn find_relocations(
        &mut self,
        headers: &pe::ImageNtHeaders64,
        directories: &DataDirectories<'_>,
    ) -> Result<(), ImageError> {
        let stripped =
            headers.file_header.characteristics.get(LE).0 & pe::IMAGE_FILE_RELOCS_STRIPPED.0 != 0;
        if stripped {
            return Err(ImageError::NotRelocatable);
        }
        // An image without addresses in it has nothing to move.
        let Some((at, size)) = range(directories, pe::IMAGE_DIRECTORY_ENTRY_BASERELOC) else {
            return Ok(());
        };
        let data = self.inside("the relocation directory", at, size)?;
        let wrong = |error: object::read::Error| ImageError::Relocation(error.to_string());
        let mut places = Vec::new();
        let mut blocks = object::read::pe::RelocationBlockIterator::new(data);
        while let Some(block) = blocks.next().map_err(wrong)? {
            for relocation in block {
                let at = relocation.virtual_address;
                match relocation.typ {
                    pe::IMAGE_REL_BASED_ABSOLUTE => continue,
                    pe::IMAGE_REL_BASED_DIR64 => {}
                    typ => {
                        let text =
                            format!("the one at {at:#x} is of a kind that x64 has not ({typ:?})");
                        return Err(ImageError::Relocation(text));
                    }
                }
                if (at as usize).saturating_add(8) > self.bytes.len() {
                    let text = format!("the one at {at:#x} is not in the image");
                    return Err(ImageError::Relocation(text));
                }
                places.push(at);
            }
        }
        self.relocations = places;
        Ok(())
    }

    fn find_imports(&mut self, directories: &DataDirectories<'_>) -> Result<(), ImageError> {
        let Some((at, size)) = range(directories, pe::IMAGE_DIRECTORY_ENTRY_IMPORT) else {
            return Ok(());
        };
        self.inside("the import directory", at, size)?;
        let wrong = |error: object::read::Error| ImageError::Import(error.to_string());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let table = ImportTable::new(&self.bytes, 0, at);
        let mut descriptors = table.descriptors().map_err(wrong)?;
        let mut imports = Vec::new();
        while let Some(descriptor) = descriptors.next().map_err(wrong)? {
            let dll = text(table.name(descriptor.name.get(LE)).map_err(wrong)?);
            let slots = descriptor.first_thunk.get(LE);
            let names = match descriptor.original_first_thunk.get(LE) {
                0 => slots,
                names => names,
            };
            let mut thunks = table.thunks(names).map_err(wrong)?;
            let mut slot = slots;
            while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>().map_err(wrong)? {
                let name = match table.import::<pe::ImageNtHeaders64>(thunk).map_err(wrong)? {
                    object::read::pe::Import::Name(_, name) => text(name),
                    object::read::pe::Import::Ordinal(number) => {
                        let what = format!(
                            "{dll} is asked for number {number}, and drivers import by name"
                        );
                        return Err(ImageError::Import(what));
                    }
                };
                self.inside("the place of an import", slot, 8)?;
                imports.push(Import {
                    dll: dll.clone(),
                    name,
                    slot,
                });
                slot = slot.saturating_add(8);
            }
        }
        self.imports = imports;
        Ok(())
    }

    fn find_cookie(&mut self, directories: &DataDirectories<'_>) -> Result<(), ImageError> {
        let Some((at, size)) = range(directories, pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG) else {
            return Ok(());
        };
        let directory = self.inside("the load configuration", at, size)?;
        // It is as long as its first field says, which older linkers give to the directory too.
        let says = directory.get(..4).map_or(0, |bytes| word(bytes) as usize);
        if says < COOKIE_END || directory.len() < COOKIE_END {
            return Ok(());
        }
        let address = long(&directory[COOKIE_AT..COOKIE_END]);
        if address == 0 {
            return Ok(());
        }
        let place = address
            .checked_sub(self.base)
            .and_then(|place| u32::try_from(place).ok())
            .ok_or(ImageError::Outside {
                what: "the security cookie",
                at: address,
            })?;
        self.inside("the security cookie", place, 8)?;
        self.cookie = Some(place);
        Ok(())
    }

    /// Exports only help to say where something happened, so a wrong table of them is none.
    fn find_symbols(&mut self, directories: &DataDirectories<'_>) {
        let Some((at, size)) = range(directories, pe::IMAGE_DIRECTORY_ENTRY_EXPORT) else {
            return;
        };
        let Ok(data) = self.inside("the exports", at, size) else {
            return;
        };
        let exports =
            object::read::pe::ExportTable::parse(data, at).and_then(|table| table.exports());
        let mut symbols = Vec::new();
        for export in exports.into_iter().flatten() {
            if let (Some(name), object::read::pe::ExportTarget::Address(at)) =
                (export.name, export.target)
            {
                let name = String::from_utf8_lossy(name).into_owned();
                symbols.push(Symbol { at, name });
            }
        }
        symbols.sort_by_key(|symbol| symbol.at);
        self.symbols = symbols;
    }
}

/// Everything in front of the sections, and whether it is that of a driver.
fn headers(
    data: &[u8],
) -> Result<(&pe::ImageNtHeaders64, DataDirectories<'_>, SectionTable<'_>), ImageError> {
    let length = data.len() as u64;
    if data.get(..2) != Some(b"MZ") {
        return Err(ImageError::NotPe("it does not begin with MZ"));
    }
    let cut = |what: &str, end: u64| ImageError::Truncated {
        what: what.into(),
        end,
        length,
    };
    let at = u64::from(word(part(data, 0x3c, 4, "the DOS header")?));
    let head = part(data, at, 26, "the PE header")?;
    if &head[..4] != b"PE\0\0" {
        return Err(ImageError::NotPe(
            "there is no PE signature where its header says",
        ));
    }
    let machine = u16::from_le_bytes([head[4], head[5]]);
    if machine != pe::IMAGE_FILE_MACHINE_AMD64.0 {
        return Err(ImageError::Machine(match machine {
            0x14c => "32-bit x86".into(),
            0xaa64 => "ARM64".into(),
            0x1c4 | 0x1c0 => "32-bit Arm".into(),
            other => format!("machine {other:#06x}"),
        }));
    }
    let magic = u16::from_le_bytes([head[24], head[25]]);
    if magic != 0x20b {
        return Err(ImageError::NotPe32Plus(magic));
    }
    let mut offset = at;
    let parsed = pe::ImageNtHeaders64::parse(data, &mut offset);
    let (headers, directories) = parsed.map_err(|_| cut("the optional header", at + 24 + 240))?;
    let subsystem = headers.optional_header.subsystem.get(LE).0;
    if subsystem != pe::IMAGE_SUBSYSTEM_NATIVE.0 {
        return Err(ImageError::Subsystem(subsystem));
    }
    let count = u64::from(headers.file_header.number_of_sections.get(LE));
    let table = headers
        .sections(data, offset)
        .map_err(|_| cut("the table of sections", offset + 40 * count))?;
    // What lies behind the sections is not used; that it is there says that the file is whole.
    let symbols = u64::from(headers.file_header.pointer_to_symbol_table.get(LE));
    let symbols_size = u64::from(headers.file_header.number_of_symbols.get(LE)) * 18;
    if symbols != 0 && symbols_size != 0 {
        let strings = part(data, symbols + symbols_size, 4, "the symbol table")?;
        part(
            data,
            symbols + symbols_size,
            word(strings).into(),
            "the symbols' names",
        )?;
    }
    if let Some((at, size)) = range(&directories, pe::IMAGE_DIRECTORY_ENTRY_SECURITY) {
        part(data, at.into(), size.into(), "the signature")?;
    }
    Ok((headers, directories, table))
}

fn sections(
    data: &[u8],
    table: &SectionTable<'_>,
    image: u32,
    alignment: u32,
) -> Result<Vec<Section>, ImageError> {
    if u64::from(image) > MOST_BYTES {
        return Err(ImageError::TooLarge {
            size: image.into(),
            most: MOST_BYTES,
        });
    }
    let mut end = 0;
    let mut sections = Vec::new();
    for header in table.iter() {
        let name = header.raw_name();
        let name = String::from_utf8_lossy(name).into_owned();
        let at = header.virtual_address.get(LE);
        let raw = header.size_of_raw_data.get(LE);
        let size = match header.virtual_size.get(LE) {
            0 => raw,
            size => size,
        };
        let wrong = |what| ImageError::Section {
            name: name.clone(),
            what,
        };
        if alignment < PAGE || !at.is_multiple_of(alignment.max(1)) {
            return Err(wrong(ALIGNED));
        }
        if at < end {
            return Err(wrong(ORDERED));
        }
        let after = at.checked_add(size).filter(|after| *after <= image);
        end = after.ok_or_else(|| wrong(INSIDE))?;
        part(
            data,
            header.pointer_to_raw_data.get(LE).into(),
            raw.into(),
            &name,
        )?;
        let characteristics = header.characteristics.get(LE).0;
        let has = |bit: u32| characteristics & bit != 0;
        sections.push(Section {
            name,
            at,
            size,
            writable: has(pe::IMAGE_SCN_MEM_WRITE.0),
            executable: has(pe::IMAGE_SCN_MEM_EXECUTE.0),
            discardable: has(pe::IMAGE_SCN_MEM_DISCARDABLE.0),
        });
    }
    Ok(sections)
}

/// A directory that is there: where it begins, and its size.
fn range(directories: &DataDirectories<'_>, which: usize) -> Option<(u32, u32)> {
    let range = directories.get(which)?.address_range();
    (range.0 != 0 && range.1 != 0).then_some(range)
}

/// A part of the file.
fn part<'a>(data: &'a [u8], at: u64, size: u64, what: &str) -> Result<&'a [u8], ImageError> {
    let end = at.saturating_add(size);
    let bytes = usize::try_from(at).ok().zip(usize::try_from(end).ok());
    bytes
        .and_then(|(from, to)| data.get(from..to))
        .ok_or_else(|| ImageError::Truncated {
            what: what.to_owned(),
            end,
            length: data.len() as u64,
        })
}

fn round(size: u32) -> u32 {
    size.next_multiple_of(PAGE)
}

fn word(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn long(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

//! A driver's image, as the harness hands it over: checked, laid out and relocated there
//! (`harness/src/image/`). Here it is mapped, its imports are bound by name, and its cookie is set.

use super::kernel::{self, missing};
use super::storport;
use super::thunk::Thunks;
use crate::hal::mmio::Mmio;
use crate::hal::vm::{self, PAGE, Rights};
use crate::hal::{Local, mem, time};
use alloc::string::String;
use alloc::vec::Vec;

/// Where the harness puts it.
const AT: u64 = 56 << 20;
/// Most that it takes.
const MOST: usize = 4 << 20;
const MAGIC: u64 = u64::from_le_bytes(*b"MISFIRE1");
/// Words in front of the tables: where each list's length stands.
const FIXED: usize = 20;
const TABLES: usize = FIXED + 4 * 10;

/// Rights of a section, as the harness writes them.
const WRITABLE: u32 = 1;
const EXECUTABLE: u32 = 2;
const DISCARDABLE: u32 = 4;

/// A section.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Section {
    at: u32,
    size: u32,
    rights: u32,
    name: String,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Import {
    slot: u32,
    dll: String,
    name: String,
}

/// What is known of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its file.
    pub name: String,
    /// Where it lies.
    pub base: u64,
    /// Its size in bytes.
    pub size: u32,
    entry: u32,
    cookie: u32,
    /// `.pdata`.
    functions: (u32, u32),
    begin: u32,
    /// Where it lies, if that is not where the harness put it.
    copy: Option<u64>,
    sections: Vec<Section>,
    imports: Vec<Import>,
    symbols: Vec<(u32, String)>,
}

/// The table in front of an image.
struct Table<'a>(&'a [u8]);

impl Table<'_> {
    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.0.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn long(&self, at: usize) -> Option<u64> {
        Some(u64::from(self.word(at + 4)?) << 32 | u64::from(self.word(at)?))
    }

    fn text(&self, at: usize) -> Option<String> {
        let bytes = self.0.get(at..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

impl Image {
    /// Reads the table; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let table = Table(bytes);
        if table.long(0)? != MAGIC {
            return None;
        }
        let fixed = |n: usize| table.word(FIXED + 4 * n);
        let [sections, imports, symbols] = [fixed(5)?, fixed(6)?, fixed(7)?].map(|n| n as usize);
        let imports_at = TABLES + 16 * sections;
        let symbols_at = imports_at + 12 * imports;
        let texts = symbols_at + 8 * symbols;
        let word = |at: usize| table.word(at);
        let text = |at: usize| table.text(texts + word(at)? as usize);
        Some(Self {
            name: table.text(texts + fixed(9)? as usize)?,
            base: table.long(8)?,
            begin: table.word(16)?,
            copy: None,
            size: fixed(0)?,
            entry: fixed(1)?,
            cookie: fixed(2)?,
            functions: (fixed(3)?, fixed(4)?),
            sections: (0..sections)
                .map(|n| TABLES + 16 * n)
                .map(|at| {
                    Some(Section {
                        at: word(at)?,
                        size: word(at + 4)?,
                        rights: word(at + 8)?,
                        name: text(at + 12)?,
                    })
                })
                .collect::<Option<_>>()?,
            imports: (0..imports)
                .map(|n| imports_at + 12 * n)
                .map(|at| {
                    Some(Import {
                        slot: word(at)?,
                        dll: text(at + 4)?,
                        name: text(at + 8)?,
                    })
                })
                .collect::<Option<_>>()?,
            symbols: (0..symbols)
                .map(|n| symbols_at + 8 * n)
                .map(|at| Some((word(at)?, text(at + 4)?)))
                .collect::<Option<_>>()?,
        })
    }

    /// The address of its entry.
    pub fn entry(&self) -> u64 {
        self.base + u64::from(self.entry)
    }

    fn memory(&self) -> Mmio {
        Mmio::new(self.physical(), self.size as usize)
    }

    /// Where it lies in memory.
    fn physical(&self) -> u64 {
        self.copy.unwrap_or(AT + u64::from(self.begin))
    }

    /// A copy of it as the harness handed it over. `None` when there is no memory.
    fn copy(&self) -> Option<u64> {
        let copy = mem::dma(self.size as usize)?;
        // SAFETY: both have this size, and lie apart.
        unsafe {
            let from = self.memory().address() as *const u8;
            core::ptr::copy_nonoverlapping(from, copy.address() as *mut u8, self.size as usize);
        }
        Some(copy.address())
    }

    /// Binds the imports and sets the cookie, then maps each section with its rights.
    fn load(&self) {
        let memory = self.memory();
        kernel::set_variables();
        let thunks = Thunks::new(self.imports.len());
        for (n, import) in self.imports.iter().enumerate() {
            let routine = storport::routine(&import.dll, &import.name)
                .or_else(|| kernel::routine(&import.dll, &import.name))
                .unwrap_or_else(|| missing::trap(n as u32));
            let is_variable = kernel::VARIABLES.contains(&import.name.as_str());
            let entry = match &thunks {
                Some(all) if !is_variable => all.to(n, routine),
                _ => routine,
            };
            memory.write(import.slot as usize, entry);
        }
        if self.cookie != 0 {
            // "PE Format": a loader gives the cookie a value that can't be known before. It is no
            // secret here; it only may not be the one that the image came with. Its upper 16 bits are 0.
            memory.write(
                self.cookie as usize,
                0x0000_4d69_7366_6972u64 ^ time::now() << 16 & 0xffff_ffff_ffff,
            );
        }
        let page = |n: u64| self.physical() + n * PAGE;
        for n in 0..u64::from(self.size) / PAGE {
            vm::map_page(self.base + n * PAGE, page(n), Rights::Read);
        }
        for section in &self.sections {
            let rights = match (
                section.rights & WRITABLE != 0,
                section.rights & EXECUTABLE != 0,
            ) {
                (false, false) => Rights::Read,
                (true, false) => Rights::Write,
                (false, true) => Rights::Execute,
                (true, true) => Rights::All,
            };
            for n in pages(section) {
                vm::map_page(self.base + n * PAGE, page(n), rights);
            }
        }
    }

    /// Throws away what is needed only until the driver's entry has returned.
    fn discard(&self) {
        let discardable = |s: &&Section| s.rights & DISCARDABLE != 0;
        for section in self.sections.iter().filter(discardable) {
            let pages = pages(section);
            vm::unmap(self.base + pages.start * PAGE, pages.end - pages.start);
        }
    }

    /// Where an address is, in words; `None` when it is not in the image.
    pub fn place(&self, address: u64) -> Option<String> {
        let at = address.checked_sub(self.base)?;
        if at >= u64::from(self.size) {
            return None;
        }
        let at = at as u32;
        let mut text = alloc::format!("{}+{at:#x}", self.name);
        let symbol = self.symbols.iter().rfind(|(start, _)| *start <= at);
        if let Some((start, name)) = symbol {
            text += &alloc::format!(" ({name}+{:#x})", at - start);
        } else if let Some((begin, end)) = self.function(at) {
            text += &alloc::format!(" (the function {begin:#x} to {end:#x})");
        } else if let Some(section) = self
            .sections
            .iter()
            .find(|s| (s.at..s.at + s.size).contains(&at))
        {
            text += &alloc::format!(" (section {})", section.name);
        }
        Some(text)
    }

    /// The function of `.pdata` that a place is in.
    fn function(&self, at: u32) -> Option<(u32, u32)> {
        const ENTRY: u32 = 12;
        let (table, size) = self.functions;
        let memory = self.memory();
        let entry = |n: u32| {
            let entry = (table + n * ENTRY) as usize;
            (memory.read::<u32>(entry), memory.read::<u32>(entry + 4))
        };
        let mut functions = (0..size / ENTRY).map(entry);
        functions.find(|(begin, end)| (*begin..*end).contains(&at))
    }

    /// Its variables: where, and how many bytes.
    pub fn variables(&self) -> Vec<(u64, u64)> {
        let writable = self.sections.iter().filter(|s| s.rights & WRITABLE != 0);
        let place = |s: &Section| (self.base + u64::from(s.at), u64::from(s.size));
        writable.map(place).collect()
    }

    /// The DLL and the name of the import with this number.
    pub fn import(&self, n: u32) -> Option<(&str, &str)> {
        let import = self.imports.get(n as usize)?;
        Some((&import.dll, &import.name))
    }
}

fn pages(section: &Section) -> core::ops::Range<u64> {
    let end = u64::from(section.at) + u64::from(section.size);
    u64::from(section.at) / PAGE..end.div_ceil(PAGE)
}

static IMAGE: Local<Option<Image>> = Local::new(None);

/// The image as it was handed over, for a second load.
static PRISTINE: Local<Option<u64>> = Local::new(None);

/// Loads the image a second time, in the place of the first, as it is loaded for a crash dump. `false` when
/// that was not prepared.
pub fn load_again() -> bool {
    let Some(copy) = PRISTINE.with(Option::take) else {
        return false;
    };
    let Some(mut image) = image() else {
        return false;
    };
    image.copy = Some(copy);
    image.name = alloc::format!("dump_{}", image.name);
    image.load();
    IMAGE.with(|slot| *slot = Some(image));
    true
}

/// Loads the image that the harness has handed over; `twice`: it can be loaded again. `false` when there is
/// none.
pub fn load(twice: bool) -> bool {
    // SAFETY: the guest has this memory, and nothing else uses it.
    let bytes = unsafe { core::slice::from_raw_parts(AT as *const u8, MOST) };
    let Some(image) = Image::read(bytes) else {
        return false;
    };
    vm::install();
    if twice {
        PRISTINE.with(|pristine| *pristine = image.copy());
    }
    image.load();
    IMAGE.with(|slot| *slot = Some(image));
    true
}

/// The image, if there is one.
pub fn image() -> Option<Image> {
    IMAGE.with(|image| image.clone())
}

/// Whether an address is in the image.
pub fn contains(address: u64) -> bool {
    IMAGE.with(|image| {
        let image = image.as_ref();
        image.is_some_and(|image| {
            (image.base..image.base + u64::from(image.size)).contains(&address)
        })
    })
}

/// See [`Image::discard`].
pub fn discard() {
    if let Some(image) = image() {
        image.discard();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn table() -> Vec<u8> {
        let mut bytes = vec![];
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend(0xffff_f800_1000_0000u64.to_le_bytes());
        let texts = b"x.sys\0.text\0storport.sys\0StorPortInitialize\0";
        let words = [
            0x1000u32,
            0x2000,
            0x1000,
            0,
            0,
            0,
            1,
            1,
            0,
            texts.len() as u32,
            0, // fixed
            0x1000,
            0x200,
            EXECUTABLE,
            6, // a section
            0x1100,
            12,
            25, // an import
        ];
        for word in words {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(texts);
        bytes
    }

    #[test]
    fn the_table_in_front_of_an_image_is_read() {
        let image = Image::read(&table()).unwrap();
        assert_eq!((image.name.as_str(), image.size), ("x.sys", 0x2000));
        assert_eq!(image.entry(), 0xffff_f800_1000_1000);
        assert_eq!(image.sections[0].name, ".text");
        assert_eq!(
            image.import(0),
            Some(("storport.sys", "StorPortInitialize"))
        );
        assert_eq!(image.place(0xffff_f800_1000_2000), None);
        let place = image.place(0xffff_f800_1000_1010).unwrap();
        assert_eq!(place, "x.sys+0x1010 (section .text)");
    }

    #[test]
    fn a_table_that_is_cut_off_is_none() {
        let table = table();
        for length in 0..table.len() {
            assert_eq!(Image::read(&table[..length]), None, "{length}");
        }
    }
}

//! What the guest gets: the image at its place, relocated, behind a table of what is in it.
//!
//! The guest maps the image where it was relocated to, binds its imports by name, sets the cookie and
//! calls the entry; it reads nothing that an image's author has written. Numbers are little-endian; the
//! guest's side is `nt/image.rs`.

use super::read::Image;

/// A page, in bytes.
pub const PAGE: u32 = 4096;
/// The most that an image takes of the guest's memory, in bytes.
pub const MOST_BYTES: u64 = 3 << 20;
/// Where the guest finds it in its memory.
pub const LOAD_ADDRESS: u64 = 56 << 20;
/// Where the image lies for the driver.
const BASE: u64 = 0xffff_f800_1000_0000;
/// The first word, and the version of what follows.
const MAGIC: u64 = u64::from_le_bytes(*b"MISFIRE1");

/// Rights of a section.
const WRITABLE: u32 = 1;
const EXECUTABLE: u32 = 2;
const DISCARDABLE: u32 = 4;

/// The bytes that go to [`LOAD_ADDRESS`]: `name` is the file's. An import that the model does not have
/// is told so by the guest.
pub fn handed(image: &Image, name: &str) -> Vec<u8> {
    let mut words: Vec<u32> = Vec::new();
    let mut texts: Vec<u8> = Vec::new();
    let mut text = |text: &str| {
        let at = texts.len() as u32;
        texts.extend(text.bytes().filter(|byte| *byte != 0));
        texts.push(0);
        at
    };
    let own = text(name);
    for section in &image.sections {
        let right = |has: bool, bit: u32| if has { bit } else { 0 };
        let rights = right(section.writable, WRITABLE)
            | right(section.executable, EXECUTABLE)
            | right(section.discardable, DISCARDABLE);
        words.extend([section.at, section.size, rights, text(&section.name)]);
    }
    for import in &image.imports {
        words.extend([import.slot, text(&import.dll), text(&import.name)]);
    }
    for symbol in &image.symbols {
        words.extend([symbol.at, text(&symbol.name)]);
    }
    let (functions, functions_size) = image.functions.unwrap_or_default();
    let count = |n: usize| n as u32;
    let fixed = [
        count(image.bytes.len()),
        image.entry,
        image.cookie.unwrap_or(0),
        functions,
        functions_size,
        count(image.sections.len()),
        count(image.imports.len()),
        count(image.symbols.len()),
        count(texts.len()),
        own,
    ];
    let mut bytes = Vec::new();
    bytes.extend(MAGIC.to_le_bytes());
    bytes.extend(BASE.to_le_bytes());
    // Where the image begins, then the tables, then the texts.
    let tables = 8 + 8 + 4 + 4 * (fixed.len() + words.len()) + texts.len();
    let begin = (tables as u32).next_multiple_of(PAGE);
    bytes.extend(begin.to_le_bytes());
    for word in fixed.iter().chain(&words) {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(texts);
    bytes.resize(begin as usize, 0);
    bytes.extend(relocated(image));
    bytes
}

/// The image as it lies at [`BASE`].
fn relocated(image: &Image) -> Vec<u8> {
    let mut bytes = image.bytes.clone();
    let distance = BASE.wrapping_sub(image.base);
    for place in &image.relocations {
        if let Some(slot) = bytes
            .get_mut(*place as usize..)
            .and_then(|rest| rest.first_chunk_mut::<8>())
        {
            *slot = u64::from_le_bytes(*slot)
                .wrapping_add(distance)
                .to_le_bytes();
        }
    }
    bytes
}

//! Whether a medium has a file: as much of ISO 9660 (ECMA-119) and Joliet as a path takes.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

const SECTOR: u64 = 2048;
/// Descriptors begin here, and there are so many at the most.
const DESCRIPTORS: u64 = 16;
const MOST_DESCRIPTORS: u64 = 16;
/// Kinds of descriptors.
const PRIMARY: u8 = 1;
const SUPPLEMENTARY: u8 = 2;
const END: u8 = 255;
/// Where a descriptor has the record of the root, and the escape sequences by which it is Joliet's.
const ROOT: usize = 156;
const ESCAPES: usize = 88;
const JOLIET: [&[u8]; 3] = [b"%/@", b"%/C", b"%/E"];
/// Of a record: where its extent begins, how long it is, flags, and its name.
const EXTENT: usize = 2;
const LENGTH: usize = 10;
const FLAGS: usize = 25;
const NAME_LENGTH: usize = 32;
const NAME: usize = 33;
const FOLDER: u8 = 2;
/// The longest folder that is read, bytes.
const LONGEST: u64 = 1 << 20;

/// A folder of a medium.
#[derive(Clone, Copy, Debug)]
struct Folder {
    sector: u64,
    length: u64,
    /// Names are in UCS-2; else they are in capitals, and what is no letter, digit or point is `_`.
    joliet: bool,
}

/// Whether the medium at `path` has the file whose folders and name are these, in small letters. `None`: it is no
/// medium.
///
/// # Errors
/// When it can't be read.
pub(super) fn has(path: &Path, file: &[&str]) -> io::Result<Option<bool>> {
    let mut medium = File::open(path)?;
    let Some(mut folder) = root(&mut medium)? else {
        return Ok(None);
    };
    let [folders @ .., name] = file else {
        return Ok(Some(false));
    };
    for name in folders {
        match entry(&mut medium, folder, name)? {
            Some((next, true)) => folder = next,
            _ => return Ok(Some(false)),
        }
    }
    let found = entry(&mut medium, folder, name)?;
    Ok(Some(found.is_some_and(|(_, is_folder)| !is_folder)))
}

/// The root, with long names where there are some.
fn root(medium: &mut File) -> io::Result<Option<Folder>> {
    let mut root = None;
    for n in 0..MOST_DESCRIPTORS {
        let descriptor = bytes(medium, (DESCRIPTORS + n) * SECTOR, SECTOR)?;
        if descriptor.get(1..6) != Some(b"CD001") {
            break;
        }
        let joliet = JOLIET.iter().any(|e| descriptor[ESCAPES..].starts_with(e));
        match descriptor[0] {
            PRIMARY if root.is_none() => root = extent(&descriptor[ROOT..], false),
            SUPPLEMENTARY if joliet => root = extent(&descriptor[ROOT..], true),
            END => break,
            _ => {}
        }
    }
    Ok(root)
}

fn extent(record: &[u8], joliet: bool) -> Option<Folder> {
    let word = |at: usize| {
        let bytes = record.get(at..at + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_le_bytes(bytes)))
    };
    Some(Folder {
        sector: word(EXTENT)?,
        length: word(LENGTH)?,
        joliet,
    })
}

/// An entry of a folder, and whether it is a folder itself.
fn entry(medium: &mut File, folder: Folder, wanted: &str) -> io::Result<Option<(Folder, bool)>> {
    let records = bytes(medium, folder.sector * SECTOR, folder.length.min(LONGEST))?;
    let sectors = records.chunks(SECTOR as usize);
    for mut rest in sectors {
        while let Some(length) = rest.first().map(|l| usize::from(*l)).filter(|l| *l > NAME) {
            let Some(record) = rest.get(..length) else {
                break;
            };
            let name = NAME..NAME + usize::from(record[NAME_LENGTH]);
            let named = record.get(name).map(|name| plain(name, folder.joliet));
            if named.is_some_and(|name| is(&name, wanted, folder.joliet)) {
                let is_folder = record[FLAGS] & FOLDER != 0;
                return Ok(extent(record, folder.joliet).map(|found| (found, is_folder)));
            }
            rest = &rest[length..];
        }
    }
    Ok(None)
}

/// A name without its version, in small letters.
fn plain(name: &[u8], joliet: bool) -> String {
    let text = if joliet {
        let units = name.chunks_exact(2);
        let units: Vec<u16> = units.map(|u| u16::from_be_bytes([u[0], u[1]])).collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(name).into_owned()
    };
    let text = text.split(';').next().unwrap_or_default();
    text.trim_end_matches('.').to_lowercase()
}

fn is(name: &str, wanted: &str, joliet: bool) -> bool {
    name == wanted || !joliet && name == wanted.replace('-', "_")
}

/// What is there of so many bytes.
fn bytes(medium: &mut File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    medium.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    medium.take(length).read_to_end(&mut bytes)?;
    if at < (DESCRIPTORS + MOST_DESCRIPTORS) * SECTOR {
        bytes.resize(length as usize, 0);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of a folder.
    fn record(name: &[u8], sector: u32, length: u32, flags: u8) -> Vec<u8> {
        let mut record = vec![0; (NAME + name.len()).next_multiple_of(2)];
        record[0] = record.len() as u8;
        record[EXTENT..EXTENT + 4].copy_from_slice(&sector.to_le_bytes());
        record[LENGTH..LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        record[FLAGS] = flags;
        record[NAME_LENGTH] = name.len() as u8;
        record[NAME..NAME + name.len()].copy_from_slice(name);
        record
    }

    fn wide(name: &str) -> Vec<u8> {
        name.encode_utf16().flat_map(u16::to_be_bytes).collect()
    }

    /// A medium like virtio-win's: `guest-agent/qemu-ga-x86_64.msi`, with and without Joliet.
    fn medium(joliet: bool) -> Vec<u8> {
        let mut iso = vec![0; 32 * SECTOR as usize];
        let mut put = |sector: u64, at: usize, bytes: &[u8]| {
            let begin = sector as usize * SECTOR as usize + at;
            iso[begin..begin + bytes.len()].copy_from_slice(bytes);
        };
        let name = |short: &str, long: &str| match joliet {
            true => wide(long),
            false => short.as_bytes().to_vec(),
        };
        put(16, 0, b"\x01CD001\x01");
        put(16, ROOT, &record(b"\0", 20, 2048, FOLDER));
        if joliet {
            put(17, 0, b"\x02CD001\x01");
            put(17, ESCAPES, b"%/E");
            put(17, ROOT, &record(b"\0", 22, 2 * 2048, FOLDER));
        }
        put(18 - u64::from(!joliet), 0, b"\xffCD001\x01");
        let root = if joliet { 22 } else { 20 };
        put(root, 0, &record(b"\0", root as u32, 2048, FOLDER));
        // The second sector of the folder, where a record does not fit into the rest of the first.
        let place = if joliet { root + 1 } else { root };
        let at = if joliet { 0 } else { 34 };
        let folder = name("GUEST_AGENT", "guest-agent");
        put(place, at, &record(&folder, 26, 2048, FOLDER));
        let file = name("QEMU_GA_X86_64.MSI;1", "qemu-ga-x86_64.msi");
        put(26, 0, &record(&file, 28, 5, 0));
        iso
    }

    const AGENT: [&str; 2] = ["guest-agent", "qemu-ga-x86_64.msi"];

    #[test]
    fn a_file_is_found_by_its_path_with_long_names_and_short_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("virtio-win.iso");
        for joliet in [true, false] {
            std::fs::write(&path, medium(joliet)).unwrap();
            assert_eq!(has(&path, &AGENT).unwrap(), Some(true), "{joliet}");
            for other in [
                &["guest-agent"][..],
                &["guest-agent", "x"],
                &["x", "y"],
                &[],
            ] {
                assert_eq!(has(&path, other).unwrap(), Some(false), "{other:?}");
            }
        }
    }

    #[test]
    fn a_medium_that_is_cut_off_or_lies_is_read_to_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("virtio-win.iso");
        let whole = medium(true);
        for length in (0..whole.len()).step_by(511) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let is_none = has(&path, &AGENT).unwrap().is_none();
            assert_eq!(is_none, length < 16 * 2048 + 6, "{length}");
        }
        for at in [ROOT + EXTENT, ROOT + LENGTH, ROOT] {
            let mut lies = whole.clone();
            lies[17 * 2048 + at..][..4].fill(0xff);
            std::fs::write(&path, &lies).unwrap();
            assert!(has(&path, &AGENT).unwrap().is_some());
        }
    }
}

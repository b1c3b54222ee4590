//! The stand-in: what it boots from, and what its kernel says when it crashes.

use std::path::Path;

use misfire::log::kd::frame::{Frame, kind};

use crate::assembled;

/// Bytes of a sector of a medium.
pub const SECTOR: usize = 2048;

/// A file of the stand-in that the firmware starts, with these defines.
pub fn assemble(folder: &Path, source: &str, defines: &[&str]) -> Vec<u8> {
    let options = [&["-m32", "-Wl,-Ttext=0x7c00"], defines].concat();
    assembled::assemble(folder, source, &options)
}

/// The description of an archive with these images: name, edition, kind, build.
fn description(images: &[(&str, &str, &str, u32)]) -> Vec<u8> {
    let mut text = String::from("\u{feff}<WIM><TOTALBYTES>1</TOTALBYTES>");
    for (n, (name, edition, kind, build)) in images.iter().enumerate() {
        text += &format!(
            "<IMAGE INDEX=\"{}\"><WINDOWS><ARCH>9</ARCH><EDITIONID>{edition}</EDITIONID>\
             <INSTALLATIONTYPE>{kind}</INSTALLATIONTYPE><LANGUAGES><LANGUAGE>de-DE</LANGUAGE>\
             <DEFAULT>de-DE</DEFAULT></LANGUAGES><VERSION><MAJOR>10</MAJOR><BUILD>{build}</BUILD></VERSION>\
             </WINDOWS><NAME>{name}</NAME></IMAGE>",
            n + 1
        );
    }
    text += "</WIM>";
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub const IMAGES: &[(&str, &str, &str, u32)] = &[
    ("Windows Setup", "WindowsPE", "WindowsPE", 22_631),
    ("Windows 11 Home", "Core", "Client", 22_631),
    ("Windows 11 Pro", "Professional", "Client", 22_631),
];

/// An installation medium: it boots `start`, and has an archive with `images`.
pub fn medium(start: &[u8], images: &[(&str, &str, &str, u32)]) -> Vec<u8> {
    let mut iso = vec![0; 32 * SECTOR];
    let mut at = |sector: usize, offset: usize, bytes: &[u8]| {
        let begin = sector * SECTOR + offset;
        iso[begin..begin + bytes.len()].copy_from_slice(bytes);
    };
    // The descriptors: a volume, what boots ("El Torito"), the end.
    at(16, 0, b"\x01CD001\x01");
    at(17, 0, b"\x00CD001\x01EL TORITO SPECIFICATION");
    at(17, 0x47, &19u32.to_le_bytes());
    at(18, 0, b"\xffCD001\x01");
    // The catalogue: who validates it, with a sum of 0, and one entry that is loaded as it stands.
    at(19, 0, &[1, 0, 0, 0]);
    at(19, 0x1c, &[0xaa, 0x55, 0x55, 0xaa]);
    at(19, 0x20, &[0x88, 0, 0, 0, 0, 0, 4, 0]);
    at(19, 0x28, &20u32.to_le_bytes());
    at(20, 0, start);
    // The archive: its header, and its description 4096 bytes later.
    let description = description(images);
    at(24, 0, b"MSWIM\0\0\0");
    at(24, 8, &208u32.to_le_bytes());
    at(24, 72, &(description.len() as u64 | 2 << 56).to_le_bytes());
    at(24, 80, &4096u64.to_le_bytes());
    at(26, 0, &description);
    iso
}

/// The same for UEFI: the firmware starts what is on the FAT volume `start`, and a BIOS nothing.
pub fn with_uefi(start: &[u8], images: &[(&str, &str, &str, u32)]) -> Vec<u8> {
    let mut iso = medium(&[], images);
    let begin = iso.len() / SECTOR;
    let catalogue = &mut iso[19 * SECTOR..][..SECTOR];
    // The last platform of the catalogue, with one entry: sectors of 512 bytes, and where they are.
    catalogue[0x40..0x44].copy_from_slice(&[0x91, 0xef, 1, 0]);
    catalogue[0x60..0x66].copy_from_slice(&[0x88, 0, 0, 0, 0, 0]);
    catalogue[0x66..0x68].copy_from_slice(&((start.len() / 512) as u16).to_le_bytes());
    catalogue[0x68..0x6c].copy_from_slice(&(begin as u32).to_le_bytes());
    iso.extend(start);
    iso
}

/// What a kernel tells its debugger of a crash: the text, the stop, and the answer to the one question that is
/// asked before it is believed.
pub fn crash() -> Vec<u8> {
    let text = b"\n*** Fatal System Error: 0x0000007b\n                       \
                 (0xFFFFF80540000000,0x00000000C0000034,0x0000000000000000,0x0000000000000001)\n\n";
    let mut print = 0x3230u32.to_le_bytes().to_vec();
    print.resize(8, 0);
    print.extend((text.len() as u32).to_le_bytes());
    print.resize(16, 0);
    print.extend(text);
    let put = |payload: &mut Vec<u8>, at: usize, bytes: &[u8]| {
        payload[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let at = 0xffff_f805_4041_8a10_u64.to_le_bytes();
    let mut stop = vec![0; 244];
    put(&mut stop, 0, &0x3030u32.to_le_bytes());
    stop[8] = 1;
    put(&mut stop, 24, &at);
    put(&mut stop, 32, &0x8000_0003u32.to_le_bytes());
    put(&mut stop, 48, &at);
    put(&mut stop, 212, &2u16.to_le_bytes());
    put(&mut stop, 216, &[0xcc, 0xc3]);
    let mut version = vec![0; 56];
    put(&mut version, 0, &0x3146u32.to_le_bytes());
    put(&mut version, 16, &15u16.to_le_bytes());
    put(&mut version, 18, &22_631u16.to_le_bytes());
    put(&mut version, 24, &0x8664u16.to_le_bytes());
    let frames = [
        (kind::DEBUG_IO, 0x8080_0800, print),
        (kind::STATE_CHANGE, 0x8080_0001, stop),
        (kind::MANIPULATE, 0x8080_0000, version),
    ];
    let frames = frames.map(|(kind, id, payload)| Frame::Data { kind, id, payload }.bytes());
    frames.concat()
}

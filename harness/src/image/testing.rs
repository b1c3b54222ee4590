//! A small image, made by hand.

/// Where parts of the image lie in the file; in memory each section is a page.
pub const PE: usize = 0x80;
/// The optional header.
pub const OPTIONAL: usize = PE + 24;
/// The data directories.
pub const DIRECTORIES: usize = OPTIONAL + 112;
/// The table of sections.
pub const SECTIONS: usize = OPTIONAL + 240;
/// Raw bytes of the three sections, 0x200 each, from here on.
pub const RAW: usize = 0x400;

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}
fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// A driver with code at 0x1000, data with an import, an address and a cookie at 0x2000, and relocations at
/// 0x3000, linked for 0x1_4000_0000.
pub fn image() -> Vec<u8> {
    let mut b = vec![0; RAW + 3 * 0x200];
    b[..2].copy_from_slice(b"MZ");
    put32(&mut b, 0x3c, PE as u32);
    b[PE..PE + 4].copy_from_slice(b"PE\0\0");
    put16(&mut b, PE + 4, 0x8664);
    put16(&mut b, PE + 6, 3);
    put16(&mut b, PE + 20, 240);
    put16(&mut b, PE + 22, 0x22);
    put16(&mut b, OPTIONAL, 0x20b);
    put32(&mut b, OPTIONAL + 16, 0x1000); // entry
    put64(&mut b, OPTIONAL + 24, 0x1_4000_0000);
    put32(&mut b, OPTIONAL + 32, 0x1000);
    put32(&mut b, OPTIONAL + 36, 0x200);
    put32(&mut b, OPTIONAL + 56, 0x4000); // size in memory
    put32(&mut b, OPTIONAL + 60, 0x400); // headers
    put16(&mut b, OPTIONAL + 68, 1);
    put32(&mut b, OPTIONAL + 108, 16);
    let mut directory = |n: usize, at: u32, size: u32| {
        put32(&mut b, DIRECTORIES + 8 * n, at);
        put32(&mut b, DIRECTORIES + 8 * n + 4, size);
    };
    directory(1, 0x2000, 40);
    directory(5, 0x3000, 12);
    directory(10, 0x2100, 112);
    for (n, (name, rights)) in [
        (b".text\0\0\0", 0x6000_0020),
        (b".data\0\0\0", 0xc000_0040),
        (b".reloc\0\0", 0x4200_0040),
    ]
    .into_iter()
    .enumerate()
    {
        let at = SECTIONS + 40 * n;
        b[at..at + 8].copy_from_slice(name);
        put32(&mut b, at + 8, 0x200);
        put32(&mut b, at + 12, 0x1000 * (n as u32 + 1));
        put32(&mut b, at + 16, 0x200);
        put32(&mut b, at + 20, (RAW + 0x200 * n) as u32);
        put32(&mut b, at + 36, rights);
    }
    b[RAW] = 0xc3;
    let data = RAW + 0x200;
    put32(&mut b, data, 0x2040); // names of the imports
    put32(&mut b, data + 12, 0x2080); // name of the DLL
    put32(&mut b, data + 16, 0x2060); // places of the imports
    put64(&mut b, data + 0x40, 0x20a0);
    put64(&mut b, data + 0x60, 0x20a0);
    b[data + 0x80..data + 0x8c].copy_from_slice(b"storport.sys");
    b[data + 0xa2..data + 0xb4].copy_from_slice(b"StorPortInitialize");
    put64(&mut b, data + 0xf0, 0x1_4000_1000); // an address
    put32(&mut b, data + 0x100, 112);
    put64(&mut b, data + 0x100 + 88, 0x1_4000_2180); // the cookie's address
    let relocations = RAW + 0x400;
    put32(&mut b, relocations, 0x2000);
    put32(&mut b, relocations + 4, 12);
    put16(&mut b, relocations + 8, 0xa0f0);
    b
}

//! The boot sector: what the firmware boots, and how it is spoken to.
//!
//! It prints that it is there on the debug port (0x402), and then carries out what the host sends to the
//! first serial port. All it knows is the firmware's disk service, interrupt 0x13, so that each request
//! is the firmware's driver's.

/// Bytes.
pub(super) const SECTOR: usize = 512;

/// Loaded at 0000:7C00 with the drive's number in DL.
#[rustfmt::skip]
const CODE: &[u8] = &[
    /* 7c00 */ 0xfa,                                      // cli
    /* 7c01 */ 0x31, 0xc0,                                // xorw %ax,%ax
    /* 7c03 */ 0x8e, 0xd8,                                // movw %ax,%ds
    /* 7c05 */ 0x8e, 0xc0,                                // movw %ax,%es
    /* 7c07 */ 0x8e, 0xd0,                                // movw %ax,%ss
    /* 7c09 */ 0xbc, 0x00, 0x7c,                          // movw $0x7c00,%sp
    /* 7c0c */ 0xfb,                                      // sti
    /* 7c0d */ 0xfc,                                      // cld
    /* 7c0e */ 0x88, 0x16, 0x01, 0x7d,                    // movb %dl,DRIVE
    /* 7c12 */ 0xbe, 0x18, 0x7d,                          // movw $GREETING,%si
    // hello:
    /* 7c15 */ 0xac,                                      // lodsb %ds:(%si),%al
    /* 7c16 */ 0x84, 0xc0,                                // testb %al,%al
    /* 7c18 */ 0x74, 0x06,                                // je next
    /* 7c1a */ 0xba, 0x02, 0x04,                          // movw $0x402,%dx
    /* 7c1d */ 0xee,                                      // outb %al,(%dx)
    /* 7c1e */ 0xeb, 0xf5,                                // jmp hello
    // next:
    /* 7c20 */ 0xe8, 0xcf, 0x00,                          // callw get
    /* 7c23 */ 0xfe, 0xc8,                                // decb %al
    /* 7c25 */ 0x74, 0x14,                                // je disk
    /* 7c27 */ 0xfe, 0xc8,                                // decb %al
    /* 7c29 */ 0x74, 0x54,                                // je tell
    /* 7c2b */ 0xfe, 0xc8,                                // decb %al
    /* 7c2d */ 0x74, 0x74,                                // je leave
    /* 7c2f */ 0xfe, 0xc8,                                // decb %al
    /* 7c31 */ 0x74, 0x76,                                // je pattern
    /* 7c33 */ 0xfe, 0xc8,                                // decb %al
    /* 7c35 */ 0x0f, 0x84, 0x8b, 0x00,                    // je compare
    /* 7c39 */ 0xeb, 0xe5,                                // jmp next
    // disk: the packet has a function, a count, the step from a request to the next, and an address packet
    /* 7c3b */ 0xbf, 0x03, 0x7d,                          // movw $PACKET,%di
    /* 7c3e */ 0xb9, 0x15, 0x00,                          // movw $0x15,%cx
    // fill:
    /* 7c41 */ 0xe8, 0xae, 0x00,                          // callw get
    /* 7c44 */ 0xaa,                                      // stosb %al,%es:(%di)
    /* 7c45 */ 0xe2, 0xfa,                                // loopw fill
    // again:
    /* 7c47 */ 0x80, 0x3e, 0x02, 0x7d, 0x00,              // cmpb $0x0,FAILED
    /* 7c4c */ 0x75, 0xd2,                                // jne next
    /* 7c4e */ 0xbe, 0x08, 0x7d,                          // movw $PACKET+5,%si
    /* 7c51 */ 0x8a, 0x26, 0x03, 0x7d,                    // movb PACKET,%ah
    /* 7c55 */ 0x30, 0xc0,                                // xorb %al,%al
    /* 7c57 */ 0x8a, 0x16, 0x01, 0x7d,                    // movb DRIVE,%dl
    /* 7c5b */ 0xcd, 0x13,                                // int $0x13
    /* 7c5d */ 0x72, 0x19,                                // jb bad
    /* 7c5f */ 0xa1, 0x06, 0x7d,                          // movw PACKET+3,%ax
    /* 7c62 */ 0x01, 0x06, 0x10, 0x7d,                    // addw %ax,PACKET+13
    /* 7c66 */ 0x83, 0x16, 0x12, 0x7d, 0x00,              // adcw $0x0,PACKET+15
    /* 7c6b */ 0x83, 0x16, 0x14, 0x7d, 0x00,              // adcw $0x0,PACKET+17
    /* 7c70 */ 0xff, 0x0e, 0x04, 0x7d,                    // decw PACKET+1
    /* 7c74 */ 0x75, 0xd1,                                // jne again
    /* 7c76 */ 0xeb, 0xa8,                                // jmp next
    // bad:
    /* 7c78 */ 0xc6, 0x06, 0x02, 0x7d, 0x01,              // movb $0x1,FAILED
    /* 7c7d */ 0xeb, 0xa1,                                // jmp next
    // tell: two texts, each with a zero at its end; the second is printed if something failed
    /* 7c7f */ 0x30, 0xdb,                                // xorb %bl,%bl
    // letter:
    /* 7c81 */ 0xe8, 0x6e, 0x00,                          // callw get
    /* 7c84 */ 0x84, 0xc0,                                // testb %al,%al
    /* 7c86 */ 0x74, 0x0c,                                // je end
    /* 7c88 */ 0x3a, 0x1e, 0x02, 0x7d,                    // cmpb FAILED,%bl
    /* 7c8c */ 0x75, 0xf3,                                // jne letter
    /* 7c8e */ 0xba, 0x02, 0x04,                          // movw $0x402,%dx
    /* 7c91 */ 0xee,                                      // outb %al,(%dx)
    /* 7c92 */ 0xeb, 0xed,                                // jmp letter
    // end:
    /* 7c94 */ 0xfe, 0xc3,                                // incb %bl
    /* 7c96 */ 0x80, 0xfb, 0x02,                          // cmpb $0x2,%bl
    /* 7c99 */ 0x75, 0xe6,                                // jne letter
    /* 7c9b */ 0xc6, 0x06, 0x02, 0x7d, 0x00,              // movb $0x0,FAILED
    /* 7ca0 */ 0xe9, 0x7d, 0xff,                          // jmpw next
    // leave:
    /* 7ca3 */ 0xba, 0xf4, 0x00,                          // movw $0xf4,%dx
    /* 7ca6 */ 0xee,                                      // outb %al,(%dx)
    /* 7ca7 */ 0xeb, 0xfa,                                // jmp leave
    // pattern: fills the buffer that is written with words that begin at the one that follows
    /* 7ca9 */ 0xe8, 0x39, 0x00,                          // callw word
    /* 7cac */ 0x89, 0xc3,                                // movw %ax,%bx
    /* 7cae */ 0xb8, 0x00, 0x10,                          // movw $0x1000,%ax
    /* 7cb1 */ 0x8e, 0xc0,                                // movw %ax,%es
    /* 7cb3 */ 0x31, 0xff,                                // xorw %di,%di
    /* 7cb5 */ 0xb9, 0x00, 0x80,                          // movw $0x8000,%cx
    /* 7cb8 */ 0x93,                                      // xchgw %ax,%bx
    // words:
    /* 7cb9 */ 0xab,                                      // stosw %ax,%es:(%di)
    /* 7cba */ 0x05, 0x37, 0x9e,                          // addw $0x9e37,%ax
    /* 7cbd */ 0xe2, 0xfa,                                // loopw words
    /* 7cbf */ 0x8e, 0xc1,                                // movw %cx,%es
    /* 7cc1 */ 0xe9, 0x5c, 0xff,                          // jmpw next
    // compare: so many words of both buffers
    /* 7cc4 */ 0xe8, 0x1e, 0x00,                          // callw word
    /* 7cc7 */ 0x89, 0xc1,                                // movw %ax,%cx
    /* 7cc9 */ 0xb8, 0x00, 0x10,                          // movw $0x1000,%ax
    /* 7ccc */ 0x8e, 0xd8,                                // movw %ax,%ds
    /* 7cce */ 0xb8, 0x00, 0x20,                          // movw $0x2000,%ax
    /* 7cd1 */ 0x8e, 0xc0,                                // movw %ax,%es
    /* 7cd3 */ 0x31, 0xf6,                                // xorw %si,%si
    /* 7cd5 */ 0x31, 0xff,                                // xorw %di,%di
    /* 7cd7 */ 0xf3, 0xa7,                                // repz cmpsw %es:(%di),%ds:(%si)
    /* 7cd9 */ 0xb8, 0x00, 0x00,                          // movw $0x0,%ax
    /* 7cdc */ 0x8e, 0xd8,                                // movw %ax,%ds
    /* 7cde */ 0x8e, 0xc0,                                // movw %ax,%es
    /* 7ce0 */ 0x75, 0x96,                                // jne bad
    /* 7ce2 */ 0xe9, 0x3b, 0xff,                          // jmpw next
    // word: the next two of them in %ax
    /* 7ce5 */ 0xe8, 0x0a, 0x00,                          // callw get
    /* 7ce8 */ 0x88, 0xc3,                                // movb %al,%bl
    /* 7cea */ 0xe8, 0x05, 0x00,                          // callw get
    /* 7ced */ 0x88, 0xc4,                                // movb %al,%ah
    /* 7cef */ 0x88, 0xd8,                                // movb %bl,%al
    /* 7cf1 */ 0xc3,                                      // retw
    // get: the next byte of the first serial port in %al
    /* 7cf2 */ 0xba, 0xfd, 0x03,                          // movw $0x3fd,%dx
    // wait:
    /* 7cf5 */ 0xf3, 0x90,                                // pause
    /* 7cf7 */ 0xec,                                      // inb (%dx),%al
    /* 7cf8 */ 0xa8, 0x01,                                // testb $0x1,%al
    /* 7cfa */ 0x74, 0xf9,                                // je wait
    /* 7cfc */ 0xba, 0xf8, 0x03,                          // movw $0x3f8,%dx
    /* 7cff */ 0xec,                                      // inb (%dx),%al
    /* 7d00 */ 0xc3,                                      // retw
    /* 7d01 */ 0,                                         // DRIVE
    /* 7d02 */ 0,                                         // FAILED
    /* 7d03 */ 0, 0, 0, 0, 0,                             // PACKET
    /* 7d08 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    // GREETING is at 7d18.
];

/// What it prints when it runs: the firmware's driver has read it, and polls.
const GREETING: &str = "MISFIRE: guest firmware 1\n\
    MISFIRE: dev 0 started mode=polled granted=0 used=0 queues=1\n\
    MISFIRE: ready\n";

/// The sector as it lies on the disk.
pub(super) fn sector() -> [u8; SECTOR] {
    const SIGNATURE: [u8; 2] = [0x55, 0xaa];
    let mut sector = [0; SECTOR];
    let bytes = CODE.iter().chain(GREETING.as_bytes());
    for (place, byte) in sector.iter_mut().zip(bytes) {
        *place = *byte;
    }
    sector[SECTOR - 2..].copy_from_slice(&SIGNATURE);
    sector
}

/// Where data is that is written: the second 64 KiB of memory, all of which are free.
const WRITTEN_SEGMENT: u16 = 0x1000;
/// Where data goes that is read: the third.
const READ_SEGMENT: u16 = 0x2000;
/// The most bytes of one request: what a buffer holds.
pub(super) const MOST_BYTES: u64 = 0x1_0000;

const DISK: u8 = 1;
const TELL: u8 = 2;
const LEAVE: u8 = 3;
const PATTERN: u8 = 4;
const COMPARE: u8 = 5;

/// What the disk service is asked for (the functions with addresses of 64 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Read = 0x42,
    Write = 0x43,
}

/// `count` requests of `sectors` each, from sector `first` on. After one that fails the rest are left out.
pub(super) fn disk(service: Service, count: u16, sectors: u16, first: u64) -> Vec<u8> {
    /// Bytes of the address packet.
    const PACKET_BYTES: u8 = 16;
    let mut bytes = vec![DISK, service as u8];
    bytes.extend(count.to_le_bytes());
    bytes.extend(sectors.to_le_bytes());
    bytes.extend([PACKET_BYTES, 0]);
    bytes.extend(sectors.to_le_bytes());
    bytes.extend(0_u16.to_le_bytes());
    let segment = match service {
        Service::Read => READ_SEGMENT,
        Service::Write => WRITTEN_SEGMENT,
    };
    bytes.extend(segment.to_le_bytes());
    bytes.extend(first.to_le_bytes());
    bytes
}

/// Has it print one of two lines: whether a request failed since the last time.
pub(super) fn tell(well: &str, failed: &str) -> Vec<u8> {
    let line = |text: &str| format!("MISFIRE: {text}\n\0").into_bytes();
    [vec![TELL], line(well), line(failed)].concat()
}

/// Has it make what is written next, which is another with each `seed`.
pub(super) fn pattern(seed: u16) -> Vec<u8> {
    [&[PATTERN][..], &seed.to_le_bytes()].concat()
}

/// Has it compare what was read with what was written, that many sectors of it.
pub(super) fn compare(sectors: u16) -> Vec<u8> {
    /// Sixteen bits each.
    const WORDS_OF_SECTOR: u16 = SECTOR as u16 / 2;
    let words = sectors.saturating_mul(WORDS_OF_SECTOR);
    [&[COMPARE][..], &words.to_le_bytes()].concat()
}

/// Has it end the machine.
pub(super) fn leave() -> Vec<u8> {
    vec![LEAVE]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the sector is loaded.
    const BASE: usize = 0x7c00;

    #[test]
    fn the_sector_ends_with_its_signature_and_holds_all_of_it() {
        let sector = sector();
        assert_eq!(sector[510..], [0x55, 0xaa]);
        assert!(CODE.len() + GREETING.len() < 510);
        let greeting = &sector[0x7d18 - BASE..];
        assert!(greeting.starts_with(b"MISFIRE: guest firmware 1\n"));
        assert_eq!(greeting[GREETING.len()], 0);
    }

    #[test]
    fn the_code_names_the_places_behind_it() {
        let word = |at: usize| u16::from_le_bytes([CODE[at - BASE], CODE[at + 1 - BASE]]);
        assert_eq!(word(0x7c13), 0x7d18);
        assert_eq!(word(0x7c3c), 0x7d03);
        assert_eq!(word(0x7c4f), 0x7d03 + 5);
        assert_eq!(CODE.len(), 0x118);
    }

    #[test]
    fn a_packet_has_as_many_bytes_as_the_code_takes() {
        let bytes = disk(Service::Read, 3, 8, 0x1_0000_0001);
        assert_eq!(bytes.len(), 1 + usize::from(CODE[0x3f]));
        assert_eq!(bytes[..2], [DISK, 0x42]);
        assert_eq!(bytes[14..], 0x1_0000_0001_u64.to_le_bytes());
        assert_eq!(tell("a", "b"), b"\x02MISFIRE: a\n\0MISFIRE: b\n\0");
    }
}

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
    /* 7c00 */ 0xfa,                               // cli
    /* 7c01 */ 0x31, 0xc0,                         // xor %ax, %ax
    /* 7c03 */ 0x8e, 0xd8,                         // mov %ax, %ds
    /* 7c05 */ 0x8e, 0xc0,                         // mov %ax, %es
    /* 7c07 */ 0x8e, 0xd0,                         // mov %ax, %ss
    /* 7c09 */ 0xbc, 0x00, 0x7c,                   // mov $0x7c00, %sp
    /* 7c0c */ 0xfb,                               // sti
    /* 7c0d */ 0xfc,                               // cld
    /* 7c0e */ 0x88, 0x16, 0xac, 0x7c,             // mov %dl, DRIVE
    /* 7c12 */ 0xbe, 0xc3, 0x7c,                   // mov $GREETING, %si
    // hello:
    /* 7c15 */ 0xac,                               // lodsb
    /* 7c16 */ 0x84, 0xc0,                         // test %al, %al
    /* 7c18 */ 0x74, 0x06,                         // jz next
    /* 7c1a */ 0xba, 0x02, 0x04,                   // mov $0x402, %dx
    /* 7c1d */ 0xee,                               // out %al, (%dx)
    /* 7c1e */ 0xeb, 0xf5,                         // jmp hello
    // next:
    /* 7c20 */ 0xe8, 0x7a, 0x00,                   // call get
    /* 7c23 */ 0xfe, 0xc8,                         // dec %al
    /* 7c25 */ 0x74, 0x0a,                         // jz disk                  DISK
    /* 7c27 */ 0xfe, 0xc8,                         // dec %al
    /* 7c29 */ 0x74, 0x49,                         // jz tell                  TELL
    /* 7c2b */ 0xfe, 0xc8,                         // dec %al
    /* 7c2d */ 0x74, 0x68,                         // jz leave                 LEAVE
    /* 7c2f */ 0xeb, 0xef,                         // jmp next
    // disk: the packet has a function, a count, the step from a request to the next, and an address packet
    /* 7c31 */ 0xbf, 0xae, 0x7c,                   // mov $PACKET, %di
    /* 7c34 */ 0xb9, 0x15, 0x00,                   // mov $21, %cx
    // fill:
    /* 7c37 */ 0xe8, 0x63, 0x00,                   // call get
    /* 7c3a */ 0xaa,                               // stosb
    /* 7c3b */ 0xe2, 0xfa,                         // loop fill
    // again:
    /* 7c3d */ 0x80, 0x3e, 0xad, 0x7c, 0x00,       // cmpb $0, FAILED
    /* 7c42 */ 0x75, 0xdc,                         // jne next
    /* 7c44 */ 0xbe, 0xb3, 0x7c,                   // mov $PACKET + 5, %si
    /* 7c47 */ 0x8a, 0x26, 0xae, 0x7c,             // mov PACKET, %ah
    /* 7c4b */ 0x30, 0xc0,                         // xor %al, %al
    /* 7c4d */ 0x8a, 0x16, 0xac, 0x7c,             // mov DRIVE, %dl
    /* 7c51 */ 0xcd, 0x13,                         // int $0x13
    /* 7c53 */ 0x72, 0x19,                         // jc bad
    /* 7c55 */ 0xa1, 0xb1, 0x7c,                   // mov PACKET + 3, %ax
    /* 7c58 */ 0x01, 0x06, 0xbb, 0x7c,             // add %ax, PACKET + 13     the address, 64 bits
    /* 7c5c */ 0x83, 0x16, 0xbd, 0x7c, 0x00,       // adcw $0, PACKET + 15
    /* 7c61 */ 0x83, 0x16, 0xbf, 0x7c, 0x00,       // adcw $0, PACKET + 17
    /* 7c66 */ 0xff, 0x0e, 0xaf, 0x7c,             // decw PACKET + 1
    /* 7c6a */ 0x75, 0xd1,                         // jnz again
    /* 7c6c */ 0xeb, 0xb2,                         // jmp next
    // bad:
    /* 7c6e */ 0xfe, 0x06, 0xad, 0x7c,             // incb FAILED
    /* 7c72 */ 0xeb, 0xac,                         // jmp next
    // tell: two texts, each with a zero at its end; the second is printed if something failed
    /* 7c74 */ 0x30, 0xdb,                         // xor %bl, %bl
    // letter:
    /* 7c76 */ 0xe8, 0x24, 0x00,                   // call get
    /* 7c79 */ 0x84, 0xc0,                         // test %al, %al
    /* 7c7b */ 0x74, 0x0c,                         // jz end
    /* 7c7d */ 0x3a, 0x1e, 0xad, 0x7c,             // cmp FAILED, %bl
    /* 7c81 */ 0x75, 0xf3,                         // jne letter
    /* 7c83 */ 0xba, 0x02, 0x04,                   // mov $0x402, %dx
    /* 7c86 */ 0xee,                               // out %al, (%dx)
    /* 7c87 */ 0xeb, 0xed,                         // jmp letter
    // end:
    /* 7c89 */ 0xfe, 0xc3,                         // inc %bl
    /* 7c8b */ 0x80, 0xfb, 0x02,                   // cmp $2, %bl
    /* 7c8e */ 0x75, 0xe6,                         // jne letter
    /* 7c90 */ 0xc6, 0x06, 0xad, 0x7c, 0x00,       // movb $0, FAILED
    /* 7c95 */ 0xeb, 0x89,                         // jmp next
    // leave:
    /* 7c97 */ 0xba, 0xf4, 0x00,                   // mov $0xf4, %dx
    /* 7c9a */ 0xee,                               // out %al, (%dx)
    /* 7c9b */ 0xeb, 0xfa,                         // jmp leave
    // get: the next byte of the first serial port in %al
    /* 7c9d */ 0xba, 0xfd, 0x03,                   // mov $0x3fd, %dx
    // wait:
    /* 7ca0 */ 0xf3, 0x90,                         // pause
    /* 7ca2 */ 0xec,                               // in (%dx), %al
    /* 7ca3 */ 0xa8, 0x01,                         // test $1, %al
    /* 7ca5 */ 0x74, 0xf9,                         // jz wait
    /* 7ca7 */ 0xba, 0xf8, 0x03,                   // mov $0x3f8, %dx
    /* 7caa */ 0xec,                               // in (%dx), %al
    /* 7cab */ 0xc3,                               // ret
    /* 7cac */ 0,                                  // DRIVE
    /* 7cad */ 0,                                  // FAILED
    /* 7cae */ 0, 0, 0, 0, 0,                      // PACKET
    /* 7cb3 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    // GREETING is at 7cc3.
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

/// Where a request's data goes: the second 64 KiB of memory, all of which are free.
const BUFFER_SEGMENT: u16 = 0x1000;
/// The most bytes of one request: what the buffer holds.
pub(super) const MOST_BYTES: u64 = 0x1_0000;

const DISK: u8 = 1;
const TELL: u8 = 2;
const LEAVE: u8 = 3;

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
    bytes.extend(BUFFER_SEGMENT.to_le_bytes());
    bytes.extend(first.to_le_bytes());
    bytes
}

/// Has it print one of two lines: whether a request failed since the last time.
pub(super) fn tell(well: &str, failed: &str) -> Vec<u8> {
    let line = |text: &str| format!("MISFIRE: {text}\n\0").into_bytes();
    [vec![TELL], line(well), line(failed)].concat()
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
        let greeting = &sector[0x7cc3 - BASE..];
        assert!(greeting.starts_with(b"MISFIRE: guest firmware 1\n"));
        assert_eq!(greeting[GREETING.len()], 0);
    }

    #[test]
    fn the_code_names_the_places_behind_it() {
        let word = |at: usize| u16::from_le_bytes([CODE[at - BASE], CODE[at + 1 - BASE]]);
        assert_eq!(word(0x7c13), 0x7cc3);
        assert_eq!(word(0x7c32), 0x7cae);
        assert_eq!(word(0x7c45), 0x7cae + 5);
        assert_eq!(CODE.len(), 0xc3);
    }

    #[test]
    fn a_packet_has_as_many_bytes_as_the_code_takes() {
        let bytes = disk(Service::Read, 3, 8, 0x1_0000_0001);
        assert_eq!(bytes.len(), 1 + usize::from(CODE[0x35]));
        assert_eq!(bytes[..2], [DISK, 0x42]);
        assert_eq!(bytes[14..], 0x1_0000_0001_u64.to_le_bytes());
        assert_eq!(tell("a", "b"), b"\x02MISFIRE: a\n\0MISFIRE: b\n\0");
    }
}

//! Loads of a disk, through `EFI_BLOCK_IO_PROTOCOL` (UEFI 2.10, 13.9).

use core::ffi::c_void;

use crate::efi::{Boot, Guid, Status, called};

const BLOCK_IO: Guid = (
    0x964e_5b21,
    0x6459,
    0x11d2,
    [0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b],
);
/// What a load is counted in, whatever the size of the disk's blocks.
const SECTOR: u64 = 512;
/// The most bytes of one request.
pub const MOST: usize = 1 << 20;

#[repr(C)]
struct BlockIo {
    revision: u64,
    media: *const Media,
    reset: usize,
    read: Transfer,
    write: Transfer,
    flush: extern "efiapi" fn(*const Self) -> Status,
}

type Transfer = extern "efiapi" fn(*const BlockIo, u32, u64, usize, *mut c_void) -> Status;

#[repr(C)]
struct Media {
    id: u32,
    is_removable: bool,
    is_present: bool,
    is_partition: bool,
    is_read_only: bool,
    caches_writes: bool,
    block: u32,
    alignment: u32,
    last: u64,
}

/// A whole disk.
pub struct Disk {
    io: *const BlockIo,
}

/// What is asked of it.
pub struct Load {
    /// Requests.
    pub count: u64,
    /// The sector of the first.
    pub first: u64,
    /// Bytes of each.
    pub size: u64,
}

impl Disk {
    /// The disk that is no partition of another.
    pub fn find(boot: &Boot) -> Option<Self> {
        let io = boot.first(&BLOCK_IO, |_, io: *mut BlockIo| {
            let disk = Self { io };
            let media = disk.media();
            (media.is_present && !media.is_partition).then_some(io.cast_const())
        });
        io.map(|io| Self { io })
    }

    fn media(&self) -> &Media {
        // SAFETY: the protocol is the firmware's, and names its medium.
        unsafe { &*(*self.io).media }
    }

    fn io(&self) -> &BlockIo {
        // SAFETY: the protocol is the firmware's.
        unsafe { &*self.io }
    }

    fn transfer(&self, transfer: Transfer, at: u64, bytes: &mut [u8]) -> bool {
        let media = self.media();
        let lba = at / u64::from(media.block.max(1));
        let to = bytes.as_mut_ptr().cast();
        called(transfer(self.io, media.id, lba, bytes.len(), to))
    }

    /// Whether all of it went well. Behind the end of the disk it goes on at its first request. Requests have the
    /// bytes of `buffers` to be written from and read into.
    pub fn load(&self, op: &[u8], load: &Load, buffers: &mut [u8]) -> bool {
        let io = self.io();
        if op == b"flush" {
            return (0..load.count).all(|_| called((io.flush)(self.io)));
        }
        let block = u64::from(self.media().block.max(1));
        let size = load.size.next_multiple_of(block.max(SECTOR)).min(MOST as u64);
        let first = load.first * SECTOR;
        let end = (self.media().last + 1).saturating_mul(block);
        let fit = end.saturating_sub(first) / size;
        if fit == 0 || first % block != 0 {
            return false;
        }
        let Some((written, found)) = buffers.split_at_mut_checked(MOST) else {
            return false;
        };
        let (written, found) = (&mut written[..size as usize], &mut found[..size as usize]);
        let place = |n: u64| first + n % fit * size;
        let write = |n: u64, bytes: &mut [u8]| {
            fill(bytes, n);
            self.transfer(io.write, place(n), bytes)
        };
        let mut each = 0..load.count;
        match op {
            b"read" => each.all(|n| self.transfer(io.read, place(n), found)),
            b"write" => each.all(|n| write(n, written)),
            b"mixed" => {
                each.all(|n| write(n, written))
                    && (0..load.count).all(|n| self.transfer(io.read, place(n), found))
            }
            b"verify" => each.all(|n| {
                found.fill(0);
                write(n, written) && self.transfer(io.read, place(n), found) && written == found
            }),
            _ => false,
        }
    }
}

/// Bytes that differ from request to request.
fn fill(bytes: &mut [u8], n: u64) {
    let mut word = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for place in bytes.chunks_exact_mut(8) {
        place.copy_from_slice(&word.to_le_bytes());
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
    }
}

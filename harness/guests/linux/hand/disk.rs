//! Requests to disks, past the kernel's cache.

use super::bus::first;
use super::sys::{self, Errno, File};
use super::text;
use super::text::{Text, last_part, number};

/// The largest request in bytes; a larger one is made smaller.
const LARGEST: usize = 1 << 20;
const SECTOR: u64 = 512;
/// The most requests at a time: one for each bit of a word.
const DEEPEST: u64 = 64;
/// The most bytes of them together.
const MOST: u64 = 16 << 20;
/// How long a disk that can be seen may take until it can be opened, in milliseconds.
const LIMIT: u64 = 2_000;
/// Discards the bytes from an offset on, so many of them.
const BLKDISCARD: usize = 0x1277;

/// A disk.
pub struct Disk {
    /// Where it can be opened.
    pub path: Text,
    /// Its size.
    pub sectors: u64,
    /// What the kernel shows of it.
    shown: Text,
}

/// What is asked of a disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Blocks are read.
    Read,
    /// Blocks are written.
    Write,
    /// Blocks are written, then read and compared.
    Verify,
    /// What was written is made lasting.
    Flush,
    /// Blocks are given up.
    Discard,
    /// Writes and reads in turn.
    Mixed,
}

impl Kind {
    /// The kind of that name.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"write" => Self::Write,
            b"verify" => Self::Verify,
            b"flush" => Self::Flush,
            b"discard" => Self::Discard,
            b"mixed" => Self::Mixed,
            _ => Self::Read,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Verify => "verify",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::Mixed => "mixed",
        }
    }
}

/// How much is asked.
pub struct Load {
    /// Requests.
    pub blocks: u64,
    /// Bytes of each.
    pub size: usize,
    /// The first sector. Behind the last one of the disk it goes on there.
    pub first: u64,
    /// How many are on their way at the same time.
    pub depth: u64,
    /// The one queue that is used; without it each in turn.
    pub queue: Option<u64>,
}

/// The first disk of a virtio device. A SCSI disk may still be on its way: it is looked for so many times.
pub fn of(virtio: &Text, times: usize) -> Option<Disk> {
    for time in 0..times {
        if time > 0 {
            // The kernel's events of new disks come by a socket of their own, and the last of them before the node in /dev
            // is there; to look again costs less than to translate what takes them.
            sys::sleep(2_000);
        }
        let block = first(virtio, "block").and_then(|folder| first(&folder, "vd"));
        let Some(block) = block.or_else(|| scsi(virtio)) else {
            continue;
        };
        let path = text!["/dev/", last_part(block.bytes())];
        let sectors = number(sys::line(text![block.bytes(), "/size"].path()).bytes());
        if sectors > 0 && sys::exists(path.path()) {
            return Some(Disk {
                path,
                sectors,
                shown: block,
            });
        }
    }
    None
}

fn scsi(virtio: &Text) -> Option<Text> {
    let target = first(&first(virtio, "host")?, "target")?;
    // Such as 0:0:0:0.
    let unit = sys::look(target.path(), |name| {
        let is = name[0].is_ascii_digit();
        is.then(|| text![target.bytes(), "/", name])
    })?;
    first(&text![unit.bytes(), "/block"], "sd")
}

/// Does what is asked; whether all of it was done, with the right data.
pub fn load(virtio: &Text, kind: Kind, load: &Load) -> bool {
    let done = open(virtio).is_some_and(|(disk, file)| go(&disk, &file, kind, load).is_ok());
    sys::use_processor(None);
    done
}

/// The disk of a device, open. For a moment after it can be seen nothing is there that could be opened.
fn open(virtio: &Text) -> Option<(Disk, File)> {
    let deadline = sys::now() + LIMIT;
    loop {
        let disk = of(virtio, 1_000)?;
        match File::try_open(disk.path.path(), sys::READ_WRITE | sys::DIRECT) {
            Ok(file) => return Some((disk, file)),
            Err(sys::NO_SUCH_DEVICE) if sys::now() < deadline => {
                // Nothing tells when a node can be opened.
                sys::sleep(1_000);
            }
            Err(_) => return None,
        }
    }
}

fn go(disk: &Disk, file: &File, kind: Kind, load: &Load) -> Result<(), Errno> {
    let failed = Errno(0);
    let size = load.size.clamp(SECTOR as usize, LARGEST);
    let fit = disk.sectors.saturating_sub(load.first) * SECTOR / size as u64;
    if fit == 0 {
        return Err(failed);
    }
    let moves = !matches!(kind, Kind::Flush | Kind::Discard);
    if load.depth > 1 && moves {
        return deep(disk, file, kind, load, size, fit).ok_or(failed);
    }
    // It begins with a page.
    let buffer = &mut sys::shared::<[u8; LARGEST]>()[..size];
    let queues = queues(disk);
    let place = |n: u64| load.first * SECTOR + n % fit * size as u64;
    for n in 0..load.blocks {
        let at = place(n);
        if queues > 1 || load.queue.is_some() {
            sys::use_processor(processor(disk, load.queue.unwrap_or(n % queues)));
        }
        match kind {
            Kind::Read => read(file, buffer, at)?,
            Kind::Mixed if n % 2 == 1 => read(file, buffer, at)?,
            Kind::Write | Kind::Verify | Kind::Mixed => {
                fill(buffer, at);
                let written = file.write_at(buffer, at)?;
                if written != size {
                    return Err(failed);
                }
            }
            Kind::Flush if file.sync() => {}
            Kind::Discard => {
                let mut range = [0; 16];
                range[..8].copy_from_slice(&at.to_le_bytes());
                range[8..].copy_from_slice(&(size as u64).to_le_bytes());
                if !file.control(BLKDISCARD, &mut range) {
                    return Err(failed);
                }
            }
            Kind::Flush => return Err(failed),
        }
    }
    if kind == Kind::Verify {
        for n in 0..load.blocks.min(fit) {
            read(file, buffer, place(n))?;
            if !is_filled(buffer, place(n)) {
                return Err(failed);
            }
        }
    }
    Ok(())
}

/// The same with several requests on their way.
fn deep(disk: &Disk, file: &File, kind: Kind, load: &Load, size: usize, fit: u64) -> Option<()> {
    let depth = load.depth.min(DEEPEST).min(MOST / size as u64).max(1) as usize;
    let mut memory = sys::Memory::new(depth * size)?;
    let requests = sys::Requests::new(depth)?;
    let queues = queues(disk);
    let place = |n: u64| load.first * SECTOR + n % fit * size as u64;
    // What was written is read when all of it is there.
    let passes = [
        (kind == Kind::Read, load.blocks),
        (true, load.blocks.min(fit)),
    ];
    let passes = &passes[..if kind == Kind::Verify { 2 } else { 1 }];
    for (reads_all, count) in passes.iter().copied() {
        let reads = |n: u64| reads_all || kind == Kind::Mixed && n % 2 == 1;
        let (mut started, mut ended, mut free) = (0, 0, u64::MAX >> (64 - depth));
        let mut number = [0; DEEPEST as usize];
        while ended < count {
            while started < count && free != 0 {
                let slot = free.trailing_zeros() as usize;
                let bytes = &mut memory.bytes()[slot * size..][..size];
                let (n, at) = (started, place(started));
                if queues > 1 || load.queue.is_some() {
                    sys::use_processor(processor(disk, load.queue.unwrap_or(n % queues)));
                }
                if !reads(n) {
                    fill(bytes, at);
                }
                if !requests.start(file, reads(n), bytes, at, slot as u64) {
                    return None;
                }
                number[slot] = n;
                free &= free - 1;
                started += 1;
            }
            let (slot, moved) = requests.next()?;
            let slot = (slot as usize).min(depth - 1);
            let bytes = &memory.bytes()[slot * size..][..size];
            let is_right = kind != Kind::Verify || is_filled(bytes, place(number[slot]));
            if moved != size || !is_right {
                return None;
            }
            free |= 1 << slot;
            ended += 1;
        }
    }
    requests.end();
    Some(())
}

/// How many queues a disk has.
fn queues(disk: &Disk) -> u64 {
    let mut queues = 0;
    sys::look(text![disk.shown.bytes(), "/mq"].path(), |_| {
        queues += 1;
        None::<()>
    });
    queues.max(1)
}

/// The first processor whose requests a queue takes.
fn processor(disk: &Disk, queue: u64) -> Option<u64> {
    let list = sys::line(text![disk.shown.bytes(), "/mq/", queue, "/cpu_list"].path());
    list.bytes().first().map(|_| number(list.bytes()))
}

fn read(file: &File, buffer: &mut [u8], at: u64) -> Result<(), Errno> {
    match file.read_at(buffer, at)? {
        length if length == buffer.len() => Ok(()),
        _ => Err(Errno(0)),
    }
}

/// No two sectors are the same.
fn word(at: u64) -> u64 {
    (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn fill(buffer: &mut [u8], at: u64) {
    for (place, bytes) in (at..).step_by(8).zip(buffer.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word(place).to_le_bytes());
    }
}

fn is_filled(buffer: &[u8], at: u64) -> bool {
    let mut each = (at..).step_by(8).zip(buffer.chunks_exact(8));
    each.all(|(place, bytes)| bytes == word(place).to_le_bytes())
}

/// Reads so many bytes from the generator of random numbers.
pub fn entropy(bytes: u64, size: usize) -> bool {
    let Some(file) = File::open(b"/dev/hwrng\0", sys::READ) else {
        return false;
    };
    let mut buffer = [0; 4096];
    let mut left = bytes;
    while left > 0 {
        let now = size.clamp(1, buffer.len()).min(left as usize);
        match file.read(&mut buffer[..now]) {
            Ok(length @ 1..) => left -= length as u64,
            _ => return false,
        }
    }
    true
}

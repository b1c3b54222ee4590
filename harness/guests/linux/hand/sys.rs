//! System calls of Linux on x86-64.

use core::arch::{asm, global_asm};

use super::text::Text;

// The stack is aligned as a call leaves it.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call main",
    "ud2"
);

/// Ways to open a file.
pub const READ: usize = 0;
/// To write.
pub const WRITE: usize = 1;
/// To read and write.
pub const READ_WRITE: usize = 2;
/// Past the kernel's cache.
pub const DIRECT: usize = 0o40000;
/// Without waiting.
pub const NON_BLOCKING: usize = 0o4000;
/// A terminal does not become ours.
pub const NO_TTY: usize = 0o400;
const DIRECTORY: usize = 0o200000;
const CLOSE_ON_EXEC: usize = 0o2000000;

mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const OPEN: usize = 2;
    pub const CLOSE: usize = 3;
    pub const POLL: usize = 7;
    pub const MMAP: usize = 9;
    pub const MUNMAP: usize = 11;
    pub const IOCTL: usize = 16;
    pub const PREAD: usize = 17;
    pub const PWRITE: usize = 18;
    pub const ACCESS: usize = 21;
    pub const NANOSLEEP: usize = 35;
    pub const SOCKET: usize = 41;
    pub const BIND: usize = 49;
    pub const FORK: usize = 57;
    pub const FSYNC: usize = 74;
    pub const UNLINK: usize = 87;
    pub const READLINK: usize = 89;
    pub const SCHED_SETAFFINITY: usize = 203;
    pub const IO_SETUP: usize = 206;
    pub const IO_DESTROY: usize = 207;
    pub const IO_GETEVENTS: usize = 208;
    pub const IO_SUBMIT: usize = 209;
    pub const GETDENTS64: usize = 217;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
}

/// An error's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub usize);

/// There is a node for a device, and no device.
pub const NO_SUCH_DEVICE: Errno = Errno(6);

fn call(number: usize, args: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the callers below give addresses and lengths of memory that is theirs.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            out("rcx") _, out("r11") _,
        );
    }
    if (-4095..0).contains(&result) {
        Err(Errno(result.unsigned_abs()))
    } else {
        Ok(result as usize)
    }
}

fn call3(number: usize, a: usize, b: usize, c: usize) -> Result<usize, Errno> {
    call(number, [a, b, c, 0, 0, 0])
}

/// An open file, closed when this is dropped.
pub struct File(usize);

impl Drop for File {
    fn drop(&mut self) {
        let _ = call3(number::CLOSE, self.0, 0, 0);
    }
}

impl File {
    /// Opens what lies at a path, which ends with a zero.
    pub fn open(path: &[u8], how: usize) -> Option<Self> {
        Self::try_open(path, how).ok()
    }

    /// The same, and says why it could not be opened.
    pub fn try_open(path: &[u8], how: usize) -> Result<Self, Errno> {
        call3(number::OPEN, path.as_ptr() as usize, how | CLOSE_ON_EXEC, 0).map(Self)
    }

    /// A socket.
    pub fn socket(family: usize, kind: usize, protocol: usize) -> Option<Self> {
        call3(number::SOCKET, family, kind, protocol).ok().map(Self)
    }

    /// Gives a socket its address.
    pub fn bind(&self, address: &[u8]) -> bool {
        call3(
            number::BIND,
            self.0,
            address.as_ptr() as usize,
            address.len(),
        )
        .is_ok()
    }

    /// Reads what there is.
    pub fn read(&self, to: &mut [u8]) -> Result<usize, Errno> {
        call3(number::READ, self.0, to.as_mut_ptr() as usize, to.len())
    }

    /// Writes.
    pub fn write(&self, from: &[u8]) -> Result<usize, Errno> {
        call3(number::WRITE, self.0, from.as_ptr() as usize, from.len())
    }

    /// Reads at an offset.
    pub fn read_at(&self, to: &mut [u8], at: u64) -> Result<usize, Errno> {
        let (start, length) = (to.as_mut_ptr() as usize, to.len());
        call(number::PREAD, [self.0, start, length, at as usize, 0, 0])
    }

    /// Writes at an offset.
    pub fn write_at(&self, from: &[u8], at: u64) -> Result<usize, Errno> {
        let (start, length) = (from.as_ptr() as usize, from.len());
        call(number::PWRITE, [self.0, start, length, at as usize, 0, 0])
    }

    /// Has what was written reach the disk.
    pub fn sync(&self) -> bool {
        call3(number::FSYNC, self.0, 0, 0).is_ok()
    }

    /// A request of the driver's own, about `what`.
    pub fn control(&self, request: usize, what: &mut [u8]) -> bool {
        call3(number::IOCTL, self.0, request, what.as_mut_ptr() as usize).is_ok()
    }

    /// Whether there is something to read within so many milliseconds.
    pub fn ready(&self, limit: usize) -> bool {
        // struct pollfd { int fd; short events, revents; }, POLLIN
        let mut poll = [self.0 as u32, 1];
        call3(number::POLL, poll.as_mut_ptr() as usize, 1, limit) == Ok(1) && poll[1] >> 16 & 1 != 0
    }
}

/// Memory that begins with a page, given back when this is dropped.
pub struct Memory(&'static mut [u8]);

impl Memory {
    /// So many bytes.
    pub fn new(length: usize) -> Option<Self> {
        // PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS
        let at = call(number::MMAP, [0, length, 3, 0x22, usize::MAX, 0]).ok()?;
        // SAFETY: the kernel gave this memory to nobody else, and it stays until this is dropped.
        let bytes = unsafe { core::slice::from_raw_parts_mut(at as *mut u8, length) };
        Some(Self(bytes))
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.0
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let (at, length) = (self.0.as_ptr() as usize, self.0.len());
        let _ = call3(number::MUNMAP, at, length, 0);
    }
}

/// Requests that are on their way at the same time.
pub struct Requests(usize);

impl Requests {
    /// Room for so many.
    pub fn new(most: usize) -> Option<Self> {
        let mut context = 0usize;
        call3(number::IO_SETUP, most, &raw mut context as usize, 0).ok()?;
        Some(Self(context))
    }

    /// Has a file read into `bytes`, or write them, at an offset; `name` comes back when it is done.
    pub fn start(&self, file: &File, reads: bool, bytes: &mut [u8], at: u64, name: u64) -> bool {
        // struct iocb: data, key and flags, operation and file, buffer, length, offset, two words of no use here.
        let operation = u64::from(!reads) | (file.0 as u64) << 32;
        let request = [
            name,
            0,
            operation,
            bytes.as_mut_ptr() as u64,
            bytes.len() as u64,
            at,
            0,
            0,
        ];
        let list = [request.as_ptr() as usize];
        call3(number::IO_SUBMIT, self.0, 1, list.as_ptr() as usize) == Ok(1)
    }

    /// Waits for one that is done: its name, and how many bytes it has moved.
    pub fn next(&self) -> Option<(u64, usize)> {
        // struct io_event: data, request, result, another one.
        let mut event = [0u64; 4];
        let args = [self.0, 1, 1, event.as_mut_ptr() as usize, 0, 0];
        let came = call(number::IO_GETEVENTS, args) == Ok(1);
        came.then(|| (event[0], usize::try_from(event[2] as i64).unwrap_or(0)))
    }

    /// All of them are done.
    pub fn end(self) {
        let _ = call3(number::IO_DESTROY, self.0, 0, 0);
    }
}

/// Writes a short text to the file at a path, which ends with a zero.
pub fn put(path: &[u8], text: &[u8]) -> bool {
    File::open(path, WRITE).is_some_and(|file| file.write(text).is_ok())
}

/// The first line of the file at a path, which ends with a zero.
pub fn line(path: &[u8]) -> Text {
    let mut buffer = [0; 128];
    let length = File::open(path, READ).and_then(|file| file.read(&mut buffer).ok());
    let all = &buffer[..length.unwrap_or(0)];
    let first = all.split(|byte| *byte == b'\n').next().unwrap_or_default();
    crate::text![first]
}

/// Where a link leads to.
pub fn link(path: &[u8]) -> Text {
    let mut to = [0u8; 128];
    let length = call3(
        number::READLINK,
        path.as_ptr() as usize,
        to.as_mut_ptr() as usize,
        to.len(),
    );
    crate::text![&to[..length.unwrap_or(0)]]
}

/// Whether there is something at a path, which ends with a zero.
pub fn exists(path: &[u8]) -> bool {
    call3(number::ACCESS, path.as_ptr() as usize, 0, 0).is_ok()
}

/// Shows the names in the folder at a path until one is what is looked for.
pub fn look<T>(path: &[u8], mut see: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
    let folder = File::open(path, READ | DIRECTORY)?;
    let mut buffer = [0; 2048];
    loop {
        let to = buffer.as_mut_ptr() as usize;
        let length = call3(number::GETDENTS64, folder.0, to, buffer.len()).ok()?;
        if length == 0 {
            return None;
        }
        // struct linux_dirent64: the record's length is at 16, the name at 19.
        let mut at = 0;
        while at + 19 < length {
            let record = usize::from(u16::from_le_bytes([buffer[at + 16], buffer[at + 17]]));
            let name = buffer[at + 19..at + record].split(|byte| *byte == 0).next();
            if let Some(found) = name.filter(|name| name[0] != b'.').and_then(&mut see) {
                return Some(found);
            }
            at += record;
        }
    }
}

/// Sleeps for so many microseconds.
pub fn sleep(microseconds: u64) {
    let time = [microseconds / 1_000_000, microseconds % 1_000_000 * 1_000];
    let _ = call3(number::NANOSLEEP, time.as_ptr() as usize, 0, 0);
}

/// Milliseconds since the guest began to count.
pub fn now() -> u64 {
    let mut time = [0u64; 2];
    // CLOCK_MONOTONIC
    let _ = call3(number::CLOCK_GETTIME, 1, time.as_mut_ptr() as usize, 0);
    time[0] * 1_000 + time[1] / 1_000_000
}

/// Goes on with this processor alone; without one, with any.
pub fn use_processor(processor: Option<u64>) {
    let mask: u64 = processor.map_or(u64::MAX, |n| 1 << (n % 64));
    let _ = call3(number::SCHED_SETAFFINITY, 0, 8, &raw const mask as usize);
}

/// Goes on twice; the new process is told 0.
pub fn fork() -> usize {
    call3(number::FORK, 0, 0, 0).unwrap_or(1)
}

/// Memory that stays the same memory in processes that are forked; all of it is zero.
pub fn shared<T: Copy>() -> &'static mut T {
    // PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS
    let args = [0, size_of::<T>(), 3, 0x21, usize::MAX, 0];
    let Ok(at) = call(number::MMAP, args) else {
        exit(1)
    };
    // SAFETY: the kernel gave this memory to nobody else, and zero is a value of what it is used for.
    unsafe { &mut *(at as *mut T) }
}

/// Takes so many bytes of memory, which the kernel fills with zeros, and gives them back.
pub fn touch(length: usize) {
    // PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE
    let taken = call(number::MMAP, [0, length, 3, 0x8022, usize::MAX, 0]);
    if let Ok(at) = taken {
        let _ = call3(number::MUNMAP, at, length, 0);
    }
}

/// How much memory is free, in KiB.
pub fn free_memory() -> u64 {
    let mut buffer = [0; 256];
    let file = File::open(b"/proc/meminfo\0", READ);
    let length = file.and_then(|file| file.read(&mut buffer).ok());
    let lines = buffer[..length.unwrap_or(0)].split(|byte| *byte == b'\n');
    let mut free = lines.filter_map(|line| line.strip_prefix(b"MemFree:"));
    free.next()
        .map_or(0, |size| super::text::number(size.trim_ascii_start()))
}

/// Removes the file at a path, which ends with a zero.
pub fn unlink(path: &[u8]) {
    let _ = call3(number::UNLINK, path.as_ptr() as usize, 0, 0);
}

/// Ends the program.
pub fn exit(status: usize) -> ! {
    let _ = call3(number::EXIT_GROUP, status, 0, 0);
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    put(
        b"/dev/kmsg\0",
        b"<6>MISFIRE: error the program in the guest gave up\n",
    );
    exit(101)
}

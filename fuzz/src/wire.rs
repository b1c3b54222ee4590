//! Bytes on a Unix socket, with descriptors beside them, as a hostile peer sends them.

use std::fs::File;
use std::io::Read;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use arbitrary::Arbitrary;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// Bytes of memory that a peer shares.
pub const MEMORY: u64 = 1 << 16;

/// A descriptor that a peer sends along.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Sent {
    /// An eventfd.
    Event,
    /// Memory of [`MEMORY`] bytes.
    Memory,
    /// A file that has no bytes.
    Empty,
}

/// Memory of [`MEMORY`] bytes in a file of its own.
pub fn memory() -> File {
    let file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a memfd"));
    ftruncate(&file, MEMORY).expect("64 KiB");
    file
}

/// Sends bytes with descriptors; whether the other side still listened.
pub fn send(stream: &UnixStream, bytes: &[u8], sent: &[Sent]) -> bool {
    let mut files = Vec::new();
    let mut events = Vec::new();
    for kind in sent.iter().take(8) {
        match kind {
            Sent::Event => events.push(EventFd::new(EFD_NONBLOCK).expect("an eventfd")),
            Sent::Memory => files.push(memory()),
            Sent::Empty => files.push(File::open("/dev/null").expect("/dev/null")),
        }
    }
    let descriptors: Vec<i32> = files
        .iter()
        .map(AsRawFd::as_raw_fd)
        .chain(events.iter().map(AsRawFd::as_raw_fd))
        .collect();
    if bytes.is_empty() {
        return true;
    }
    let result = stream.send_with_fds(&[bytes], &descriptors);
    result.is_ok_and(|n| n == bytes.len())
}

/// Says no more, and reads until the other side has ended the connection too.
pub fn hear_out(mut stream: UnixStream) {
    // The other side may be gone.
    let _ = stream.shutdown(Shutdown::Write);
    let mut heard = [0; 4096];
    while matches!(stream.read(&mut heard), Ok(n) if n > 0) {}
}

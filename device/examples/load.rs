//! Reads from a vhost-user block backend as fast as it answers, and tells how fast that was.
//!
//! `cargo run --release --example load -- SOCKET [BYTES [DEPTH [REQUESTS]]]`
//!
//! `-` in place of a socket: our own backend, without an observer, in a thread of this process.
//! Otherwise any backend will do: ours (`misfire-device serve` with `attach = "vhost-user"`), or the
//! vhost-user-blk export of qemu-storage-daemon.

use std::error::Error;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use misfire_device::port::vhost_user::Backend;
use misfire_device::shape::{Kind, Shape};
use rustix::event::{PollFd, PollFlags, poll};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

const SIZE: u16 = 128;
const DESC: u64 = 0;
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;
/// Header at 0, status at 16, for each slot.
const REQUESTS: u64 = 0x4000;
const DATA: u64 = 0x10000;
const PROTOCOL_FEATURES: u64 = 1 << 30;
const EVENT_IDX: u64 = 1 << 29;

struct Ring {
    memory: GuestMemoryMmap<()>,
    kick: EventFd,
    call: EventFd,
    available: u16,
    seen: u16,
}

impl Ring {
    fn called(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the ring, which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.call.as_raw_fd()) }
    }

    fn put(&self, at: u64, bytes: &[u8]) -> Result<(), vm_memory::GuestMemoryError> {
        self.memory.write_slice(bytes, GuestAddress(at))
    }

    fn descriptor(
        &self,
        index: u64,
        address: u64,
        length: u32,
        flags: u16,
    ) -> Result<(), Box<dyn Error>> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&(index as u16 + 1).to_le_bytes());
        Ok(self.put(DESC + 16 * index, &bytes)?)
    }

    /// A chain of three descriptors for each slot, written once.
    fn prepare(&self, depth: u16, bytes: u32) -> Result<(), Box<dyn Error>> {
        for slot in 0..u64::from(depth) {
            let request = REQUESTS + 32 * slot;
            self.put(request, &[0; 16])?;
            self.descriptor(3 * slot, request, 16, 1)?;
            self.descriptor(3 * slot + 1, DATA + u64::from(bytes) * slot, bytes, 3)?;
            self.descriptor(3 * slot + 2, request + 16, 1, 2)?;
        }
        Ok(())
    }

    fn submit(&mut self, slot: u16) -> Result<(), Box<dyn Error>> {
        let entry = AVAIL + 4 + 2 * u64::from(self.available % SIZE);
        self.put(entry, &(3 * slot).to_le_bytes())?;
        self.available = self.available.wrapping_add(1);
        let index = GuestAddress(AVAIL + 2);
        self.memory.store(self.available, index, Ordering::SeqCst)?;
        Ok(())
    }

    /// Waits for used chains; calls `done` with each one's slot.
    fn wait(&mut self) -> Result<Vec<u16>, Box<dyn Error>> {
        loop {
            let used: u16 = self.memory.load(GuestAddress(USED + 2), Ordering::SeqCst)?;
            let mut slots = Vec::new();
            while self.seen != used {
                let entry = USED + 4 + 8 * u64::from(self.seen % SIZE);
                let head: u32 = self.memory.read_obj(GuestAddress(entry))?;
                let status: u8 = self
                    .memory
                    .read_obj(GuestAddress(REQUESTS + 32 * u64::from(head / 3) + 16))?;
                assert_eq!(status, 0, "the backend refuses the request");
                slots.push((head / 3) as u16);
                self.seen = self.seen.wrapping_add(1);
            }
            if !slots.is_empty() {
                return Ok(slots);
            }
            // The backend may have made the descriptor, which it shares, non-blocking.
            let mut ready = [PollFd::from_borrowed_fd(self.called(), PollFlags::IN)];
            poll(&mut ready, None)?;
            self.call.read()?;
        }
    }
}

fn connect(socket: &Path, bytes: u64) -> Result<(Frontend, Ring), Box<dyn Error>> {
    let file = tempfile::tempfile()?;
    file.set_len(bytes)?;
    let handle = file.as_raw_fd();
    let offset = FileOffset::new(file.try_clone()?, 0);
    let range = (GuestAddress(0), bytes as usize, Some(offset));
    let memory = GuestMemoryMmap::from_ranges_with_files([range])?;
    let mut frontend = Frontend::connect(socket, 1)?;
    frontend.set_owner()?;
    let features = frontend.get_features()? & !EVENT_IDX;
    frontend.get_protocol_features()?;
    frontend
        .set_protocol_features(vhost::vhost_user::message::VhostUserProtocolFeatures::empty())?;
    frontend.set_features(features | PROTOCOL_FEATURES)?;
    frontend.set_mem_table(&[VhostUserMemoryRegionInfo {
        guest_phys_addr: 0,
        memory_size: bytes,
        userspace_addr: 0,
        mmap_offset: 0,
        mmap_handle: handle,
    }])?;
    let ring = Ring {
        memory,
        kick: EventFd::new(0)?,
        call: EventFd::new(0)?,
        available: 0,
        seen: 0,
    };
    frontend.set_vring_num(0, SIZE)?;
    frontend.set_vring_base(0, 0)?;
    let addresses = VringConfigData {
        queue_max_size: SIZE,
        queue_size: SIZE,
        flags: 0,
        desc_table_addr: DESC,
        used_ring_addr: USED,
        avail_ring_addr: AVAIL,
        log_addr: None,
    };
    frontend.set_vring_addr(0, &addresses)?;
    frontend.set_vring_call(0, &ring.call)?;
    frontend.set_vring_kick(0, &ring.kick)?;
    frontend.set_vring_enable(0, true)?;
    Ok((frontend, ring))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let socket = arguments
        .first()
        .ok_or("expected the socket of a backend")?;
    let number = |at: usize, default: u32| arguments.get(at).map_or(Ok(default), |a| a.parse());
    let (bytes, depth, requests) = (number(1, 4096)?, number(2, 1)?, number(3, 200_000)?);
    let depth = u16::try_from(depth)?.clamp(1, SIZE / 3);
    let memory = DATA + u64::from(bytes) * u64::from(depth);
    let dir = tempfile::tempdir()?;
    let (_backend, socket) = if socket == "-" {
        let mut shape = Shape::new(Kind::Block);
        shape.queue_size = SIZE.into();
        let own = dir.path().join("own");
        (Some(Backend::start(&shape, &own, None)?), own)
    } else {
        (None, socket.into())
    };
    let (frontend, mut ring) = connect(&socket, memory)?;
    ring.prepare(depth, bytes)?;
    let begin = Instant::now();
    for slot in 0..depth {
        ring.submit(slot)?;
    }
    ring.kick.write(1)?;
    let (mut done, mut waits) = (0, 0);
    while done < requests {
        waits += 1;
        for slot in ring.wait()? {
            done += 1;
            ring.submit(slot)?;
        }
        ring.kick.write(1)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let rate = f64::from(done) / seconds;
    println!(
        "{bytes} bytes, depth {depth}: {rate:.0} requests/s, {:.0} MiB/s, {:.1} requests a turn",
        rate * f64::from(bytes) / (1 << 20) as f64,
        f64::from(done) / f64::from(waits),
    );
    frontend.get_vring_base(0)?;
    Ok(())
}

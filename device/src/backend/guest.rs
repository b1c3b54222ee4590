//! A driver for tests: one queue and its buffers in a megabyte of guest memory.

use std::sync::atomic::Ordering;

use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::{Block, BrokenRing, Chain, Done, Request, needs_interrupt, peek, settle, take};

pub const MEMORY: usize = 1 << 20;
pub const DESC: u64 = 0x1000;
pub const AVAIL: u64 = 0x4000;
pub const USED: u64 = 0x6000;
pub const TABLE: u64 = 0x8000;
pub const HEADER: u64 = 0x9000;
pub const STATUS: u64 = 0x9100;
pub const DATA: u64 = 0x10000;
pub const SIZE: u16 = 16;

pub const NEXT: u16 = VRING_DESC_F_NEXT as u16;
pub const WRITE: u16 = VRING_DESC_F_WRITE as u16;
pub const INDIRECT: u16 = VRING_DESC_F_INDIRECT as u16;

/// A queue and its driver.
pub struct Guest {
    pub memory: GuestMemoryMmap<()>,
    pub queue: Queue,
    available: u16,
}

impl Guest {
    pub fn new() -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        let mut queue = Queue::new(SIZE).unwrap();
        queue
            .try_set_desc_table_address(GuestAddress(DESC))
            .unwrap();
        queue
            .try_set_avail_ring_address(GuestAddress(AVAIL))
            .unwrap();
        queue.try_set_used_ring_address(GuestAddress(USED)).unwrap();
        queue.set_ready(true);
        Self {
            memory,
            queue,
            available: 0,
        }
    }

    pub fn put(&self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .unwrap();
    }

    pub fn get(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }

    pub fn status(&self) -> u8 {
        self.get(STATUS, 1)[0]
    }

    /// Writes descriptors one after the other from `table` on.
    pub fn descriptors(&self, table: u64, all: &[(u64, u32, u16, u16)]) {
        for (i, (address, length, flags, next)) in all.iter().enumerate() {
            self.memory
                .write_obj(
                    Descriptor::new(*address, *length, *flags, *next),
                    GuestAddress(table + 16 * i as u64),
                )
                .unwrap();
        }
    }

    /// Writes a request header.
    pub fn header(&self, command: u32, sector: u64) {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&command.to_le_bytes());
        bytes[8..].copy_from_slice(&sector.to_le_bytes());
        self.put(HEADER, &bytes);
    }

    /// Makes the chain at `head` available.
    pub fn offer(&mut self, head: u16) {
        let slot = AVAIL + 4 + 2 * u64::from(self.available % SIZE);
        self.memory.write_obj(head, GuestAddress(slot)).unwrap();
        self.available = self.available.wrapping_add(1);
        self.set_available(self.available);
    }

    pub fn set_available(&self, index: u16) {
        self.memory
            .store(index, GuestAddress(AVAIL + 2), Ordering::Release)
            .unwrap();
    }

    /// One request with its data in one buffer, header and status apart.
    pub fn ask(&mut self, command: u32, sector: u64, data: u32, device_writes: bool) {
        self.header(command, sector);
        self.put(STATUS, &[0xee]);
        let direction = if device_writes { WRITE } else { 0 };
        self.descriptors(
            DESC,
            &[
                (HEADER, 16, NEXT, 1),
                (DATA, data, NEXT | direction, 2),
                (STATUS, 1, WRITE, 0),
            ],
        );
        self.offer(0);
    }

    /// What the backend does with the next chain, if there is one.
    pub fn serve(&mut self, block: &mut Block) -> Result<Option<Done>, BrokenRing> {
        let mut chain = Chain::default();
        if !peek(&mut self.queue, &self.memory, &mut chain)? {
            return Ok(None);
        }
        let request = Request::read(&self.memory, &chain);
        let head = chain.head();
        let done = block
            .carry_out(&self.memory, &chain, &request)
            .map_err(|source| BrokenRing::Chain { head, source })?;
        take(&mut self.queue);
        settle(&mut self.queue, &self.memory, head, done.len)?;
        Ok(Some(done))
    }

    pub fn wants_interrupt(&mut self) -> bool {
        needs_interrupt(&mut self.queue, &self.memory).unwrap()
    }

    /// The used ring: how many elements in all, and the last one.
    pub fn used(&self) -> (u16, u32, u32) {
        let index: u16 = self.memory.read_obj(GuestAddress(USED + 2)).unwrap();
        let slot = USED + 4 + 8 * u64::from(index.wrapping_sub(1) % SIZE);
        let id = self.memory.read_obj(GuestAddress(slot)).unwrap();
        let len = self.memory.read_obj(GuestAddress(slot + 4)).unwrap();
        (index, id, len)
    }
}

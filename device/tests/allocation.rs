//! The data path takes no memory from the allocator, whatever the requests are.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use misfire_device::backend::{
    Block, Chain, Device, Request, Storage, needs_interrupt, peek, settle,
};
use misfire_device::shape::{Kind, Shape};
use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// Counts what each thread takes.
struct Counting;

// SAFETY: everything is left to the system's allocator; counting touches only a thread-local that
// needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no count any more.
        let _ = TAKEN.try_with(|taken| taken.set(taken.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZE: u16 = 16;

fn put(memory: &GuestMemoryMmap<()>, at: u64, bytes: &[u8]) {
    memory.write_slice(bytes, GuestAddress(at)).unwrap();
}

/// One request in a chain of three, made available as number `index`.
fn offer(memory: &GuestMemoryMmap<()>, index: u16, command: u32, length: u32, writes: u16) {
    put(memory, 0x4000, &[0; 16]);
    put(memory, 0x4000, &command.to_le_bytes());
    for (i, (address, length, flags)) in [
        (0x4000u64, 16u32, 1u16),
        (0x10000, length, 1 | writes),
        (0x5000, 1, 2),
    ]
    .into_iter()
    .enumerate()
    {
        let at = 0x1000 + 16 * i as u64;
        put(memory, at, &address.to_le_bytes());
        put(memory, at + 8, &length.to_le_bytes());
        put(memory, at + 12, &flags.to_le_bytes());
        put(memory, at + 14, &(i as u16 + 1).to_le_bytes());
    }
    put(memory, 0x2002, &index.wrapping_add(1).to_le_bytes());
}

#[test]
fn requests_are_served_without_an_allocation() {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x40000)]).unwrap();
    let mut queue = Queue::new(SIZE).unwrap();
    queue
        .try_set_desc_table_address(GuestAddress(0x1000))
        .unwrap();
    queue
        .try_set_avail_ring_address(GuestAddress(0x2000))
        .unwrap();
    queue
        .try_set_used_ring_address(GuestAddress(0x3000))
        .unwrap();
    queue.set_ready(true);
    let disk: Box<dyn Storage> = Box::new(tempfile::tempfile().unwrap());
    let mut block = Block::new(&Shape::new(Kind::Block), 1024, "disk", disk);
    block.accept(u64::MAX);
    let mut chain = Chain::default();
    chain.reserve(SIZE);
    let before = TAKEN.get();
    for index in 0..200u16 {
        let (command, length, writes) = match index % 4 {
            0 => (VIRTIO_BLK_T_OUT, 0x20000, 0),
            1 => (VIRTIO_BLK_T_IN, 0x20000, 2),
            2 => (VIRTIO_BLK_T_FLUSH, 0, 0),
            _ => (VIRTIO_BLK_T_IN, 100, 2), // refused
        };
        offer(&memory, index, command, length, writes);
        assert!(peek(&mut queue, &memory, &mut chain).unwrap());
        let request = Request::read(&memory, &chain);
        let done = block.carry_out(&memory, &chain, &request).unwrap();
        assert_eq!(done.status, u8::from(index % 4 == 3));
        settle(&mut queue, &memory, chain.head(), done.len).unwrap();
        assert!(needs_interrupt(&mut queue, &memory).unwrap());
    }
    assert_eq!(TAKEN.get() - before, 0);
}

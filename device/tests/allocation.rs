//! The data path takes no memory from the allocator, whatever the requests are.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use misfire_device::backend::{
    Block, Chain, Console, Device, Entropy, Look, Net, Request, Scsi, Storage, needs_interrupt,
    peek, settle, take,
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
        take(&mut queue);
        settle(&mut queue, &memory, chain.head(), done.len).unwrap();
        assert!(needs_interrupt(&mut queue, &memory).unwrap());
    }
    assert_eq!(TAKEN.get() - before, 0);
}

/// Address, length, and 2 when the device writes it.
type Buffer = (u64, u32, u16);

/// A chain of these buffers, the first of which the device reads, on a queue of its own.
fn chain_of(memory: &GuestMemoryMmap<()>, chain: &mut Chain, buffers: &[Buffer]) {
    put(memory, 0x2000, &[0; 8]);
    for (i, (address, length, flags)) in buffers.iter().enumerate() {
        let at = 0x1000 + 16 * i as u64;
        let next = u16::from(i + 1 < buffers.len());
        put(memory, at, &address.to_le_bytes());
        put(memory, at + 8, &length.to_le_bytes());
        put(memory, at + 12, &(flags | next).to_le_bytes());
        put(memory, at + 14, &(i as u16 + 1).to_le_bytes());
    }
    put(memory, 0x2002, &1u16.to_le_bytes());
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
    assert!(peek(&mut queue, memory, chain).unwrap());
}

#[test]
fn no_kind_of_device_takes_memory_for_what_it_is_given() {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x40000)]).unwrap();
    // A READ (10) of eight blocks of the only unit.
    put(&memory, 0x8000, &[1, 0, 0x40, 0, 0, 0, 0, 0]);
    put(&memory, 0x8000 + 19, &[0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
    let disk: Box<dyn Storage> = Box::new(tempfile::tempfile().unwrap());
    let mut net = Net::new(&Shape::new(Kind::Net));
    let mut console = Console::new(&Shape::new(Kind::Console));
    let mut random = Entropy::new(&Shape::new(Kind::Rng), 1);
    let mut scsi = Scsi::new(&Shape::new(Kind::Scsi), 1024, "disk", disk);
    let devices: [(&mut dyn Device, u16, &[Buffer]); 6] = [
        (&mut net, 1, &[(0x10000, 1526, 0)]),
        (&mut console, 1, &[(0x10000, 3000, 0)]),
        (&mut random, 0, &[(0x20000, 9000, 2)]),
        (
            &mut scsi,
            2,
            &[(0x8000, 51, 0), (0x20000, 108, 2), (0x21000, 4096, 2)],
        ),
        (
            &mut Net::new(&Shape::new(Kind::Net)),
            2,
            &[(0x10000, 3, 0), (0x20000, 1, 2)],
        ),
        (
            &mut Console::new(&Shape::new(Kind::Console)),
            0,
            &[(0x20000, 3000, 2)],
        ),
    ];
    let mut chain = Chain::default();
    chain.reserve(SIZE);
    for (device, queue, buffers) in devices {
        device.accept(u64::MAX);
        chain_of(&memory, &mut chain, buffers);
        let before = TAKEN.get();
        for _ in 0..300 {
            if device.look(&memory, queue, &chain).unwrap() == Look::Take {
                device.serve(&memory, queue, &chain).unwrap();
            }
        }
        assert_eq!(TAKEN.get() - before, 0, "queue {queue}, {buffers:?}");
    }
}

//! The backend's rings, whatever a driver puts into its memory.
#![no_main]

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, OnceLock};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use misfire_device::port::vhost_user::Backend;
use misfire_device::shape::{Kind, Shape, WITH};
use misfire_fuzz::KINDS;
use misfire_fuzz::wire::{MEMORY, memory};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const DESC: u64 = 0x1000;
const AVAIL: u64 = 0x2000;
const USED: u64 = 0x3000;
const TABLE: u64 = 0x4000;
const DATA: u64 = 0x5000;
/// An empty ring, whose notification tells that the worker is done with the others.
const IDLE: u64 = 0x8000;

#[derive(Debug, Arbitrary)]
struct Descriptor {
    address: u16,
    anywhere: Option<u64>,
    length: u16,
    huge: bool,
    flags: u8,
    next: u8,
}

#[derive(Debug, Arbitrary)]
struct Case {
    kind: u8,
    queue: u8,
    size: u8,
    features: u64,
    table: Vec<Descriptor>,
    indirect: Vec<Descriptor>,
    avail_flags: u16,
    avail_index: u16,
    base: u16,
    heads: Vec<u8>,
    data: Vec<u8>,
}

impl Descriptor {
    fn bytes(&self) -> [u8; 16] {
        let address = self.anywhere.unwrap_or(match self.address >> 14 {
            0 => TABLE + u64::from(self.address & 0xf0),
            _ => DATA + u64::from(self.address & 0x1fff),
        });
        let length = u32::from(self.length % 1200) | u32::from(self.huge) << 31;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..14].copy_from_slice(&u16::from(self.flags).to_le_bytes());
        bytes[14..].copy_from_slice(&u16::from(self.next).to_le_bytes());
        bytes
    }
}

struct Served {
    _dir: tempfile::TempDir,
    backend: Backend,
    queues: u16,
}

fn backend(kind: Kind) -> &'static Served {
    static ALL: OnceLock<Mutex<HashMap<Kind, &'static Served>>> = OnceLock::new();
    let mut all = ALL
        .get_or_init(Mutex::default)
        .lock()
        .expect("no panic yet");
    all.entry(kind).or_insert_with(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let shape = Shape {
            queue_size: 256.into(),
            with: WITH.iter().map(|name| (*name).to_owned()).collect(),
            ..Shape::new(kind)
        };
        let backend = Backend::start(&shape, &dir.path().join("backend"), None);
        Box::leak(Box::new(Served {
            backend: backend.expect("a backend"),
            queues: shape.queues,
            _dir: dir,
        }))
    })
}

/// Sets one case up and lets the backend work it off.
fn work(case: &Case, served: &Served) -> vhost::Result<()> {
    let memory = memory();
    let put = |place: u64, bytes: &[u8]| {
        memory
            .write_all_at(&bytes[..bytes.len().min(0x1000)], place)
            .expect("it is in the file");
    };
    let all =
        |table: &[Descriptor]| -> Vec<u8> { table.iter().flat_map(Descriptor::bytes).collect() };
    put(DESC, &all(&case.table));
    put(TABLE, &all(&case.indirect));
    put(DATA, &case.data);
    let index = if case.avail_index.is_multiple_of(4) {
        case.avail_index
    } else {
        case.base.wrapping_add(case.heads.len() as u16)
    };
    let mut avail = case.avail_flags.to_le_bytes().to_vec();
    avail.extend(index.to_le_bytes());
    case.heads
        .iter()
        .for_each(|head| avail.extend(u16::from(*head).to_le_bytes()));
    put(AVAIL, &avail);

    let mut frontend =
        Frontend::connect(served.backend.socket(), u64::from(served.queues)).expect("it listens");
    frontend.set_owner()?;
    let offered = frontend.get_features()?;
    let transport = 1 << 30;
    frontend.set_features(offered & case.features | offered & transport)?;
    if offered & transport != 0 {
        let protocol = frontend.get_protocol_features()?;
        frontend.set_protocol_features(protocol)?;
    }
    frontend.set_mem_table(&[VhostUserMemoryRegionInfo {
        guest_phys_addr: 0,
        memory_size: MEMORY,
        userspace_addr: 0,
        mmap_offset: 0,
        mmap_handle: memory.as_raw_fd(),
    }])?;
    let queue = usize::from(u16::from(case.queue) % served.queues);
    let idle = (queue + 1) % usize::from(served.queues);
    let size = 1 << (case.size % 9);
    let mut kicks = Vec::new();
    // A device with one queue has none that is idle.
    let rings = [(queue, 0, case.base), (idle, IDLE, 0)];
    let rings = &rings[..rings.len().min(usize::from(served.queues))];
    for &(index, from, base) in rings {
        let kick = EventFd::new(EFD_NONBLOCK).expect("an eventfd");
        let call = EventFd::new(EFD_NONBLOCK).expect("an eventfd");
        frontend.set_vring_num(index, size)?;
        frontend.set_vring_base(index, base)?;
        frontend.set_vring_addr(
            index,
            &VringConfigData {
                queue_max_size: 256,
                queue_size: size,
                flags: 0,
                desc_table_addr: from + DESC,
                used_ring_addr: from + USED,
                avail_ring_addr: from + AVAIL,
                log_addr: None,
            },
        )?;
        frontend.set_vring_call(index, &call)?;
        frontend.set_vring_kick(index, &kick)?;
        frontend.set_vring_enable(index, true)?;
        kicks.push(kick);
    }
    for kick in &kicks {
        kick.write(1).expect("a counter");
        // The worker takes the notification when it is done with what came before.
        while is_readable(kick) {
            std::thread::yield_now();
        }
    }
    for (index, ..) in rings {
        frontend.get_vring_base(*index)?;
    }
    Ok(())
}

fn is_readable(kick: &EventFd) -> bool {
    let mut poll = [rustix::event::PollFd::from_borrowed_fd(
        // SAFETY: the descriptor is open as long as `kick`.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(kick.as_raw_fd()) },
        rustix::event::PollFlags::IN,
    )];
    let none = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut poll, Some(&none)).is_ok_and(|ready| ready > 0)
}

fuzz_target!(|case: Case| {
    let kinds: Vec<Kind> = KINDS
        .iter()
        .copied()
        .filter(|kind| *kind != Kind::PortCard)
        .collect();
    let served = backend(kinds[usize::from(case.kind) % kinds.len()]);
    // A frontend that is refused has been told so.
    let _ = work(&case, served);
});

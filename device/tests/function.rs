//! The function over its socket, with a VMM of our own that does what a guest may do.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use misfire_device::fault::{Fault, FaultFile};
use misfire_device::function::BarLayout;
use misfire_device::port::{Journal, Served, serve};
use misfire_device::shape::{Kind, Shape};
use misfire_device::spec::{CommonCfg, Status};
use misfire_device::trace::{AlteredPart, DirtyPart, Effect, Event, Host, Input, What};
use vfio_user::Client;

const CONFIG_REGION: u32 = 7;
const COMMAND: u64 = 4;
const MEMORY_BYTES: u64 = 0x10000;
const DESC: u64 = 0x1000;
const DRIVER: u64 = 0x2000;
const DEVICE: u64 = 0x3000;
const LIMIT: Duration = Duration::from_secs(10);

/// A machine with one device in it, and the guest's hands on it.
struct Machine {
    client: Client,
    memory: File,
    events: mpsc::Receiver<Event>,
    seen: Arc<Mutex<Vec<Event>>>,
    served: Option<Served>,
    _dir: vmm_sys_util::tempdir::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self::with(&[])
    }

    /// A device that offers these features on request.
    fn with(features: &[&str]) -> Self {
        Self::faulty(features, &[])
    }

    /// The same with faults, as in `[[fault]]`.
    fn faulty(features: &[&str], faults: &[&str]) -> Self {
        let dir = vmm_sys_util::tempdir::TempDir::new().unwrap();
        let (sender, events) = mpsc::channel();
        let seen = Arc::<Mutex<Vec<Event>>>::default();
        let kept = Arc::clone(&seen);
        let journal = Journal::new(Box::new(move |event| {
            kept.lock().unwrap().push(event.clone());
            let _ = sender.send(event);
        }));
        let mut shape = Shape::new(Kind::Block);
        shape.with = features.iter().map(|name| (*name).to_owned()).collect();
        let faults = faults.iter().map(|text| {
            let file: FaultFile = toml::from_str(text).unwrap();
            Fault::check(&file, &shape).unwrap()
        });
        let served = serve(0, &shape, faults.collect(), 0, dir.as_path(), journal).unwrap();
        let memory = vmm_sys_util::tempfile::TempFile::new().unwrap().into_file();
        memory.set_len(MEMORY_BYTES).unwrap();
        let mut client = Client::new(&dir.as_path().join("dev0")).unwrap();
        client
            .dma_map(0, 0, MEMORY_BYTES, memory.as_raw_fd())
            .unwrap();
        client
            .region_write(CONFIG_REGION, COMMAND, &6u16.to_le_bytes())
            .unwrap();
        Self {
            client,
            memory,
            events,
            seen,
            served: Some(served),
            _dir: dir,
        }
    }

    fn wr(&mut self, r: CommonCfg, val: u64) {
        let bytes = &val.to_le_bytes()[..usize::from(r.width())];
        self.client
            .region_write(0, BarLayout::COMMON + r.offset(), bytes)
            .unwrap();
    }

    fn rd(&mut self, r: CommonCfg) -> u64 {
        let mut bytes = [0; 8];
        let width = usize::from(r.width());
        self.client
            .region_read(0, BarLayout::COMMON + r.offset(), &mut bytes[..width])
            .unwrap();
        u64::from_le_bytes(bytes)
    }

    fn status(&mut self) -> Status {
        Status(self.rd(CommonCfg::DeviceStatus) as u8)
    }

    /// Resets the device and brings it to DRIVER_OK with a queue of 16 at these places.
    fn bring_up(&mut self, places: [u64; 3]) -> Status {
        self.bring_up_with(places, 0)
    }

    /// The same, with more features of bits 32 to 63 than VERSION_1.
    fn bring_up_with(&mut self, places: [u64; 3], features: u64) -> Status {
        self.wr(CommonCfg::DeviceStatus, 0);
        assert_eq!(
            self.status(),
            Status(0),
            "a reset is complete when 0 is read"
        );
        // A new driver's rings are empty.
        self.memory.write_all_at(&[0; 0x3000], DESC).unwrap();
        self.wr(CommonCfg::DeviceStatus, 3);
        self.wr(CommonCfg::DriverFeatureSelect, 1);
        self.wr(CommonCfg::DriverFeature, 1 | features);
        self.wr(CommonCfg::DeviceStatus, 0xb);
        self.set_up(places, 16);
        self.wr(CommonCfg::DeviceStatus, 0xf);
        self.status()
    }

    fn set_up(&mut self, [desc, driver, device]: [u64; 3], size: u64) {
        self.wr(CommonCfg::QueueSelect, 0);
        self.wr(CommonCfg::QueueSize, size);
        for (lo, hi, at) in [
            (CommonCfg::QueueDescLo, CommonCfg::QueueDescHi, desc),
            (CommonCfg::QueueDriverLo, CommonCfg::QueueDriverHi, driver),
            (CommonCfg::QueueDeviceLo, CommonCfg::QueueDeviceHi, device),
        ] {
            self.wr(lo, at & 0xffff_ffff);
            self.wr(hi, at >> 32);
        }
        self.wr(CommonCfg::QueueEnable, 1);
    }

    /// Reads sector 0 through the queue, and waits for the interrupt that the device asks for.
    fn read_a_sector(&mut self) {
        let descriptors = [
            (0x4000u64, 16u32, 1u16, 1u16),
            (0x5000, 512, 3, 2),
            (0x6000, 1, 2, 0),
        ];
        for (n, (address, len, flags, next)) in descriptors.into_iter().enumerate() {
            let mut bytes = address.to_le_bytes().to_vec();
            bytes.extend(len.to_le_bytes());
            bytes.extend(flags.to_le_bytes());
            bytes.extend(next.to_le_bytes());
            self.memory
                .write_all_at(&bytes, DESC + 16 * n as u64)
                .unwrap();
        }
        self.memory.write_all_at(&[0; 16], 0x4000).unwrap();
        self.memory.write_all_at(&[0xff], 0x6000).unwrap();
        self.memory
            .write_all_at(&1u16.to_le_bytes(), DRIVER + 2)
            .unwrap();
        self.await_a_sector();
    }

    /// The same through a packed ring, where the next descriptor is `at`.
    fn read_a_sector_packed(&mut self, at: u64, size: u64) {
        self.offer_packed(at, size, 7);
        self.await_a_sector();
    }

    /// Makes a list with this id available in a packed ring, without a notification.
    fn offer_packed(&mut self, at: u64, size: u64, id: u16) {
        let rows = [(0x4000u64, 16u32, 1u16), (0x5000, 512, 3), (0x6000, 1, 2)];
        self.memory.write_all_at(&[0; 16], 0x4000).unwrap();
        self.memory.write_all_at(&[0xff], 0x6000).unwrap();
        // The first one last, since it makes the list available.
        for (n, (address, len, flags)) in rows.into_iter().enumerate().rev() {
            let place = at + n as u64;
            let mark = if (place / size).is_multiple_of(2) {
                0x80
            } else {
                0x8000
            };
            let mut bytes = address.to_le_bytes().to_vec();
            bytes.extend(len.to_le_bytes());
            bytes.extend(id.to_le_bytes());
            bytes.extend((flags | mark as u16).to_le_bytes());
            self.memory
                .write_all_at(&bytes, DESC + 16 * (place % size))
                .unwrap();
        }
    }

    fn await_a_sector(&mut self) {
        self.client
            .region_write(0, BarLayout::NOTIFY, &0u16.to_le_bytes())
            .unwrap();
        loop {
            let event = self.events.recv_timeout(LIMIT).expect("an interrupt");
            if matches!(&event.what, What::Step(s) if s.input == Input::Used { queue: 0 }) {
                break;
            }
        }
        let mut status = [0xff];
        self.memory.read_exact_at(&mut status, 0x6000).unwrap();
        assert_eq!(status, [0], "VIRTIO_BLK_S_OK");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A closed connection ends the server's wait.
        let _ = self.client.shutdown();
        if let Some(served) = self.served.take() {
            served.shutdown().unwrap();
        }
    }
}

#[test]
fn a_driver_that_misplaces_its_rings_breaks_the_device_until_it_resets_it() {
    let mut machine = Machine::new();
    for places in [
        [MEMORY_BYTES, DRIVER, DEVICE],
        [DESC + 8, DRIVER, DEVICE],
        [DESC, MEMORY_BYTES - 4, DEVICE],
        [DESC, DRIVER, u64::MAX - 3],
        [0, 0, MEMORY_BYTES - 8],
    ] {
        let status = machine.bring_up(places);
        assert!(status.has(Status::NEEDS_RESET), "{places:x?}: {status}");
    }
    let status = machine.bring_up([DESC, DRIVER, DEVICE]);
    assert!(!status.has(Status::NEEDS_RESET), "{status}");
    machine.read_a_sector();
}

#[test]
fn a_device_serves_again_after_many_resets_and_tells_each_completion_before_its_interrupt() {
    let mut machine = Machine::new();
    for _ in 0..20 {
        assert!(machine.bring_up([DESC, DRIVER, DEVICE]).is_live());
        machine.read_a_sector();
    }
    let events = machine.seen.lock().unwrap();
    let told = events.iter().filter_map(|e| match &e.what {
        What::Step(s) => match s.input {
            Input::Complete { .. } => Some('c'),
            Input::Used { .. } => Some('u'),
            _ => s.shown.contains(&Effect::Stop).then_some('s'),
        },
        _ => None,
    });
    let told: String = told.collect();
    assert_eq!(told, format!("{}cu", "cus".repeat(19)));
}

#[test]
fn memory_that_goes_while_queues_run_is_followed() {
    let mut machine = Machine::new();
    assert!(machine.bring_up([DESC, DRIVER, DEVICE]).is_live());
    machine.read_a_sector();
    machine.client.dma_unmap(0, MEMORY_BYTES).unwrap();
    let fd = machine.memory.as_raw_fd();
    machine.client.dma_map(0, 0, MEMORY_BYTES, fd).unwrap();
    assert!(machine.bring_up([DESC, DRIVER, DEVICE]).is_live());
    machine.read_a_sector();
}

#[test]
fn a_map_that_changes_in_pieces_leaves_a_running_device_as_it_is() {
    const PAGE: u64 = 0x1000;
    let mut machine = Machine::new();
    assert!(machine.bring_up([DESC, DRIVER, DEVICE]).is_live());
    machine.read_a_sector();
    let from = machine.seen.lock().unwrap().len();
    machine.client.dma_unmap(0, MEMORY_BYTES).unwrap();
    let fd = machine.memory.as_raw_fd();
    machine.client.dma_map(0, 0, PAGE, fd).unwrap();
    machine.notify();
    machine
        .client
        .dma_map(PAGE, PAGE, MEMORY_BYTES - PAGE, fd)
        .unwrap();
    machine.offer(2);
    machine.notify();
    machine.await_used(from);
    assert!(machine.status().is_live());
}

impl Machine {
    fn command(&mut self, command: u16) {
        let bytes = command.to_le_bytes();
        self.client
            .region_write(CONFIG_REGION, COMMAND, &bytes)
            .unwrap();
    }

    /// Makes the chain at descriptor 0 available once more, without a notification.
    fn offer(&self, index: u16) {
        self.memory.write_all_at(&[0xff], 0x6000).unwrap();
        let entry = DRIVER + 4 + 2 * u64::from((index - 1) % 16);
        self.memory.write_all_at(&[0, 0], entry).unwrap();
        let bytes = index.to_le_bytes();
        self.memory.write_all_at(&bytes, DRIVER + 2).unwrap();
    }

    fn notify(&mut self) {
        self.client
            .region_write(0, BarLayout::NOTIFY, &0u16.to_le_bytes())
            .unwrap();
    }

    fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; MEMORY_BYTES as usize];
        self.memory.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Waits for a queue's interrupt that comes after the first `from` events.
    fn await_used(&mut self, from: usize) {
        let came = |seen: &[Event]| {
            let used =
                |e: &Event| matches!(&e.what, What::Step(s) if s.input == Input::Used { queue: 0 });
            seen[from..].iter().any(used)
        };
        while !came(&self.seen.lock().unwrap()) {
            self.events.recv_timeout(LIMIT).expect("an interrupt");
        }
    }

    fn word(&self, at: u64) -> u16 {
        let mut bytes = [0; 2];
        self.memory.read_exact_at(&mut bytes, at).unwrap();
        u16::from_le_bytes(bytes)
    }
}

/// Memory space on, bus mastering off; and both on.
const SILENT: u16 = 2;
const MASTER: u16 = 6;

#[test]
fn a_device_without_bus_mastering_leaves_memory_alone_and_goes_on_where_it_was() {
    let mut machine = Machine::new();
    assert!(machine.bring_up([DESC, DRIVER, DEVICE]).is_live());
    machine.read_a_sector();
    for index in 2..40 {
        let from = machine.seen.lock().unwrap().len();
        // Sometimes the request is under way when bus mastering goes, sometimes not yet.
        if index % 2 == 0 {
            machine.offer(index);
            machine.notify();
            machine.command(SILENT);
        } else {
            machine.command(SILENT);
            machine.offer(index);
            machine.notify();
        }
        let before = machine.contents();
        // Whatever the device would do, it had the time for.
        for _ in 0..20 {
            assert!(machine.status().is_live());
        }
        assert_eq!(machine.contents(), before);
        machine.command(MASTER);
        machine.await_used(from);
        assert_eq!(machine.word(DEVICE + 2), index);
        let mut status = [0xff];
        machine.memory.read_exact_at(&mut status, 0x6000).unwrap();
        assert_eq!(status, [0], "VIRTIO_BLK_S_OK");
    }
    let events = machine.seen.lock().unwrap();
    let finished =
        |e: &&Event| matches!(&e.what, What::Step(s) if matches!(s.input, Input::Complete { .. }));
    assert_eq!(
        events.iter().filter(finished).count(),
        39,
        "each request once"
    );
}

#[test]
fn a_list_that_a_fault_holds_back_is_used_in_its_place_after_a_suspension() {
    let fault = "on = 'live'\ndo = 'queue.stall'\nargs = { host = 'go' }";
    let mut machine = Machine::faulty(&["RING_PACKED", "RING_RESET"], &[fault]);
    let features = RING_PACKED | RING_RESET;
    let status = machine.bring_up_with([DESC, DRIVER, DEVICE], features);
    assert!(status.is_live(), "{status}");
    let finished = |e: &Event, n: u16| {
        let head = |input: &Input| matches!(input, Input::Complete { head, .. } if *head == n);
        matches!(&e.what, What::Step(s) if head(&s.input))
    };
    for id in [1, 2] {
        machine.offer_packed(3 * u64::from(id - 1), 16, id);
        machine.notify();
        while !finished(&machine.events.recv_timeout(LIMIT).unwrap(), id) {}
        machine.command(SILENT);
        machine.command(MASTER);
    }
    let id_at = |machine: &Machine, at: u64| machine.word(DESC + 16 * at + 12);
    machine.memory.write_all_at(&[0; 2], DESC + 12).unwrap();
    machine
        .memory
        .write_all_at(&[0; 2], DESC + 16 * 3 + 12)
        .unwrap();
    let from = machine.seen.lock().unwrap().len();
    let host = Host {
        command: "go".into(),
        args: Default::default(),
    };
    machine.served.as_ref().unwrap().host(host);
    machine.await_used(from);
    assert_eq!([0, 3].map(|at| id_at(&machine, at)), [1, 2]);
    // A queue that was reset begins anew, also when it stood where it had begun.
    machine.wr(CommonCfg::QueueReset, 1);
    assert_eq!(machine.rd(CommonCfg::QueueReset), 0);
    machine.memory.write_all_at(&[0; 0x3000], DESC).unwrap();
    machine.set_up([DESC, DRIVER, DEVICE], 16);
    while machine.events.try_recv().is_ok() {}
    machine.read_a_sector_packed(0, 16);
    assert_eq!(id_at(&machine, 0), 7);
}

const RING_PACKED: u64 = 1 << 2;
const RING_RESET: u64 = 1 << 8;

#[test]
fn a_packed_ring_goes_round_many_times_and_begins_anew_after_a_reset() {
    let mut machine = Machine::with(&["RING_PACKED"]);
    for _ in 0..2 {
        let status = machine.bring_up_with([DESC, DRIVER, DEVICE], RING_PACKED);
        assert!(status.is_live(), "{status}");
        for turn in 0..20 {
            machine.read_a_sector_packed(3 * turn, 16);
        }
    }
    let events = machine.seen.lock().unwrap();
    let flawed = events.iter().find(|e| match &e.what {
        What::Chain(chain) => !chain.flaws.is_empty() || chain.slots != 3 || chain.head != 7,
        What::Altered(_) | What::Dirty(_) | What::Ring(_) => true,
        _ => false,
    });
    assert_eq!(flawed, None);
    let lists = events.iter().filter(|e| matches!(e.what, What::Chain(_)));
    assert_eq!(lists.count(), 40);
}

#[test]
fn a_queue_that_was_reset_works_again_with_another_size_of_either_kind() {
    for (features, packed) in [(RING_RESET, false), (RING_RESET | RING_PACKED, true)] {
        let mut machine = Machine::with(&["RING_PACKED", "RING_RESET"]);
        let places = [DESC, DRIVER, DEVICE];
        assert!(machine.bring_up_with(places, features).is_live());
        for size in [16, 8, if packed { 5 } else { 4 }] {
            if packed {
                machine.read_a_sector_packed(0, size);
                machine.read_a_sector_packed(3, size);
            } else {
                machine.read_a_sector();
            }
            machine.wr(CommonCfg::QueueReset, 1);
            assert_eq!(machine.rd(CommonCfg::QueueReset), 0);
            assert_eq!(machine.rd(CommonCfg::QueueEnable), 0);
            machine.memory.write_all_at(&[0; 0x3000], DESC).unwrap();
            machine.set_up(
                places,
                if size == 16 {
                    8
                } else if packed {
                    5
                } else {
                    4
                },
            );
        }
        assert!(machine.status().is_live());
        let events = machine.seen.lock().unwrap();
        let wrong = events
            .iter()
            .find(|e| matches!(e.what, What::Altered(_) | What::Dirty(_)));
        assert_eq!(wrong, None);
    }
}

#[test]
fn memory_that_is_taken_back_before_the_reset_of_its_queue_is_over_is_told() {
    for early in [true, false] {
        let mut machine = Machine::with(&["RING_RESET"]);
        let places = [DESC, DRIVER, DEVICE];
        assert!(machine.bring_up_with(places, RING_RESET).is_live());
        machine.read_a_sector();
        machine.wr(CommonCfg::QueueReset, 1);
        if !early {
            assert_eq!(machine.rd(CommonCfg::QueueReset), 0);
        }
        machine.memory.write_all_at(&[0xaa; 16], DESC).unwrap();
        assert_eq!(machine.rd(CommonCfg::QueueReset), 0);
        let events = machine.seen.lock().unwrap();
        let told = events
            .iter()
            .any(|e| matches!(&e.what, What::Altered(a) if a.part == AlteredPart::Released));
        assert_eq!(told, early);
    }
}

#[test]
fn what_a_driver_changes_behind_the_devices_back_is_told_even_when_it_is_idle() {
    let mut machine = Machine::new();
    assert!(machine.bring_up([DESC, DRIVER, DEVICE]).is_live());
    machine.read_a_sector();
    machine
        .memory
        .write_all_at(&[0x55], DEVICE + 4 + 8 * 9)
        .unwrap();
    loop {
        let event = machine.events.recv_timeout(LIMIT).expect("a look");
        if let What::Dirty(dirty) = &event.what {
            assert_eq!((dirty.part, dirty.element), (DirtyPart::Element, 9));
            break;
        }
    }
}

#[test]
fn a_message_that_lies_about_its_length_ends_its_connection_only() {
    use std::io::{Read as _, Write as _};
    let dir = vmm_sys_util::tempdir::TempDir::new().unwrap();
    let journal = Journal::new(Box::new(|_| ()));
    let shape = Shape::new(Kind::Block);
    let served = serve(0, &shape, Vec::new(), 0, dir.as_path(), journal).unwrap();
    let socket = dir.as_path().join("dev0");
    let mut liar = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    // VERSION with a size that has no room for its version, and bytes that are no JSON.
    let mut message = vec![0, 0, 1, 0, 20, 0, 0, 0];
    message.resize(16 + 4 + 64, 0);
    liar.write_all(&message).unwrap();
    let mut heard = Vec::new();
    // It may end with an error as well as with silence.
    let _ = liar.read_to_end(&mut heard);
    drop(liar);
    let mut client = Client::new(&socket).unwrap();
    let mut id = [0; 2];
    client.region_read(CONFIG_REGION, 0, &mut id).unwrap();
    assert_eq!(id, [0xf4, 0x1a]);
    drop(client);
    // Four gigabytes of configuration space are refused, and cost no memory.
    let mut greedy = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let mut message = vec![1, 0, 9, 0, 32, 0, 0, 0];
    message.resize(24, 0);
    message.extend(CONFIG_REGION.to_le_bytes());
    message.extend(u32::MAX.to_le_bytes());
    greedy.write_all(&message).unwrap();
    let mut answer = [0; 16];
    greedy.read_exact(&mut answer).unwrap();
    assert_eq!(
        answer[..8],
        [1, 0, 9, 0, 16, 0, 0, 0],
        "an answer without data"
    );
    assert_ne!(answer[8] & 0x20, 0, "an error");
    drop(greedy);
    served.shutdown().unwrap();
}

//! Our backend, driven over its socket by another crate's frontend.

mod attached;
mod driver;
mod held;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};

use driver::{Driver, Queue};
use misfire_device::backend::Observer;
use misfire_device::port::vhost_user::{Backend, BackendError};
use misfire_device::shape::{Kind, MAX_OWN_QUEUES, Shape};
use misfire_device::trace::Input;
use tempfile::TempDir;
use virtio_bindings::virtio_blk::*;

fn shape(queues: u16) -> Shape {
    let mut shape = Shape::new(Kind::Block);
    shape.queues = queues;
    shape.capacity = 1024;
    shape
}

struct Served {
    backend: Backend,
    socket: PathBuf,
    _dir: TempDir,
}

fn served(shape: &Shape, observer: Option<Arc<dyn Observer>>) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    Served {
        backend: Backend::start(shape, &socket, observer).unwrap(),
        socket,
        _dir: dir,
    }
}

fn write_and_read_back(queue: &mut Queue<'_>, sector: u64) {
    let pattern: Vec<u8> = (0..4096u64)
        .map(|i| ((i + sector) * 31 % 251) as u8)
        .collect();
    assert_eq!(queue.write(sector, &pattern), Some((0, 1)));
    assert_eq!(queue.read(sector, 4096), Some((0, 4097)));
    assert_eq!(queue.data(4096), pattern);
}

#[test]
fn a_frontend_finds_the_features_the_queues_and_the_configuration() {
    let served = served(&shape(3), None);
    let mut driver = Driver::connect(&served.socket, 3);
    let features = driver.features();
    for bit in [VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_FLUSH, 28, 29, 30, 32] {
        assert_ne!(features & 1 << bit, 0, "{bit}");
    }
    assert_eq!(features & !(1 << 30), served.backend.features());
    assert_eq!(driver.queue_count(), 3);
    assert_eq!(driver.config(0, 60), served.backend.config());
    assert_eq!(driver.config(0, 8), 1024u64.to_le_bytes());
    assert_eq!(driver.config(0x22, 2), [3, 0]);
}

#[test]
fn every_queue_reads_and_writes() {
    let served = served(&shape(4), None);
    let mut driver = Driver::connect(&served.socket, 4);
    driver.start(u64::MAX);
    for index in 0..4 {
        write_and_read_back(&mut driver.queue(index), 16 * index as u64);
    }
    assert_eq!(
        driver.queue(0).request(VIRTIO_BLK_T_FLUSH, 0, None),
        Some((0, 1))
    );
    assert_eq!(driver.queue(3).read(1020, 4096), Some((1, 0)));
}

#[test]
fn the_most_queues_are_all_served() {
    let most = MAX_OWN_QUEUES;
    let served = served(&shape(most), None);
    let mut driver = Driver::connect(&served.socket, most);
    driver.start(u64::MAX);
    for index in [0, 1, 31, 32, usize::from(most) - 1] {
        write_and_read_back(&mut driver.queue(index), index as u64);
    }
}

#[test]
fn a_driver_without_event_idx_is_served_too() {
    let served = served(&shape(1), None);
    let mut driver = Driver::connect(&served.socket, 1);
    driver.start(!(1 << 29 | 1 << 28));
    write_and_read_back(&mut driver.queue(0), 8);
}

#[test]
fn queues_stop_and_start_again_as_often_as_the_driver_resets() {
    let served = served(&shape(2), None);
    let mut driver = Driver::connect(&served.socket, 2);
    for round in 0..20 {
        driver.start(u64::MAX);
        for index in 0..2 {
            write_and_read_back(&mut driver.queue(index), 8 * round);
        }
        assert_eq!(driver.stop(), [2, 2]);
    }
}

#[test]
fn a_stopped_queue_uses_nothing_even_when_it_is_kicked() {
    let served = served(&shape(2), None);
    let mut driver = Driver::connect(&served.socket, 2);
    driver.start(u64::MAX);
    write_and_read_back(&mut driver.queue(0), 0);
    driver.stop_queue(0);
    let mut queue = driver.queue(0);
    queue.offer(VIRTIO_BLK_T_FLUSH, 0, None);
    queue.kick();
    // The other queue is served by the same worker: when it has answered, the kick was seen.
    write_and_read_back(&mut driver.queue(1), 0);
    assert_eq!(driver.queue(0).used(), 2);
}

#[test]
fn a_disabled_queue_waits_until_it_is_enabled() {
    let served = served(&shape(2), None);
    let mut driver = Driver::connect(&served.socket, 2);
    driver.start(u64::MAX);
    driver.enable(0, false);
    let mut queue = driver.queue(0);
    queue.offer(VIRTIO_BLK_T_FLUSH, 0, None);
    queue.kick();
    write_and_read_back(&mut driver.queue(1), 0);
    assert_eq!(driver.queue(0).used(), 0);
    driver.enable(0, true);
    assert_eq!(driver.queue(0).wait(), Some((0, 1)));
}

#[test]
fn nothing_begins_before_the_driver_notifies() {
    let served = served(&shape(2), None);
    let mut driver = Driver::connect(&served.socket, 2);
    driver.start(u64::MAX);
    driver.queue(0).offer(VIRTIO_BLK_T_FLUSH, 0, None);
    driver.enable(0, false);
    driver.enable(0, true);
    write_and_read_back(&mut driver.queue(1), 0);
    assert_eq!(driver.queue(0).used(), 0);
    driver.queue(0).kick();
    assert_eq!(driver.queue(0).wait(), Some((0, 1)));
}

#[test]
fn one_frontend_after_the_other_is_served_and_finds_the_same_disk() {
    let served = served(&shape(1), None);
    for round in 0..5u8 {
        let mut driver = Driver::connect(&served.socket, 1);
        driver.start(u64::MAX);
        let mut queue = driver.queue(0);
        assert_eq!(queue.read(0, 512), Some((0, 513)));
        assert_eq!(queue.data(512), [round; 512]);
        assert_eq!(queue.write(0, &[round + 1; 512]), Some((0, 1)));
    }
}

#[test]
fn a_resize_is_told_and_the_new_sectors_are_there() {
    let served = served(&shape(1), None);
    let mut driver = Driver::connect(&served.socket, 1);
    let changes = driver.open_backend_channel();
    driver.start(u64::MAX);
    assert_eq!(driver.queue(0).read(1024, 512), Some((1, 0)));
    served.backend.resize(2048);
    changes.wait();
    assert_eq!(driver.config(0, 8), 2048u64.to_le_bytes());
    write_and_read_back(&mut driver.queue(0), 2040);
    served.backend.resize(8);
    changes.wait();
    assert_eq!(driver.queue(0).read(8, 512), Some((1, 0)));
}

#[test]
fn memory_may_change_while_queues_run() {
    let served = served(&shape(1), None);
    let mut driver = Driver::connect(&served.socket, 1);
    driver.start(u64::MAX);
    write_and_read_back(&mut driver.queue(0), 0);
    driver.share_memory();
    write_and_read_back(&mut driver.queue(0), 8);
}

#[test]
fn a_broken_ring_is_left_alone_and_reported_until_the_driver_resets() {
    let (tell, told) = mpsc::channel();
    let recorder = Recorder(Mutex::new(tell));
    let served = served(&shape(2), Some(Arc::new(recorder)));
    let mut driver = Driver::connect(&served.socket, 2);
    driver.start(u64::MAX);
    driver.queue(0).offer_endless_chain();
    driver.queue(0).kick();
    assert!(told.iter().any(|input| input == Input::Broken));
    driver.queue(0).offer(VIRTIO_BLK_T_FLUSH, 0, None);
    driver.queue(0).kick();
    write_and_read_back(&mut driver.queue(1), 0);
    assert_eq!(driver.queue(0).used(), 0);
    driver.stop();
    driver.start(u64::MAX);
    write_and_read_back(&mut driver.queue(0), 0);
}

struct Recorder(Mutex<mpsc::Sender<Input>>);

impl Observer for Recorder {
    fn observe(&self, input: Input) {
        let _ = self.0.lock().unwrap().send(input);
    }
}

#[test]
fn an_observer_hears_messages_notifications_and_chains_in_order() {
    let (tell, told) = mpsc::channel();
    let served = served(&shape(1), Some(Arc::new(Recorder(Mutex::new(tell)))));
    let mut driver = Driver::connect(&served.socket, 1);
    driver.start(u64::MAX);
    driver.queue(0).read(3, 1024).unwrap();
    driver.stop();
    let heard: Vec<String> = told
        .try_iter()
        .filter(|i| !matches!(i, Input::Vhost { message, .. } if message == "SET_OWNER"))
        .map(|i| i.to_string())
        .collect();
    let last = heard.iter().position(|i| i.starts_with("kick")).unwrap();
    let (setup, work) = heard.split_at(last);
    assert!(
        setup.iter().any(|i| i.starts_with("vhost SET_MEM_TABLE")),
        "{setup:?}"
    );
    assert_eq!(setup.last().unwrap(), "vhost SET_VRING_ENABLE 0x100000000");
    assert_eq!(
        work,
        [
            "kick q0",
            "q0 chain 0 read 3+2",
            "q0 chain 0 complete, 1025 bytes",
            "vhost GET_VRING_BASE 0x0",
        ]
    );
}

/// Holds the worker while it reports a chain, as a function that is busy with a reset does.
struct Gate {
    reached: Mutex<mpsc::Sender<()>>,
    open: Mutex<mpsc::Receiver<()>>,
}

impl Observer for Gate {
    fn observe(&self, input: Input) {
        if matches!(input, Input::Chain { .. }) {
            self.reached.lock().unwrap().send(()).unwrap();
            let _ = self.open.lock().unwrap().recv();
        }
    }
}

#[test]
fn a_stop_does_not_wait_for_the_observer_and_gives_the_chain_back() {
    let (reached, at_gate) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let gate = Gate {
        reached: Mutex::new(reached),
        open: Mutex::new(gate),
    };
    let served = served(&shape(1), Some(Arc::new(gate)));
    let mut driver = Driver::connect(&served.socket, 1);
    driver.start(u64::MAX);
    let mut queue = driver.queue(0);
    queue.offer(VIRTIO_BLK_T_IN, 0, Some((512, true)));
    queue.kick();
    at_gate.recv().unwrap();
    assert_eq!(driver.stop(), [0]); // the observer still holds the worker
    assert_eq!(driver.queue(0).used(), 0);
    drop(open);
    driver.start(u64::MAX);
    driver.queue(0).read(0, 512).unwrap();
    assert_eq!(driver.queue(0).used(), 1);
}

#[test]
fn serving_ends_while_a_frontend_is_there_and_the_socket_is_gone() {
    let served = served(&shape(1), None);
    let mut driver = Driver::connect(&served.socket, 1);
    driver.start(u64::MAX);
    write_and_read_back(&mut driver.queue(0), 0);
    served.backend.shutdown();
    assert!(!served.socket.exists());
}

#[test]
fn what_can_not_be_served_is_refused_with_the_reason() {
    let served = served(&shape(1), None);
    let again = Backend::start(&shape(1), &served.socket, None);
    assert!(matches!(again, Err(BackendError::Socket { .. })));
    let other = served.socket.with_extension("other");
    let many = Backend::start(&shape(65), &other, None);
    assert!(matches!(many, Err(BackendError::Queues(65))));
    let mut missing = shape(1);
    missing.file = Some("no/such/disk".into());
    let error = Backend::start(&missing, &other, None).err().unwrap();
    assert_eq!(error.to_string(), "the disk no/such/disk can't be opened");
}

#[test]
fn connections_leave_no_descriptor_behind() {
    let served = served(&shape(2), None);
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let round = || {
        let mut driver = Driver::connect(&served.socket, 2);
        driver.start(u64::MAX);
        write_and_read_back(&mut driver.queue(0), 0);
    };
    round();
    // The other tests of this process come and go: what grows by a few for each round is ours.
    let before = open();
    for _ in 0..100 {
        round();
    }
    let after = open();
    assert!(after < before + 90, "{before} descriptors, then {after}");
}

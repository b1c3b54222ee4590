//! The function over its socket, with a VMM of our own that does what a guest may do.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use misfire_device::function::BarLayout;
use misfire_device::port::{Journal, Served, serve};
use misfire_device::shape::{Kind, Shape};
use misfire_device::spec::{CommonCfg, Status};
use misfire_device::trace::{Effect, Event, Input, What};
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
        let dir = vmm_sys_util::tempdir::TempDir::new().unwrap();
        let (sender, events) = mpsc::channel();
        let seen = Arc::<Mutex<Vec<Event>>>::default();
        let kept = Arc::clone(&seen);
        let journal = Journal::new(Box::new(move |event| {
            kept.lock().unwrap().push(event.clone());
            let _ = sender.send(event.clone());
        }));
        let shape = Shape::new(Kind::Block);
        let served = serve(0, &shape, Vec::new(), 0, dir.as_path(), journal).unwrap();
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
    fn bring_up(&mut self, [desc, driver, device]: [u64; 3]) -> Status {
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
        self.wr(CommonCfg::DriverFeature, 1);
        self.wr(CommonCfg::DeviceStatus, 0xb);
        self.wr(CommonCfg::QueueSelect, 0);
        self.wr(CommonCfg::QueueSize, 16);
        for (lo, hi, at) in [
            (CommonCfg::QueueDescLo, CommonCfg::QueueDescHi, desc),
            (CommonCfg::QueueDriverLo, CommonCfg::QueueDriverHi, driver),
            (CommonCfg::QueueDeviceLo, CommonCfg::QueueDeviceHi, device),
        ] {
            self.wr(lo, at & 0xffff_ffff);
            self.wr(hi, at >> 32);
        }
        self.wr(CommonCfg::QueueEnable, 1);
        self.wr(CommonCfg::DeviceStatus, 0xf);
        self.status()
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
            served.shutdown();
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

//! A driver behind a vhost-user frontend: guest memory in a file, and queues with one request at a
//! time.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures};
use vhost::vhost_user::{
    Frontend, FrontendReqHandler, HandlerResult, VhostUserFrontend, VhostUserFrontendReqHandler,
};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Bytes of guest memory for each queue; the rings come first, then the buffers.
const ARENA: u64 = 0x10000;
const DESC: u64 = 0x0000;
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;
const HEADER: u64 = 0x3000;
const STATUS: u64 = 0x3100;
const DATA: u64 = 0x4000;
const SIZE: u16 = 16;
/// The frontend's own addresses differ from the guest's.
const USER: u64 = 0x7f00_0000_0000;

/// What a request brought: status, and the length in the used ring.
pub type Answer = Option<(u8, u32)>;

pub struct Driver {
    frontend: Frontend,
    file: File,
    memory: GuestMemoryMmap<()>,
    rings: Vec<Ring>,
}

#[derive(Default)]
struct Ring {
    events: Option<(EventFd, EventFd)>,
    available: u16,
}

impl Driver {
    pub fn connect(socket: &Path, queues: u16) -> Self {
        let file = tempfile::tempfile().unwrap();
        let bytes = ARENA * u64::from(queues);
        file.set_len(bytes).unwrap();
        let offset = FileOffset::new(file.try_clone().unwrap(), 0);
        let range = (GuestAddress(0), bytes as usize, Some(offset));
        let mut frontend = Frontend::connect(socket, queues.into()).unwrap();
        frontend.set_owner().unwrap();
        assert_ne!(frontend.get_features().unwrap() & 1 << 30, 0);
        let offered = frontend.get_protocol_features().unwrap();
        let wanted = VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::BACKEND_REQ;
        assert_eq!(offered & wanted, wanted);
        frontend.set_protocol_features(wanted).unwrap();
        Self {
            frontend,
            file,
            memory: GuestMemoryMmap::from_ranges_with_files([range]).unwrap(),
            rings: (0..queues).map(|_| Ring::default()).collect(),
        }
    }

    pub fn features(&mut self) -> u64 {
        self.frontend.get_features().unwrap()
    }

    pub fn queue_count(&mut self) -> u64 {
        self.frontend.get_queue_num().unwrap()
    }

    pub fn config(&mut self, offset: u32, size: u32) -> Vec<u8> {
        let buffer = vec![0; size as usize];
        let flags = VhostUserConfigFlags::empty();
        self.frontend
            .get_config(offset, size, flags, &buffer)
            .unwrap()
            .1
    }

    pub fn share_memory(&mut self) {
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: ARENA * self.rings.len() as u64,
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        };
        self.frontend.set_mem_table(&[region]).unwrap();
    }

    /// What a driver's DRIVER_OK leads to: every queue starts, with nothing in it.
    pub fn start(&mut self, features: u64) {
        let offered = self.features();
        self.frontend
            .set_features(offered & features | 1 << 30)
            .unwrap();
        self.share_memory();
        for index in 0..self.rings.len() {
            let base = ARENA * index as u64;
            self.memory
                .write_slice(&[0; DATA as usize], GuestAddress(base))
                .unwrap();
            let kick = EventFd::new(EFD_NONBLOCK).unwrap();
            let call = EventFd::new(EFD_NONBLOCK).unwrap();
            let frontend = &mut self.frontend;
            frontend.set_vring_num(index, SIZE).unwrap();
            frontend.set_vring_base(index, 0).unwrap();
            let addresses = VringConfigData {
                queue_max_size: SIZE,
                queue_size: SIZE,
                flags: 0,
                desc_table_addr: USER + base + DESC,
                used_ring_addr: USER + base + USED,
                avail_ring_addr: USER + base + AVAIL,
                log_addr: None,
            };
            frontend.set_vring_addr(index, &addresses).unwrap();
            frontend.set_vring_call(index, &call).unwrap();
            frontend.set_vring_kick(index, &kick).unwrap();
            frontend.set_vring_enable(index, true).unwrap();
            self.rings[index] = Ring {
                events: Some((kick, call)),
                available: 0,
            };
        }
        // The answer to the next question comes after all of that.
        self.features();
    }

    pub fn enable(&mut self, index: usize, enable: bool) {
        self.frontend.set_vring_enable(index, enable).unwrap();
        // The answer to the next question comes after the change.
        self.features();
    }

    pub fn stop_queue(&mut self, index: usize) -> u32 {
        self.frontend.get_vring_base(index).unwrap()
    }

    /// What a driver's reset leads to. Returns where each available ring was left.
    pub fn stop(&mut self) -> Vec<u32> {
        (0..self.rings.len()).map(|i| self.stop_queue(i)).collect()
    }

    pub fn queue(&mut self, index: usize) -> Queue<'_> {
        Queue {
            memory: &self.memory,
            base: ARENA * index as u64,
            ring: &mut self.rings[index],
        }
    }

    /// Lets the backend speak first.
    pub fn open_backend_channel(&mut self) -> Changes {
        let (tell, told) = mpsc::channel();
        let mut handler = FrontendReqHandler::new(Arc::new(Listening(tell))).unwrap();
        self.frontend
            .set_backend_request_fd(&Tx(handler.get_tx_raw_fd()))
            .unwrap();
        thread::spawn(move || while handler.handle_request().is_ok() {});
        Changes(told)
    }
}

/// The frontend's end of the channel, which the handler owns.
struct Tx(RawFd);

impl AsRawFd for Tx {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

struct Listening(mpsc::Sender<()>);

impl VhostUserFrontendReqHandler for Listening {
    fn handle_config_change(&self) -> HandlerResult<u64> {
        let _ = self.0.send(());
        Ok(0)
    }
}

/// The configuration changes that the backend told of.
pub struct Changes(mpsc::Receiver<()>);

impl Changes {
    pub fn wait(&self) {
        self.0
            .recv_timeout(std::time::Duration::from_secs(10))
            .unwrap();
    }
}

/// One queue, as the driver sees it.
pub struct Queue<'a> {
    memory: &'a GuestMemoryMmap<()>,
    base: u64,
    ring: &'a mut Ring,
}

impl Queue<'_> {
    fn at(&self, offset: u64) -> GuestAddress {
        GuestAddress(self.base + offset)
    }

    fn describe(&self, index: u64, address: u64, length: u32, flags: u16, next: u16) {
        let at = self.at(DESC + 16 * index);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.memory.write_slice(&bytes, at).unwrap();
    }

    /// Makes a request available: `data` is its length, and whether the device writes it.
    pub fn offer(&mut self, command: u32, sector: u64, data: Option<(u32, bool)>) {
        let mut header = [0; 16];
        header[..4].copy_from_slice(&command.to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        self.memory.write_slice(&header, self.at(HEADER)).unwrap();
        self.memory.write_slice(&[0xff], self.at(STATUS)).unwrap();
        self.describe(0, self.base + HEADER, 16, 1, 1);
        let last = match data {
            Some((length, writes)) => {
                self.describe(1, self.base + DATA, length, 1 | (2 * u16::from(writes)), 2);
                2
            }
            None => 1,
        };
        self.describe(last, self.base + STATUS, 1, 2, 0);
        self.publish();
    }

    /// Makes a buffer available for the device to read.
    pub fn offer_data(&mut self, data: &[u8]) {
        self.memory.write_slice(data, self.at(DATA)).unwrap();
        self.describe(0, self.base + DATA, data.len() as u32, 0, 0);
        self.publish();
    }

    /// Makes a buffer available for the device to write.
    pub fn offer_room(&mut self, bytes: u32) {
        self.describe(0, self.base + DATA, bytes, 2, 0);
        self.publish();
    }

    /// Makes a chain available whose only descriptor follows itself.
    pub fn offer_endless_chain(&mut self) {
        self.describe(0, self.base + HEADER, 16, 1, 0);
        self.publish();
    }

    fn publish(&mut self) {
        let slot = self.at(AVAIL + 4 + 2 * u64::from(self.ring.available % SIZE));
        self.memory.write_obj(0u16, slot).unwrap();
        // Interrupt for the very next one.
        let used_event = self.at(AVAIL + 4 + 2 * u64::from(SIZE));
        self.memory.write_obj(self.used(), used_event).unwrap();
        self.ring.available = self.ring.available.wrapping_add(1);
        let index = self.at(AVAIL + 2);
        self.memory
            .store(
                self.ring.available,
                index,
                std::sync::atomic::Ordering::SeqCst,
            )
            .unwrap();
    }

    pub fn kick(&self) {
        self.ring.events.as_ref().unwrap().0.write(1).unwrap();
    }

    /// How many chains were used.
    pub fn used(&self) -> u16 {
        let index = self.at(USED + 2);
        self.memory
            .load(index, std::sync::atomic::Ordering::SeqCst)
            .unwrap()
    }

    /// How many interrupts came since the last time this was asked.
    pub fn calls(&self) -> u64 {
        let call = &self.ring.events.as_ref().unwrap().1;
        call.read().unwrap_or(0)
    }

    /// Waits for the interrupt; `None` when it does not come.
    pub fn wait(&self) -> Answer {
        let call = &self.ring.events.as_ref().unwrap().1;
        // SAFETY: `call` is open for longer than the borrow.
        let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(call.as_raw_fd()) };
        let limit = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let mut ready = [PollFd::from_borrowed_fd(borrowed, PollFlags::IN)];
        if poll(&mut ready, Some(&limit)).unwrap() == 0 {
            return None;
        }
        call.read().unwrap();
        let slot = self.at(USED + 4 + 8 * u64::from(self.used().wrapping_sub(1) % SIZE));
        let length = self.memory.read_obj(GuestAddress(slot.0 + 4)).unwrap();
        let status = self.memory.read_obj(self.at(STATUS)).unwrap();
        Some((status, length))
    }

    pub fn request(&mut self, command: u32, sector: u64, data: Option<(u32, bool)>) -> Answer {
        self.offer(command, sector, data);
        self.kick();
        self.wait()
    }

    pub fn write(&mut self, sector: u64, data: &[u8]) -> Answer {
        self.memory.write_slice(data, self.at(DATA)).unwrap();
        self.request(VIRTIO_BLK_T_OUT, sector, Some((data.len() as u32, false)))
    }

    pub fn read(&mut self, sector: u64, length: u32) -> Answer {
        let blank = vec![0; length as usize];
        self.memory.write_slice(&blank, self.at(DATA)).unwrap();
        self.request(VIRTIO_BLK_T_IN, sector, Some((length, true)))
    }

    pub fn data(&self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read_slice(&mut data, self.at(DATA)).unwrap();
        data
    }
}

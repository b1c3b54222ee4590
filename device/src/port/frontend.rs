//! Fronting a vhost-user backend: ours, or somebody else's.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VringConfigData};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::died::Died;
use super::memory::Memory;
use crate::backend::RingFeatures;
use crate::trace::{QueueSetup, Start};

/// `VHOST_USER_F_PROTOCOL_FEATURES`: a bit of the transport, not of the device.
const PROTOCOL_FEATURES: u64 = 1 << 30;
/// `VHOST_F_LOG_ALL`: likewise.
const LOG_ALL: u64 = 1 << 26;
/// The most bytes of device configuration that one message carries (vhost-user, GET_CONFIG).
const CONFIG_BYTES: u32 = 256;

/// The backend can't be used.
#[derive(Debug, thiserror::Error)]
#[error("vhost-user: {doing} failed")]
pub struct FrontendError {
    /// What was asked of the backend.
    pub doing: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

fn doing<T>(doing: &'static str, result: vhost::Result<T>) -> Result<T, FrontendError> {
    result.map_err(|source| FrontendError {
        doing,
        source: source.into(),
    })
}

/// A connection to a backend.
pub struct Fronted {
    socket: PathBuf,
    config_bytes: u32,
    /// None: it broke, and is made anew at the next start.
    frontend: Option<Frontend>,
    transport_features: u64,
    /// What the backend offers; features of the function alone are nothing to it.
    offered: u64,
    rings: Vec<Ring>,
    running: Vec<QueueSetup>,
    /// The rings stand still, each where it was.
    suspended: bool,
    parked: Vec<Parked>,
    /// The rings that run are packed.
    packed: bool,
    memory_sent: Option<u64>,
    /// How it was noticed that the other end is gone.
    lost: Option<String>,
}

/// A ring that stands still, and where it goes on.
struct Parked {
    queue: QueueSetup,
    base: u16,
}

struct Ring {
    kick: EventFd,
    call: EventFd,
}

/// What a backend said of itself.
pub struct Offer {
    /// Feature bits of the device.
    pub features: u64,
    /// Device configuration, as far as the backend gives any.
    pub config: Vec<u8>,
}

impl Fronted {
    /// Connects, and negotiates the protocol.
    ///
    /// # Errors
    /// When the backend is not there or refuses a message.
    pub fn connect(
        socket: &Path,
        queues: u16,
        config_bytes: u32,
    ) -> Result<(Self, Offer), FrontendError> {
        let (frontend, features, config) = greet(socket, queues, config_bytes)?;
        let io = |source: std::io::Error| FrontendError {
            doing: "making an eventfd",
            source: source.into(),
        };
        let rings = (0..queues)
            .map(|_| {
                Ok(Ring {
                    kick: EventFd::new(EFD_NONBLOCK).map_err(io)?,
                    call: EventFd::new(EFD_NONBLOCK).map_err(io)?,
                })
            })
            .collect::<Result<Vec<_>, FrontendError>>()?;
        let transport_features = features & PROTOCOL_FEATURES;
        let offer = Offer {
            features: features & !(PROTOCOL_FEATURES | LOG_ALL),
            config,
        };
        Ok((
            Self {
                socket: socket.to_owned(),
                config_bytes,
                frontend: Some(frontend),
                transport_features,
                offered: features,
                rings,
                running: Vec::new(),
                suspended: false,
                parked: Vec::new(),
                packed: false,
                memory_sent: None,
                lost: None,
            },
            offer,
        ))
    }

    /// The eventfds with which the backend asks for interrupts, by queue.
    pub fn calls(&self) -> impl Iterator<Item = &EventFd> {
        self.rings.iter().map(|r| &r.call)
    }

    /// Whether the backend has asked for an interrupt of the queue since the last time.
    pub fn take_call(&self, queue: u16) -> bool {
        self.rings
            .get(usize::from(queue))
            .is_some_and(|r| r.call.read().is_ok())
    }

    /// Starts the queues (the driver has set DRIVER_OK).
    ///
    /// # Errors
    /// When a ring is not aligned or not in memory, of which the backend hears nothing, and when the
    /// backend refuses a message, which ends the connection.
    pub fn start(&mut self, start: &Start, memory: &Memory) -> Result<(), FrontendError> {
        self.packed = RingFeatures::of(start.features).packed;
        self.suspended = false;
        self.parked.clear();
        for queue in &start.queues {
            check(queue, self.packed, memory)?;
        }
        let frontend = match self.frontend.take() {
            Some(frontend) => frontend,
            None => {
                self.memory_sent = None;
                let greeted = greet(&self.socket, self.rings.len() as u16, self.config_bytes);
                if let Err(error) = &greeted {
                    self.lost = Some(format!("{error}: {}", error.source));
                }
                greeted?.0
            }
        };
        for ring in &self.rings {
            // A kick of a queue that did not run is void, and so is a call that nobody took.
            let _ = ring.kick.read();
            let _ = ring.call.read();
        }
        let frontend = self.frontend.insert(frontend);
        let started = send_start(
            frontend,
            start,
            (start.features & self.offered) | self.transport_features,
            &self.rings,
            &mut self.memory_sent,
            memory,
        );
        self.running.clone_from(&start.queues);
        self.keep_or_hang_up(started)
    }

    /// A connection in which a message was refused is of no use: the backend may have ended it.
    fn keep_or_hang_up<T>(&mut self, result: Result<T, FrontendError>) -> Result<T, FrontendError> {
        if let Err(error) = &result {
            if self.frontend.as_ref().is_some_and(has_hung_up) {
                self.lost = Some(format!("{error}: {}", error.source));
            }
            self.frontend = None;
            self.running.clear();
            self.parked.clear();
        }
        result
    }

    /// Sends the memory table if it has changed since it was last sent. A VMM that changes its map does so in
    /// several messages: as long as a ring that runs is not in memory, the backend keeps what it has.
    ///
    /// # Errors
    /// When the backend refuses it.
    pub fn send_memory(&mut self, memory: &Memory) -> Result<(), FrontendError> {
        let mut rings = self.running.iter();
        if rings.any(|queue| check(queue, self.packed, memory).is_err()) {
            return Ok(());
        }
        let sent = match &self.frontend {
            Some(frontend) => send_memory(frontend, &mut self.memory_sent, memory),
            None => Ok(()),
        };
        self.keep_or_hang_up(sent)
    }

    /// Passes on what the driver wrote into the device configuration.
    ///
    /// # Errors
    /// When the backend refuses it.
    pub fn write_config(&mut self, offset: u16, bytes: &[u8]) -> Result<(), FrontendError> {
        let written = match &mut self.frontend {
            Some(frontend) if self.config_bytes != 0 => doing(
                "SET_CONFIG",
                frontend.set_config(offset.into(), VhostUserConfigFlags::WRITABLE, bytes),
            ),
            _ => Ok(()),
        };
        self.keep_or_hang_up(written)
    }

    /// Whether the other end is gone, and how that was noticed.
    pub fn died(&self) -> Option<Died> {
        let has_left = self.frontend.as_ref().is_some_and(has_hung_up);
        let how = self.lost.clone();
        let how = how.or_else(|| has_left.then(|| "it closed its connection".to_owned()))?;
        Some(Died::Backend {
            socket: self.socket.clone(),
            how,
        })
    }

    /// Whether queues run.
    pub fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Stops the queues: when it returns, the backend uses no buffer any more.
    ///
    /// # Errors
    /// The first refusal; the other queues are stopped all the same.
    pub fn stop(&mut self) -> Result<(), FrontendError> {
        let mut first = Ok(());
        self.suspended = false;
        for queue in self.parked.drain(..) {
            void(&self.rings, queue.queue.index);
        }
        for queue in std::mem::take(&mut self.running) {
            first = first.and(self.stop_ring(queue.index).map(drop));
            void(&self.rings, queue.index);
        }
        self.keep_or_hang_up(first)
    }

    /// Has the queues stand still: when it returns, the backend uses no buffer until they are resumed.
    /// An interrupt that was asked for before is kept.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn suspend(&mut self) -> Result<(), FrontendError> {
        let mut first = Ok(());
        self.suspended = true;
        for queue in std::mem::take(&mut self.running) {
            match self.stop_ring(queue.index) {
                Ok(base) => self.parked.push(Parked { queue, base }),
                Err(error) => first = first.and(Err(error)),
            }
        }
        self.keep_or_hang_up(first)
    }

    /// Lets the queues go on from where they stood.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn resume(&mut self, memory: &Memory) -> Result<(), FrontendError> {
        self.suspended = false;
        let parked = std::mem::take(&mut self.parked);
        for Parked { queue, .. } in &parked {
            check(queue, self.packed, memory)?;
        }
        self.send_memory(memory)?;
        for Parked { queue, base } in parked {
            self.run(&queue, base)?;
        }
        Ok(())
    }

    /// Starts one queue of a device that runs (it was reset, and is enabled again).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_queue(
        &mut self,
        queue: &QueueSetup,
        memory: &Memory,
    ) -> Result<(), FrontendError> {
        check(queue, self.packed, memory)?;
        void(&self.rings, queue.index);
        let base = first_base(self.packed);
        if self.suspended {
            self.parked.push(Parked {
                queue: *queue,
                base,
            });
            return Ok(());
        }
        self.run(queue, base)
    }

    /// Starts one queue from `base` on.
    fn run(&mut self, queue: &QueueSetup, base: u16) -> Result<(), FrontendError> {
        let Some(frontend) = &mut self.frontend else {
            return Ok(());
        };
        let started = send_queue(frontend, queue, base, self.transport_features, &self.rings);
        self.running.push(*queue);
        self.keep_or_hang_up(started)
    }

    /// Stops one queue: when it returns, the backend uses no buffer of it any more.
    ///
    /// # Errors
    /// The backend refuses it.
    pub fn stop_queue(&mut self, queue: u16) -> Result<(), FrontendError> {
        let ran = self.running.iter().any(|q| q.index == queue);
        self.running.retain(|q| q.index != queue);
        self.parked.retain(|p| p.queue.index != queue);
        let stopped = if ran { self.end_ring(queue) } else { Ok(()) };
        void(&self.rings, queue);
        self.keep_or_hang_up(stopped)
    }

    /// Stops a ring that will not go on: at its next start it begins anew.
    fn end_ring(&mut self, queue: u16) -> Result<(), FrontendError> {
        if self.transport_features & PROTOCOL_FEATURES != 0
            && let Some(frontend) = &mut self.frontend
        {
            let disabled = frontend.set_vring_enable(usize::from(queue), false);
            doing("SET_VRING_ENABLE", disabled)?;
        }
        self.stop_ring(queue).map(drop)
    }

    /// Stops a ring, and tells where it stands.
    fn stop_ring(&self, queue: u16) -> Result<u16, FrontendError> {
        match &self.frontend {
            Some(frontend) => {
                let base = frontend.get_vring_base(usize::from(queue));
                // A packed ring's other half is where it was used to: the same place.
                doing("GET_VRING_BASE", base.map(|base| base as u16))
            }
            None => Ok(0),
        }
    }

    /// Passes a notification on.
    pub fn kick(&self, queue: u16) {
        if let Some(ring) = self.rings.get(usize::from(queue)) {
            // A full counter is a kick that is still to be read.
            let _ = ring.kick.write(1);
        }
    }
}

/// Whether the other end of a connection is closed.
fn has_hung_up(frontend: &Frontend) -> bool {
    // SAFETY: the descriptor is the connection's, which is open as long as `frontend` is borrowed.
    let socket = unsafe { BorrowedFd::borrow_raw(frontend.as_raw_fd()) };
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    let now = Timespec::default();
    let gone = PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR;
    poll(&mut polled, Some(&now)).is_ok_and(|_| polled[0].revents().intersects(gone))
}

/// What was asked for before a reset is void after it.
fn void(rings: &[Ring], queue: u16) {
    if let Some(ring) = rings.get(usize::from(queue)) {
        let _ = ring.kick.read();
        let _ = ring.call.read();
    }
}

/// Where a ring begins: a packed one with a wrap counter of 1 (2.8.1).
const fn first_base(packed: bool) -> u16 {
    if packed { 1 << 15 } else { 0 }
}

/// Connects, and negotiates the protocol. Returns the features and the configuration too.
fn greet(
    socket: &Path,
    queues: u16,
    config_bytes: u32,
) -> Result<(Frontend, u64, Vec<u8>), FrontendError> {
    let mut frontend = doing("the connection", Frontend::connect(socket, queues.into()))?;
    doing("SET_OWNER", frontend.set_owner())?;
    let features = doing("GET_FEATURES", frontend.get_features())?;
    let mut config = Vec::new();
    if features & PROTOCOL_FEATURES != 0 {
        let offered = doing("GET_PROTOCOL_FEATURES", frontend.get_protocol_features())?;
        let wanted = VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK;
        let agreed = offered & wanted;
        doing(
            "SET_PROTOCOL_FEATURES",
            frontend.set_protocol_features(agreed),
        )?;
        if agreed.contains(VhostUserProtocolFeatures::CONFIG) && config_bytes != 0 {
            config = read_config(&mut frontend, config_bytes.min(CONFIG_BYTES))?;
        }
        if agreed.contains(VhostUserProtocolFeatures::REPLY_ACK) {
            frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        }
    }
    Ok((frontend, features, config))
}

/// Whether the areas of a queue are aligned (2.7, 2.8.11) and in memory.
fn check(queue: &QueueSetup, packed: bool, memory: &Memory) -> Result<(), FrontendError> {
    let size = u64::from(queue.size);
    let areas = if packed {
        [
            (queue.desc, 16 * size, 16),
            (queue.driver, 4, 4),
            (queue.device, 4, 4),
        ]
    } else {
        [
            (queue.desc, 16 * size, 16),
            (queue.driver, 6 + 2 * size, 2),
            (queue.device, 6 + 8 * size, 4),
        ]
    };
    for (address, bytes, align) in areas {
        if !address.is_multiple_of(align) || !memory.holds(address, bytes) {
            let text = format!(
                "queue {} has an area at {address:#x} that is not aligned or not in memory",
                queue.index
            );
            return Err(FrontendError {
                doing: "placing a ring",
                source: text.into(),
            });
        }
    }
    Ok(())
}

fn send_start(
    frontend: &mut Frontend,
    start: &Start,
    features: u64,
    rings: &[Ring],
    memory_sent: &mut Option<u64>,
    memory: &Memory,
) -> Result<(), FrontendError> {
    doing("SET_FEATURES", frontend.set_features(features))?;
    send_memory(frontend, memory_sent, memory)?;
    let base = first_base(RingFeatures::of(features).packed);
    for queue in &start.queues {
        send_queue(frontend, queue, base, features, rings)?;
    }
    Ok(())
}

/// Starts one queue from `base` on.
fn send_queue(
    frontend: &mut Frontend,
    queue: &QueueSetup,
    base: u16,
    features: u64,
    rings: &[Ring],
) -> Result<(), FrontendError> {
    let index = usize::from(queue.index);
    let Some(ring) = rings.get(index) else {
        return Ok(());
    };
    doing("SET_VRING_NUM", frontend.set_vring_num(index, queue.size))?;
    doing("SET_VRING_BASE", frontend.set_vring_base(index, base))?;
    let addresses = VringConfigData {
        queue_max_size: queue.size,
        queue_size: queue.size,
        flags: 0,
        desc_table_addr: queue.desc,
        used_ring_addr: queue.device,
        avail_ring_addr: queue.driver,
        log_addr: None,
    };
    doing("SET_VRING_ADDR", frontend.set_vring_addr(index, &addresses))?;
    doing("SET_VRING_CALL", frontend.set_vring_call(index, &ring.call))?;
    doing("SET_VRING_KICK", frontend.set_vring_kick(index, &ring.kick))?;
    if features & PROTOCOL_FEATURES != 0 {
        doing("SET_VRING_ENABLE", frontend.set_vring_enable(index, true))?;
    }
    Ok(())
}

/// Sends the memory table if it has changed since it was last sent.
fn send_memory(
    frontend: &Frontend,
    sent: &mut Option<u64>,
    memory: &Memory,
) -> Result<(), FrontendError> {
    let regions = memory.regions();
    // All memory goes when the VMM does; no message can say that, and no ring is left to run.
    if *sent != Some(memory.changes()) && !regions.is_empty() {
        doing("SET_MEM_TABLE", frontend.set_mem_table(&regions).map(drop))?;
        *sent = Some(memory.changes());
    }
    Ok(())
}

fn read_config(frontend: &mut Frontend, bytes: u32) -> Result<Vec<u8>, FrontendError> {
    let buffer = vec![0; bytes as usize];
    let (_, payload) = doing(
        "GET_CONFIG",
        frontend.get_config(0, bytes, VhostUserConfigFlags::empty(), &buffer),
    )?;
    Ok(payload)
}

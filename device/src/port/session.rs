//! One connection of a frontend to our backend.

mod work;

use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VringT};
use virtio_bindings::virtio_config::VIRTIO_F_ANY_LAYOUT;
use vm_memory::{GuestAddressSpace, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{
    EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier,
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::died::Died;
use super::memory::sample_ring;
use super::vring::{SharedMemory, Vring};
use crate::backend::{Chain, Device, Observer, RingFeatures};
use crate::shape::{Attach, MAX_OWN_QUEUES, Shape};
use crate::trace::Input;

/// One worker of `vhost-user-backend` can't tell more queues apart.
const _: () = assert!(MAX_OWN_QUEUES as u32 <= u64::BITS);

/// Elements of the largest queue that a frontend of any kind may choose: none is told what ours has. A
/// function tells its driver.
const SIZE_OF_OTHERS: usize = 1024;

/// What outlives a connection.
pub struct Lasting {
    pub shape: Shape,
    pub device: Mutex<Box<dyn Device>>,
    pub observer: Option<Arc<dyn Observer>>,
    /// The first panic of a worker.
    pub died: OnceLock<Died>,
}

impl Lasting {
    pub fn device(&self) -> MutexGuard<'_, Box<dyn Device>> {
        // A request that panicked has left a device all the same.
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection: its memory, its rings, and what the worker needs.
pub struct Session {
    lasting: Arc<Lasting>,
    memory: SharedMemory,
    rings: OnceLock<Box<[Vring]>>,
    seated: SyncSender<()>,
    scratch: Mutex<Chain>,
    exit: Mutex<Option<RawFd>>,
    /// Tells the worker that something came for a queue from outside.
    wake: EventFd,
    /// The features that were agreed on.
    features: AtomicU64,
}

impl Session {
    /// A connection that nobody has said anything on. `seated` is told when its rings are known.
    ///
    /// # Errors
    /// There is no eventfd left.
    pub fn new(lasting: Arc<Lasting>, seated: SyncSender<()>) -> io::Result<Self> {
        let mut scratch = Chain::default();
        scratch.reserve(lasting.shape.queue_size.largest());
        Ok(Self {
            lasting,
            memory: SharedMemory::new(GuestMemoryMmap::default()),
            rings: OnceLock::new(),
            seated,
            scratch: Mutex::new(scratch),
            exit: Mutex::new(None),
            wake: EventFd::new(EFD_NONBLOCK)?,
            features: AtomicU64::new(0),
        })
    }

    /// The memory that the frontend shares.
    pub fn memory(&self) -> SharedMemory {
        self.memory.clone()
    }

    /// Its rings, once they are known.
    pub fn rings(&self) -> &[Vring] {
        self.rings.get().map_or(&[], |rings| rings)
    }

    /// The event under which the worker is told to make its rings known.
    pub fn seat_event(&self) -> u64 {
        u64::from(self.lasting.shape.queues) + 1
    }

    /// What wakes the worker for [`wake`](Self::wake), and the event under which it hears of it.
    pub fn wake_event(&self) -> (RawFd, u64) {
        (self.wake.as_raw_fd(), self.seat_event() + 1)
    }

    /// Lets the worker look at the queues that the device woke.
    pub fn wake(&self) {
        // Full means that it is awake already.
        let _ = self.wake.write(1);
    }

    /// Stops every ring; afterwards no buffer is used any more.
    pub fn stop(&self) {
        for ring in self.rings() {
            ring.set_enabled(false);
            *ring.locked().served = None;
        }
    }

    /// Closes what the worker left open. To be called when the worker has ended.
    pub fn close(&self) {
        let exit = self
            .exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(exit) = exit {
            // SAFETY: the worker's event loop gave up the ownership of this descriptor when it
            // put it into its epoll set, and has ended; nobody else knows it.
            drop(unsafe { OwnedFd::from_raw_fd(exit) });
        }
    }

    fn observe(&self, input: Input) {
        if let Some(observer) = &self.lasting.observer {
            observer.observe(input);
        }
    }

    /// Whether rings are shown from here: an observer that raises interrupts sees them in no other
    /// way.
    fn shows_rings(&self) -> bool {
        let observer = self.lasting.observer.as_ref();
        observer.is_some_and(|observer| observer.raises_interrupts())
    }

    /// Shows a ring to the observer.
    fn show_ring(&self, index: u16, ring: &Vring) {
        let Some(observer) = &self.lasting.observer else {
            return;
        };
        let setup = ring.setup(index);
        let mut next = None;
        if self.ring_features().packed
            && !observer.with_ledger(&mut |ledger| next = Some(ledger.next(index)))
        {
            return;
        }
        observer.ring(&|dev| sample_ring(&self.memory.memory(), dev, &setup, next));
    }

    /// The features of rings that were agreed on.
    pub fn ring_features(&self) -> RingFeatures {
        RingFeatures::of(self.features.load(Ordering::Acquire))
    }
}

impl VhostUserBackend for Session {
    type Bitmap = ();
    type Vring = Vring;

    fn num_queues(&self) -> usize {
        usize::from(self.lasting.shape.queues)
    }

    fn max_queue_size(&self) -> usize {
        let own = usize::from(self.lasting.shape.queue_size.largest());
        own.max(SIZE_OF_OTHERS)
    }

    fn features(&self) -> u64 {
        // QEMU passes on that a driver of the legacy interface has accepted ANY_LAYOUT.
        let shape = &self.lasting.shape;
        let legacy = if shape.attach == Attach::VhostUser && shape.has_legacy() {
            1 << VIRTIO_F_ANY_LAYOUT
        } else {
            0
        };
        let own = self.lasting.device().features();
        own | legacy | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn acked_features(&self, features: u64) {
        self.features.store(features, Ordering::Release);
        self.rings().iter().for_each(|ring| ring.agree(features));
        self.lasting.device().accept(features);
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::RESET_DEVICE
    }

    fn reset_device(&self) {
        self.lasting.device().accept(0);
        self.rings().iter().for_each(Vring::pass);
    }

    fn set_event_idx(&self, _enabled: bool) {
        // The rings know.
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        self.lasting.device().configuration().window(offset, size)
    }

    fn set_config(&self, offset: u32, buffer: &[u8]) -> io::Result<()> {
        self.lasting.device().written(offset, buffer);
        Ok(())
    }

    fn update_memory(&self, _memory: SharedMemory) -> io::Result<()> {
        // The new memory is in place; nobody may be left who works on the old.
        self.rings().iter().for_each(Vring::pass);
        Ok(())
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        vec![u64::MAX >> (u64::BITS - u32::from(self.lasting.shape.queues))]
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        let flags = EventFlag::NONBLOCK | EventFlag::CLOEXEC;
        let (consumer, notifier) = new_event_consumer_and_notifier(flags).ok()?;
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(consumer.as_raw_fd());
        Some((consumer, notifier))
    }

    fn stop_vring(&self, index: u32) -> io::Result<()> {
        if let Some(ring) = self.rings().get(index as usize) {
            // Whoever works on it now is waited for.
            if let Err(error) = self.use_served(index as u16, ring, ring.locked()) {
                log::warn!("queue {index}: {error}");
            }
            if ring.begins_anew() {
                self.lasting.device().stopped(index as u16);
            }
        }
        // A function that keeps the ledger with us has looked before, and waits for this now.
        if self.shows_rings() {
            let memory = self.memory.memory();
            let found = self.watch(|ledger, found| {
                found.extend(ledger.look(memory.deref(), index as u16));
                ledger.forget(index as u16);
            });
            self.note(found);
        }
        Ok(())
    }

    fn handle_event(
        &self,
        event: u16,
        _set: EventSet,
        vrings: &[Vring],
        _thread: usize,
    ) -> io::Result<()> {
        let handled = catch_unwind(AssertUnwindSafe(|| self.handle(event, vrings)));
        handled.map_err(|panic| {
            let died = Died::thread("of the backend's queues", &*panic);
            let text = died.to_string();
            // Only the first is told.
            let _ = self.lasting.died.set(died);
            io::Error::other(text)
        })
    }
}

impl Session {
    /// Does what an event of the worker asks for.
    fn handle(&self, event: u16, vrings: &[Vring]) {
        if u64::from(event) == self.seat_event() {
            if self.rings.set(vrings.into()).is_ok() {
                // Whoever waits for it may have given up.
                let _ = self.seated.try_send(());
            }
        } else if u64::from(event) == self.wake_event().1 {
            // Nothing to read means that it was looked at already.
            let _ = self.wake.read();
            self.follow(self.woken());
        } else if let Some(ring) = vrings.get(usize::from(event)) {
            self.work(event, ring);
        }
    }
}

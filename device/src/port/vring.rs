//! A vring that outlives its frontend's surprises, and tells when it was stopped.

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vhost_user_backend::{VringMutex, VringState, VringStateGuard, VringStateMutGuard, VringT};
use virtio_queue::{Error as QueueError, Queue, QueueT};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::event::EventNotifier;

use super::running::{Running, Served};
use crate::backend::{Packed, RingFeatures};
use crate::spec::NO_VECTOR;
use crate::trace::QueueSetup;

/// Guest memory that a frontend may replace at any time.
pub type SharedMemory = GuestMemoryAtomic<GuestMemoryMmap>;

/// One queue of one connection.
#[derive(Clone)]
pub struct Vring {
    state: VringMutex<SharedMemory>,
    seat: Arc<Seat>,
}

#[derive(Default)]
struct Seat {
    /// Counts stops: work that began before one must not go on after it.
    stops: AtomicU64,
    /// The driver broke the ring; nothing more is taken from it until it is started again.
    broken: AtomicBool,
    /// A notification came since the ring was started.
    known: AtomicBool,
    /// What the device writes about notifications stays as it is.
    frozen: AtomicBool,
    /// A notification was read and not yet looked at.
    kicked: AtomicBool,
    /// The ring was stopped before it was empty.
    left: AtomicBool,
    /// What the frontend said of the ring: the features agreed on, its size, and where it begins.
    features: AtomicU64,
    size: AtomicU16,
    base: AtomicU16,
    /// The ring, if it is packed: since it was begun.
    packed: Mutex<Option<Packed>>,
    /// At the next start it begins anew, and does not go on.
    anew: AtomicBool,
    /// What was finished and is not used yet.
    served: Mutex<Option<Served>>,
    error: Mutex<Option<EventNotifier>>,
}

impl Vring {
    /// The ring's state, if it may be worked on.
    pub fn running(&self) -> Option<Running<'_>> {
        let running = self.locked();
        let runs = running.state.get_queue().ready() && running.state.is_enabled();
        (runs && !self.seat.broken.load(Ordering::Relaxed)).then_some(running)
    }

    /// The ring's state, whether or not it runs.
    pub fn locked(&self) -> Running<'_> {
        let state = self.state.get_mut();
        let served = self.seat.served.lock();
        Running {
            state,
            packed: self.packed(),
            served: served.unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn packed(&self) -> MutexGuard<'_, Option<Packed>> {
        self.seat
            .packed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// These features were agreed on; they count from the next start, at which the ring begins anew.
    pub fn agree(&self, features: u64) {
        self.seat.features.store(features, Ordering::Relaxed);
        self.seat.anew.store(true, Ordering::Relaxed);
    }

    /// The ring as the frontend set it up, for queue `index`.
    pub fn setup(&self, index: u16) -> QueueSetup {
        let state = self.state.get_ref();
        let queue = state.get_queue();
        QueueSetup {
            index,
            size: match self.seat.size.load(Ordering::Relaxed) {
                0 => queue.size(),
                size => size,
            },
            desc: queue.desc_table(),
            driver: queue.avail_ring(),
            device: queue.used_ring(),
            vector: NO_VECTOR,
        }
    }

    /// Whether the next start of the ring begins anew: a stop is for good.
    pub fn begins_anew(&self) -> bool {
        self.seat.anew.load(Ordering::Relaxed)
    }

    /// Counts the times that the ring was stopped.
    pub fn stops(&self) -> u64 {
        self.seat.stops.load(Ordering::Acquire)
    }

    /// The ring's state, if it has not been stopped since `stops` was read.
    pub fn still_running(&self, stops: u64) -> Option<Running<'_>> {
        self.running().filter(|_| self.stops() == stops)
    }

    /// From now on the device says nothing new about notifications, until the ring is started again.
    pub fn freeze(&self) {
        self.seat.frozen.store(true, Ordering::Relaxed);
    }

    /// Whether the device may say when it wants to be notified.
    pub fn is_frozen(&self) -> bool {
        self.seat.frozen.load(Ordering::Relaxed)
    }

    /// Waits for whoever works on the ring now.
    pub fn pass(&self) {
        drop(self.state.get_ref());
    }

    /// Takes nothing more from the ring until it is started again, and tells the frontend.
    pub fn give_up(&self) {
        self.seat.broken.store(true, Ordering::Relaxed);
        let error = self
            .seat
            .error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = error.as_ref() {
            // A full counter has told already.
            let _ = error.notify();
        }
    }

    /// Whether a notification came since this was asked last.
    pub fn take_kick(&self) -> bool {
        self.seat.kicked.swap(false, Ordering::Relaxed)
    }

    /// Whether a notification came since the ring was started.
    pub fn is_known(&self) -> bool {
        self.seat.known.load(Ordering::Relaxed)
    }

    /// Whether work was left the last time. Asking forgets it.
    pub fn take_left(&self) -> bool {
        self.seat.left.swap(false, Ordering::Relaxed)
    }

    /// There may be chains left for when the ring runs again.
    pub fn leave(&self) {
        self.seat.left.store(true, Ordering::Relaxed);
    }

    /// Raises the queue's interrupt, if the frontend gave a way to do so.
    pub fn call(&self) {
        // A full counter has raised it already.
        let _ = self.state.signal_used_queue();
    }
}

impl<'a> VringStateGuard<'a, SharedMemory> for Vring {
    type G = MutexGuard<'a, VringState<SharedMemory>>;
}

impl<'a> VringStateMutGuard<'a, SharedMemory> for Vring {
    type G = MutexGuard<'a, VringState<SharedMemory>>;
}

impl VringT<SharedMemory> for Vring {
    fn new(memory: SharedMemory, max_queue_size: u16) -> Result<Self, QueueError> {
        Ok(Self {
            state: VringMutex::new(memory, max_queue_size)?,
            seat: Arc::default(),
        })
    }

    fn get_ref(&self) -> MutexGuard<'_, VringState<SharedMemory>> {
        self.state.get_ref()
    }

    fn get_mut(&self) -> MutexGuard<'_, VringState<SharedMemory>> {
        self.state.get_mut()
    }

    fn set_queue_ready(&self, ready: bool) {
        let setup = self.setup(0);
        let mut state = self.state.get_mut();
        if ready {
            let features = RingFeatures::of(self.seat.features.load(Ordering::Relaxed));
            let event_idx = state.get_queue().event_idx_enabled();
            let base = self.seat.base.load(Ordering::Relaxed);
            let mut packed = self.packed();
            // One that goes on has chains that were taken and are not used.
            let goes_on = |ring: &Packed| *ring.setup() == setup && ring.base() == base;
            if self.seat.anew.swap(false, Ordering::Relaxed)
                || !packed.as_ref().is_some_and(goes_on)
            {
                *packed = features.packed.then(|| Packed::new(setup, event_idx, base));
            }
            drop(packed);
            // A queue of its own for each start: the count of used elements since the last
            // interrupt must not come from an earlier one.
            if let Ok(queue) = Queue::try_from(state.get_queue().state()) {
                *state.get_queue_mut() = queue;
            }
            self.seat.broken.store(false, Ordering::Relaxed);
            self.seat.frozen.store(false, Ordering::Relaxed);
            self.seat.known.store(false, Ordering::Relaxed);
        } else {
            self.seat.stops.fetch_add(1, Ordering::Release);
        }
        state.get_queue_mut().set_ready(ready);
    }

    fn set_kick(&self, file: Option<File>) {
        if let Some(file) = &file {
            // A worker that was woken for an older descriptor must not wait on this one.
            let _ = rustix::io::ioctl_fionbio(file, true);
        }
        self.state.set_kick(file);
    }

    fn read_kick(&self) -> io::Result<bool> {
        match self.state.read_kick() {
            Ok(enabled) => {
                self.seat.kicked.store(true, Ordering::Relaxed);
                self.seat.known.store(true, Ordering::Relaxed);
                Ok(enabled)
            }
            // The descriptor was replaced since it woke us. An error here would end the worker.
            Err(_) => Ok(false),
        }
    }

    fn set_err(&self, file: Option<File>) {
        // SAFETY: `file` was the only owner of its descriptor, and gives it up here.
        let notifier = file.map(|f| unsafe { EventNotifier::from_raw_fd(f.into_raw_fd()) });
        *self
            .seat
            .error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = notifier;
    }

    fn add_used(&self, desc_index: u16, len: u32) -> Result<(), QueueError> {
        self.state.add_used(desc_index, len)
    }

    fn signal_used_queue(&self) -> io::Result<()> {
        self.state.signal_used_queue()
    }

    fn enable_notification(&self) -> Result<bool, QueueError> {
        self.state.enable_notification()
    }

    fn disable_notification(&self) -> Result<(), QueueError> {
        self.state.disable_notification()
    }

    fn needs_notification(&self) -> Result<bool, QueueError> {
        self.state.needs_notification()
    }

    fn set_enabled(&self, enabled: bool) {
        if !enabled {
            self.seat.anew.store(true, Ordering::Relaxed);
        }
        self.state.set_enabled(enabled);
    }

    fn set_queue_info(&self, desc: u64, avail: u64, used: u64) -> Result<(), QueueError> {
        self.state.set_queue_info(desc, avail, used)
    }

    fn queue_next_avail(&self) -> u16 {
        let packed = self.packed().as_ref().map(Packed::base);
        packed.unwrap_or_else(|| self.state.queue_next_avail())
    }

    fn set_queue_next_avail(&self, base: u16) {
        self.seat.base.store(base, Ordering::Relaxed);
        self.state.set_queue_next_avail(base);
    }

    fn set_queue_next_used(&self, index: u16) {
        self.state.set_queue_next_used(index);
    }

    fn queue_used_idx(&self) -> Result<u16, QueueError> {
        self.state.queue_used_idx()
    }

    fn set_queue_size(&self, size: u16) {
        self.seat.size.store(size, Ordering::Relaxed);
        // A packed ring can have any size, of which the crate knows nothing.
        if size.is_power_of_two() {
            self.state.set_queue_size(size);
        }
    }

    fn set_queue_event_idx(&self, enabled: bool) {
        self.state.set_queue_event_idx(enabled);
    }

    fn set_call(&self, file: Option<File>) {
        self.state.set_call(file);
    }
}

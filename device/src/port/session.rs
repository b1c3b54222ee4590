//! One connection of a frontend to our backend.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VringT};
use virtio_queue::QueueT;
use vm_memory::{GuestAddressSpace, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{
    EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier,
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::memory::sample_ring;
use super::running::Running;
use super::vring::{SharedMemory, Vring};
use crate::backend::{BrokenRing, Chain, Device, Ledger, Look, Observer, RingFeatures, write_used};
use crate::shape::{MAX_OWN_QUEUES, Shape};
use crate::trace::{Effect, Input, QueueSetup, RingWrite, What};

/// One worker of `vhost-user-backend` can't tell more queues apart.
const _: () = assert!(MAX_OWN_QUEUES as u32 <= u64::BITS);

/// What outlives a connection.
pub struct Lasting {
    pub shape: Shape,
    pub device: Mutex<Box<dyn Device>>,
    pub observer: Option<Arc<dyn Observer>>,
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

/// How far a ring came.
enum Turn {
    /// A chain was used, or more may be available.
    More,
    /// Nothing is available.
    Rest,
    /// The ring was stopped.
    Stopped,
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
        let packed = self.ring_features().packed;
        observer.ring(&|dev| sample_ring(&self.memory.memory(), dev, &setup, packed));
    }

    /// The features of rings that were agreed on.
    pub fn ring_features(&self) -> RingFeatures {
        RingFeatures::of(self.features.load(Ordering::Acquire))
    }

    /// Lets `act` have the observer's ledger, if it keeps one, and returns what that finds out.
    fn watch(&self, mut act: impl FnMut(&mut Ledger, &mut Vec<What>)) -> Vec<What> {
        let mut found = Vec::new();
        if let Some(observer) = &self.lasting.observer {
            observer.with_ledger(&mut |ledger| act(ledger, &mut found));
        }
        found
    }

    /// What there is to tell of the next chain of a ring, before anything is done to it.
    fn look_at_next(&self, setup: QueueSetup, ring: &Running<'_>) -> Vec<What> {
        let memory = self.memory.memory();
        let index = setup.index;
        self.watch(|ledger, found| {
            if !ledger.watches(index) {
                ledger.watch(memory.deref(), setup, self.ring_features());
            }
            if ring.has_next(memory.deref()) {
                let chain = ledger.fetched(memory.deref(), index, ring.position());
                found.extend(chain.map(|chain| What::Chain(Box::new(chain))));
            }
        })
    }

    /// Tells what was found out. No lock may be held.
    fn note(&self, found: Vec<What>) {
        if let Some(observer) = &self.lasting.observer {
            found.into_iter().for_each(|what| observer.note(what));
        }
    }

    /// Writes to the device area of a ring with `write`, and lets the ledger know that it was us.
    fn write_ring<T>(&self, index: u16, mut write: impl FnMut() -> T) -> (T, Vec<What>) {
        let memory = self.memory.memory();
        let mut result = None;
        let found = self.watch(|ledger, found| {
            found.extend(ledger.look(memory.deref(), index));
            result = Some(write());
            ledger.wrote(memory.deref(), index);
        });
        (result.unwrap_or_else(write), found)
    }

    /// Works on a ring until it is empty, stopped or broken, if the driver notified it. The worker
    /// also comes here when a ring is enabled: what was left of it goes on, and nothing begins that
    /// the driver has not notified, so that a notification always comes before its chains.
    fn work(&self, index: u16, ring: &Vring) {
        let kicked = ring.take_kick();
        if !kicked && !ring.take_left() {
            return;
        }
        if kicked && self.lasting.observer.is_some() {
            self.show_ring(index, ring);
            self.observe(Input::Kick { queue: index });
        }
        self.follow(1 << index);
    }

    /// Works on the queues whose bits are set, and on those that the device wakes meanwhile. The
    /// first comes first: a frame that goes out on one queue comes in on another before the next.
    fn follow(&self, mut queues: u64) {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        while queues != 0 {
            let index = queues.trailing_zeros() as u16;
            let Some(ring) = self.rings().get(usize::from(index)) else {
                return;
            };
            let more = match self.turn(index, ring, &mut scratch) {
                Ok(Turn::More) => true,
                Ok(Turn::Rest) => false,
                Ok(Turn::Stopped) => {
                    ring.leave();
                    false
                }
                Err(error) => {
                    log::warn!("queue {index} is broken: {error}");
                    ring.give_up();
                    self.observe(Input::Broken);
                    false
                }
            };
            if !more {
                queues &= !(1 << index);
            }
            queues |= self.woken();
        }
    }

    /// The queues that the device woke, without those that the driver has never notified: what has
    /// come for them is found when it does.
    fn woken(&self) -> u64 {
        let woken = self.lasting.device().offer_mut().take_woken();
        let rings = self.rings().iter().enumerate();
        rings
            .filter(|(_, ring)| ring.is_known())
            .fold(0, |queues, (index, _)| queues | woken & 1 << index)
    }

    /// Takes one chain from available to used.
    ///
    /// A chain stays available until it is used, and the ring is not locked while the observer
    /// hears of it: a stop in between leaves the chain to the next start.
    fn turn(&self, index: u16, ring: &Vring, chain: &mut Chain) -> Result<Turn, BrokenRing> {
        let stops = ring.stops();
        let setup = ring.setup(index);
        let Some(mut state) = ring.running() else {
            return Ok(Turn::Stopped);
        };
        let mut memory = self.memory.memory();
        let found = self.look_at_next(setup, &state);
        if !found.is_empty() {
            drop(state);
            self.note(found);
            let Some(again) = ring.still_running(stops) else {
                return Ok(Turn::Stopped);
            };
            state = again;
            memory = self.memory.memory();
        }
        let position = state.position();
        if !state.peek(memory.deref(), chain)? {
            let (more, found) = self.write_ring(index, || ask(ring, &mut state, memory.deref()));
            drop(state);
            self.note(found);
            return Ok(if more? { Turn::More } else { Turn::Rest });
        }
        let head = chain.head();
        let unanswerable = |source| BrokenRing::Chain { head, source };
        let mut device = self.lasting.device();
        let look = device.look(memory.deref(), index, chain);
        if look.map_err(unanswerable)? == Look::Wait {
            return Ok(Turn::Rest);
        }
        if self.lasting.observer.is_some() {
            let request = device.words(index);
            drop((device, state));
            self.observe(Input::Chain {
                queue: index,
                head,
                request,
            });
            let Some(again) = ring.still_running(stops) else {
                return Ok(Turn::Stopped);
            };
            state = again;
            memory = self.memory.memory();
            device = self.lasting.device();
        }
        let before = *device.configuration();
        let len = device.serve(memory.deref(), index, chain);
        let changed = before.change(device.configuration());
        drop(device);
        let len = len.map_err(unanswerable)?;
        if self.lasting.observer.is_some() {
            let found = self.watch(|ledger, found| {
                found.extend(ledger.look(memory.deref(), index));
                ledger.used(index, position);
            });
            // Only what stands in split rings is the observer's.
            let passes_on = self.writes_used() && state.packed.is_none();
            if passes_on {
                let queue = state.state.get_queue_mut();
                queue.set_next_avail(queue.next_avail().wrapping_add(1));
                let (asked, _) = self.write_ring(index, || ask(ring, &mut state, memory.deref()));
                asked?;
            }
            drop(state);
            self.note(found);
            if let Some((offset, bytes)) = changed {
                self.observe(Input::Reconfigured { offset, bytes });
            }
            if self.shows_rings() {
                self.show_ring(index, ring);
            }
            self.observe(Input::Complete {
                queue: index,
                head,
                len,
            });
            if passes_on {
                return Ok(Turn::More);
            }
            let Some(again) = ring.still_running(stops) else {
                return Ok(Turn::Stopped);
            };
            state = again;
            memory = self.memory.memory();
        }
        let (interrupt, found) = self.write_ring(index, || {
            state.settle(memory.deref(), head, len)?;
            let interrupt = state.needs_interrupt(memory.deref())?;
            if interrupt && state.is_drained(memory.deref())? {
                // Asked for before the interrupt: what the driver does on it is then always
                // notified, and the same run makes the same notifications.
                state.enable_notification(memory.deref())?;
            }
            Ok::<_, BrokenRing>(interrupt)
        });
        let wanted = interrupt?;
        if wanted && found.is_empty() && !self.shows_rings() {
            // Before the ring can be stopped: who stops it to go on later keeps the interrupt.
            let _ = state.state.signal_used_queue();
            return Ok(Turn::More);
        }
        drop(state);
        self.note(found);
        if wanted {
            self.raise(index, ring);
        }
        Ok(Turn::More)
    }

    fn writes_used(&self) -> bool {
        let observer = self.lasting.observer.as_ref();
        observer.is_some_and(|observer| observer.writes_used())
    }

    /// Writes into a used ring what the observer made of it, whether or not the ring runs. Returns
    /// whether the driver wants an interrupt.
    pub fn write_used(&self, index: u16, effects: &[Effect]) -> bool {
        let Some(ring) = self.rings().get(usize::from(index)) else {
            return false;
        };
        if ring.is_packed() {
            return false;
        }
        let stays = |effect: &Effect| {
            let silent = |write: &RingWrite| !matches!(write, RingWrite::Jump(_));
            matches!(effect, Effect::Ring { write, .. } if silent(write))
        };
        if effects.iter().any(stays) {
            ring.freeze();
        }
        let mut state = ring.get_mut();
        let memory = self.memory.memory();
        // What the driver did to the ring can't be told from here: the observer may be waiting for us.
        let (written, _) = self.write_ring(index, || {
            write_used(state.get_queue(), memory.deref(), effects)
        });
        match written {
            Ok((next, interrupt)) => {
                state.get_queue_mut().set_next_used(next);
                interrupt
            }
            Err(error) => {
                log::warn!("queue {index}: {error}");
                false
            }
        }
    }

    fn raise(&self, index: u16, ring: &Vring) {
        match &self.lasting.observer {
            Some(observer) if observer.raises_interrupts() => {
                self.show_ring(index, ring);
                observer.observe(Input::Used { queue: index });
            }
            _ => ring.call(),
        }
    }
}

/// Asks to be notified of the next chain, unless the ring is to stay as it is. Returns whether there are
/// chains already.
fn ask(
    ring: &Vring,
    state: &mut Running<'_>,
    memory: &GuestMemoryMmap,
) -> Result<bool, BrokenRing> {
    if ring.is_frozen() {
        return Ok(!state.is_drained(memory)?);
    }
    state.enable_notification(memory)
}

impl VhostUserBackend for Session {
    type Bitmap = ();
    type Vring = Vring;

    fn num_queues(&self) -> usize {
        usize::from(self.lasting.shape.queues)
    }

    fn max_queue_size(&self) -> usize {
        usize::from(self.lasting.shape.queue_size.largest())
    }

    fn features(&self) -> u64 {
        self.lasting.device().features() | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
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
            ring.pass();
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
        Ok(())
    }
}

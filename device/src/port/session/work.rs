//! What the worker of a connection does with its rings.

use std::ops::Deref;
use std::sync::PoisonError;

use smallvec::SmallVec;
use vm_memory::{GuestAddressSpace, GuestMemoryMmap};

use super::Session;
use crate::backend::{BrokenRing, Chain, Ledger, Look};
use crate::port::running::{Running, Served};
use crate::port::vring::Vring;
use crate::trace::{Effect, Input, QueueSetup, RingWrite, What};

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
    /// Lets `act` have the observer's ledger, if it keeps one, and returns what that finds out.
    pub(super) fn watch(&self, mut act: impl FnMut(&mut Ledger, &mut Vec<What>)) -> Vec<What> {
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
    pub(super) fn note(&self, found: Vec<What>) {
        if let Some(observer) = &self.lasting.observer {
            found.into_iter().for_each(|what| observer.note(what));
        }
    }

    /// Writes to the device's part of a ring with `write`, and lets the device and the ledger know which
    /// buffers the driver has back.
    fn write_ring<T>(
        &self,
        index: u16,
        back: &[u16],
        mut write: impl FnMut() -> T,
    ) -> (T, Vec<What>) {
        if !back.is_empty() {
            let mut device = self.lasting.device();
            back.iter().for_each(|head| device.used(index, *head));
        }
        let memory = self.memory.memory();
        let mut result = None;
        let found = self.watch(|ledger, found| {
            found.extend(ledger.look(memory.deref(), index));
            result = Some(write());
            back.iter().for_each(|head| ledger.used(index, *head));
            ledger.wrote(memory.deref(), index);
        });
        (result.unwrap_or_else(write), found)
    }

    /// Works on a ring until it is empty, stopped or broken, if the driver notified it. The worker
    /// also comes here when a ring is enabled: what was left of it goes on, and nothing begins that
    /// the driver has not notified, so that a notification always comes before its chains.
    pub(super) fn work(&self, index: u16, ring: &Vring) {
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
    pub(super) fn follow(&self, mut queues: u64) {
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
    pub(super) fn woken(&self) -> u64 {
        let woken = self.lasting.device().offer_mut().take_woken();
        let rings = self.rings().iter().enumerate();
        rings
            .filter(|(_, ring)| ring.is_known())
            .fold(0, |queues, (index, _)| queues | woken & 1 << index)
    }

    /// Takes one chain from available to used.
    ///
    /// A chain stays available until the device has served it, and the ring is not locked while the
    /// observer hears of it: a stop in between leaves the chain to the next start. One that was served
    /// is made used by whoever comes first, the worker or the stop.
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
        if !state.peek(memory.deref(), chain)? {
            let (more, found) =
                self.write_ring(index, &[], || ask(ring, &mut state, memory.deref()));
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
        state.take();
        if self.lasting.observer.is_some() {
            let mut found =
                self.watch(|ledger, found| found.extend(ledger.look(memory.deref(), index)));
            let mut next = None;
            if self.writes_used() {
                let write = || ask(ring, &mut state, memory.deref());
                let (asked, more) = self.write_ring(index, &[], write);
                found.extend(more);
                next = Some(if asked? { Turn::More } else { Turn::Rest });
            } else {
                *state.served = Some(Served { head, len });
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
            if let Some(next) = next {
                // What became available since is notified, or is not to be seen: looking again would
                // find it or not, as chance will have it.
                return Ok(next);
            }
            state = ring.locked();
        } else {
            *state.served = Some(Served { head, len });
        }
        let used = self.use_served(index, ring, state)?;
        Ok(if used { Turn::More } else { Turn::Stopped })
    }

    /// Makes used what was served, unless somebody has, and interrupts the driver if it likes. Returns
    /// whether there was something.
    pub(super) fn use_served(
        &self,
        index: u16,
        ring: &Vring,
        mut state: Running<'_>,
    ) -> Result<bool, BrokenRing> {
        let Some(Served { head, len }) = state.served.take() else {
            return Ok(false);
        };
        let memory = self.memory.memory();
        let (interrupt, found) = self.write_ring(index, &[head], || {
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
            return Ok(true);
        }
        drop(state);
        self.note(found);
        if wanted {
            self.raise(index, ring);
        }
        Ok(true)
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
        let stays = |effect: &Effect| {
            let silent = |write: &RingWrite| !matches!(write, RingWrite::Jump(_));
            matches!(effect, Effect::Ring { write, .. } if silent(write))
        };
        if effects.iter().any(stays) {
            ring.freeze();
        }
        let back: SmallVec<[u16; 2]> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Complete { id, .. } => u16::try_from(*id).ok(),
                _ => None,
            })
            .collect();
        let mut state = ring.locked();
        let memory = self.memory.memory();
        // What the driver did to the ring can't be told from here: the observer may be waiting for us.
        let write = || state.write_used(memory.deref(), effects);
        let (written, _) = self.write_ring(index, &back, write);
        written.unwrap_or_else(|error| {
            log::warn!("queue {index}: {error}");
            false
        })
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

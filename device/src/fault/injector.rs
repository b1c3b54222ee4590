//! The only place where a fault meets a device.
//!
//! One step: triggers that come *before* (an access, a reset, a command, a time) are held against the
//! input; what fires may change what the device hears. Then the device hears it. Its effects are
//! walked through one by one, interrupts being held against the triggers as they come; what fires may
//! change them, or have the device hear more. At last come the triggers *after*.
//!
//! Nothing here is without bound, whatever the guest does: a step fires at most [`MAX_FIRINGS`] faults
//! and lets the device hear at most [`MAX_HEARD`] inputs more; beyond that faults stay silent. What
//! faults send beside the device ends when [`MAX_SHOWN`] effects are shown.

mod interrupts;
mod step;

use smallvec::SmallVec;

use super::Fault;
use super::act::Firing;
use super::bench::{Bench, Fate, Scene, State};
use super::predicate::Facts;
use super::schedule::{Counter, Era};
use super::trigger::{Occasion, On, Source};
use crate::endpoint::{Endpoint, Nanos};
use crate::shape::Kind;
use crate::spec::{CommonCfg, Field};
use crate::trace::{Access, Cause, Device, Effects, Fired, Hello, Input, Op, TableEntry};
use step::Run;

/// The most faults that fire in one step.
pub const MAX_FIRINGS: usize = 256;
/// The most inputs that a device hears in one step beside the input itself.
pub const MAX_HEARD: usize = 4096;
/// The most effects that one step shows on account of faults.
pub const MAX_SHOWN: usize = 8192;
/// The most firings that wait for their time (`live+200ms`).
const MAX_LATER: usize = 64;

/// A device with faults around it.
#[derive(Debug)]
pub struct Injector<E> {
    inner: E,
    dev: u8,
    world: Device,
    armed: Vec<Armed>,
    state: State,
    /// When the first input came.
    start: Option<Nanos>,
    /// Some fault changes what is written into used rings.
    rings: bool,
}

/// What one step of an [`Injector`] brought about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The faults that fired, in order; they are recorded before the step.
    pub fired: SmallVec<[Fired; 1]>,
    /// What the device heard, if not just the input.
    pub heard: Option<Vec<Input>>,
    /// What the outside is shown.
    pub shown: Effects,
    /// What the device meant, if something else.
    pub meant: Option<Effects>,
}

/// A fault, and how it stands.
#[derive(Clone, Debug)]
struct Armed {
    fault: Fault,
    counter: Counter,
    rng: fastrand::Rng,
    /// How often it has fired.
    fired: u64,
    /// The answers to its `seen(…)`.
    seen: Vec<bool>,
    /// When its own time comes (`at=`, `every=`).
    timer: Option<Nanos>,
}

impl Armed {
    fn new(index: usize, fault: Fault, seed: u64) -> Self {
        // Each fault draws from a sequence of its own, so that another one beside it changes nothing.
        let own = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let seen = fault.condition.as_ref().map_or(0, |c| c.used().seen.len());
        Self {
            counter: Counter::new(fault.nth, fault.per, fault.until.clone()),
            rng: fastrand::Rng::with_seed(seed ^ own),
            fired: 0,
            seen: vec![false; seen],
            timer: None,
            fault,
        }
    }

    fn saw(&mut self, access: &Access) {
        let Some(condition) = &self.fault.condition else {
            return;
        };
        let generation = Some(Field::Common(CommonCfg::ConfigGeneration));
        if access.op == Op::Read && access.register() == generation {
            self.seen.fill(false);
        }
        for (seen, pattern) in self.seen.iter_mut().zip(&condition.used().seen) {
            *seen |= pattern.matches(access);
        }
    }
}

impl<E: Endpoint> Injector<E> {
    /// Arms `faults` around `inner`. Everything random comes from `seed`.
    pub fn new(inner: E, hello: Hello, faults: Vec<Fault>, seed: u64) -> Self {
        let mut config = vec![0; hello.shape.kind.config_bytes() as usize];
        if hello.shape.kind == Kind::Block {
            config[..8].copy_from_slice(&hello.shape.capacity.to_le_bytes());
        }
        let state = State {
            wired: vec![false; usize::from(hello.shape.table_size())],
            wirings: vec![0; usize::from(hello.shape.table_size())],
            config,
            ..State::default()
        };
        let rings = faults.iter().any(Fault::touches_rings);
        Self {
            inner,
            rings,
            dev: hello.dev,
            world: Device::new(hello.shape, hello.features),
            armed: faults
                .into_iter()
                .enumerate()
                .map(|(index, fault)| Armed::new(index, fault, seed))
                .collect(),
            state,
            start: None,
        }
    }

    /// When the injector next wants [`Input::Time`], if nothing happens before.
    pub fn deadline(&self) -> Option<Nanos> {
        let held = self.state.held.iter();
        let timed = held.filter(|h| !h.waits && h.kept.is_none());
        let times = timed.map(|h| h.at);
        times
            .chain(self.armed.iter().filter_map(|a| a.timer))
            .chain(self.state.later.iter().map(|(at, _)| *at))
            .chain(self.state.line.rises)
            .chain(self.state.line.up_until)
            .chain(self.state.hold.and_then(|hold| hold.until))
            .chain(self.state.rings.stalls.iter().filter_map(|s| s.until))
            .min()
    }

    /// The device inside.
    pub fn inner(&self) -> &E {
        &self.inner
    }

    /// The device as what it heard and showed tells.
    pub fn world(&self) -> &Device {
        &self.world
    }

    /// What the MSI-X table holds, read from outside: from then on `granted` has a value.
    pub fn tell_table(&mut self, entries: &[TableEntry]) {
        self.world.table = entries.to_vec();
    }

    /// Something happens: every fault that waits for it may fire, and then those that wait for these.
    fn occur(&mut self, run: &mut Run, occasion: Occasion<'_>, mut fate: Option<&mut Fate>) {
        for index in 0..self.armed.len() {
            if self.waits_for(run.now, index, &occasion) {
                self.fire(run, index, &occasion, fate.as_deref_mut());
            }
        }
        self.follow(run);
    }

    /// What faults that fired set off.
    fn follow(&mut self, run: &mut Run) {
        while let Some(id) = run.followed.pop_front() {
            for index in 0..self.armed.len() {
                if self.armed[index].counter.other_fired(&id) {
                    self.state.queue_holds.retain(|hold| hold.by != index);
                    if self.state.hold.is_some_and(|hold| hold.by == index) {
                        self.state.hold = None;
                        run.reset_ended = true;
                    }
                }
                let occasion = Occasion::Fault(&id);
                if self.waits_for(run.now, index, &occasion) {
                    self.fire(run, index, &occasion, None);
                }
            }
        }
    }

    /// Whether the fault fires now. One with a delay is remembered instead.
    fn waits_for(&mut self, now: Nanos, index: usize, occasion: &Occasion<'_>) -> bool {
        let Self {
            armed,
            world,
            state,
            ..
        } = self;
        let armed = &mut armed[index];
        if !armed.fault.trigger.matches(occasion, index) {
            return false;
        }
        if let Some(condition) = &armed.fault.condition
            && !condition.holds(&facts(occasion, world, state, &armed.seen, now))
        {
            return false;
        }
        let delay = armed.fault.trigger.delay;
        if delay == 0 && !armed.fault.act.applies(occasion, &Scene { world, state }) {
            return false;
        }
        let era = Era {
            epoch: world.epoch,
            instance: state.instance,
        };
        if !armed.counter.matched(now, era, &mut armed.rng) {
            return false;
        }
        if delay > 0 {
            if state.later.len() < MAX_LATER {
                state.later.push((now.saturating_add(delay), index));
            }
            return false;
        }
        true
    }

    fn fire(
        &mut self,
        run: &mut Run,
        index: usize,
        occasion: &Occasion<'_>,
        fate: Option<&mut Fate>,
    ) {
        if run.outcome.fired.len() >= MAX_FIRINGS {
            return;
        }
        let Self {
            armed,
            world,
            state,
            dev,
            ..
        } = self;
        let armed = &mut armed[index];
        armed.fired = armed.fired.saturating_add(1);
        let fault = &mut armed.fault;
        run.outcome.fired.push(Fired {
            dev: *dev,
            id: fault.id.clone(),
            fault: fault.name().to_owned(),
            class: fault.act.class(world),
            object: fault.act.object(occasion),
            count: armed.fired,
        });
        world.fired.insert(fault.id.clone(), armed.fired);
        run.followed.push_back(fault.id.clone());
        if let Occasion::Access { after: false, .. } = occasion {
            run.at_access.push(index);
        }
        fault.act.fire(
            occasion,
            &mut Bench {
                now: run.now,
                index,
                ends_at: armed.counter.ends_at(),
                world,
                state,
                plan: &mut run.plan,
                fate,
                rng: &mut armed.rng,
            },
        );
    }

    /// How the fault stands towards an access.
    fn firing(&mut self, run: &Run, index: usize) -> Firing {
        let epoch = self.world.epoch;
        Firing {
            now: run.at_access.contains(&index),
            goes_on: self.armed[index].counter.goes_on(run.now, epoch),
        }
    }

    /// The first input: the times of `at=` and `every=` count from here.
    fn begin(&mut self, now: Nanos) {
        if self.start.is_none() {
            self.start = Some(now);
            for armed in &mut self.armed {
                armed.timer = match armed.fault.trigger.on {
                    On::At(time) | On::Every(time) => Some(now.saturating_add(time)),
                    _ => None,
                };
            }
        }
    }

    /// An interrupt was sent: those that wait for one to go unserved count from here.
    fn awaits_service(&mut self, now: Nanos, cause: Cause, entry: Option<u16>) {
        for armed in &mut self.armed {
            if let On::IrqUnserved { source, time } = &armed.fault.trigger.on
                && source.is(cause, entry)
            {
                armed.timer.get_or_insert(now.saturating_add(*time));
            }
        }
    }

    /// The driver has looked at what `served` says: nothing of it is unserved any more.
    fn is_served(&mut self, served: impl Fn(Cause) -> bool) {
        for armed in &mut self.armed {
            if let On::IrqUnserved { source, .. } = &armed.fault.trigger.on {
                let over = match source {
                    Source::Event(cause) => served(*cause),
                    Source::Any | Source::Entry(_) => true,
                };
                armed.timer = armed.timer.filter(|_| !over);
            }
        }
    }

    /// The times that have come, with the next one set.
    fn timers_due(&mut self, now: Nanos) -> Vec<usize> {
        let mut due = Vec::new();
        for (index, armed) in self.armed.iter_mut().enumerate() {
            let Some(timer) = armed.timer.filter(|t| *t <= now) else {
                continue;
            };
            due.push(index);
            armed.timer = match armed.fault.trigger.on {
                // What was missed is not made up for.
                On::Every(period) => {
                    let next = timer.saturating_add(period);
                    Some(if next > now {
                        next
                    } else {
                        now.saturating_add(period)
                    })
                }
                _ => None,
            };
        }
        due
    }

    /// The reset that a fault holds up for a time is over, if it is.
    fn release_hold(&mut self, now: Nanos) -> bool {
        let over = self
            .state
            .hold
            .is_some_and(|hold| hold.until.is_some_and(|until| now >= until));
        if over {
            self.state.hold = None;
        }
        over
    }
}

/// What a predicate can know of an occasion.
fn facts<'a>(
    occasion: &Occasion<'_>,
    world: &'a Device,
    state: &State,
    seen: &'a [bool],
    now: Nanos,
) -> Facts<'a> {
    let since = |time: Option<Nanos>| time.map(|t| now.saturating_sub(t));
    let known = Facts {
        since_live: since(state.live_since),
        since_reset: since(state.reset_since),
        seen,
        ..Facts::new(world)
    };
    match *occasion {
        Occasion::Access { access, value, .. } => Facts {
            val: value,
            q: access.q,
            entry: match access.field {
                Some(Field::MsixEntry(entry)) => Some(entry),
                _ => None,
            },
            width: Some(access.width),
            off: Some(access.off),
            ..known
        },
        Occasion::Irq { cause, entry, .. } => Facts {
            q: match cause {
                Cause::Queue(q) => Some(q),
                _ => None,
            },
            entry,
            ..known
        },
        Occasion::Notified(q) => Facts {
            q: Some(q),
            val: Some(q.into()),
            ..known
        },
        Occasion::Chain(q) => Facts {
            q: Some(q),
            ..known
        },
        Occasion::Complete { queue, len } => Facts {
            q: Some(queue),
            val: Some(len.into()),
            ..known
        },
        _ => known,
    }
}

#[cfg(test)]
mod tests;

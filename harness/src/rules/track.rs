//! Parts that several machines share: what is still owed, and how a driver started.

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::spec::{CommonCfg as C, Field};
use misfire_device::trace::{Input, Op};

use super::machine::{At, Now, Object};
use crate::log::{MachineLine, Said, Started};

/// What the device has told the driver of, and the driver has not looked at yet.
#[derive(Clone, Debug, Default)]
pub struct Owed {
    debts: BTreeMap<Object, Debt>,
    /// When each object was last raised, looked at or not.
    last: BTreeMap<Object, u64>,
    /// Queues with used buffers that the driver was told of in no way, or in another.
    untold: BTreeSet<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Debt {
    since: u64,
    /// The guest went on with other work since.
    passed: bool,
}

impl Owed {
    /// The device tells the driver of `object`.
    pub fn raise(&mut self, object: Object, seq: u64) {
        self.debts.entry(object).or_insert(Debt {
            since: seq,
            passed: false,
        });
        self.last.insert(object, seq);
        if let Object::Queue(q) = object {
            self.untold.remove(&q);
        }
    }

    /// Drops what this event shows to be looked at. Returns it, with when it was raised.
    pub fn settle(&mut self, now: &Now<'_>) -> Vec<(Object, u64)> {
        let served: Vec<_> = self
            .debts
            .iter()
            .filter(|(object, _)| serves(now, **object))
            .map(|(object, debt)| (*object, debt.since))
            .collect();
        for (object, _) in &served {
            self.debts.remove(object);
        }
        served
    }

    /// Takes what this event proves that the driver did not look at.
    ///
    /// A failure of the guest proves it for everything. The end of an epoch or of the trace proves
    /// it for the configuration, if the guest has done other work since; for a queue it proves
    /// nothing, since the last buffers of a load are followed by nothing.
    pub fn missed(&mut self, now: &Now<'_>) -> Vec<(Object, u64)> {
        let failure = now.failure();
        if let Some(Input::Used { queue }) = now.step().map(|s| &s.input)
            && self.last.get(&Object::Queue(*queue)) != Some(&now.seq)
        {
            self.untold.insert(*queue);
        }
        if now.notifies().is_some() || now.said().and_then(Said::done).is_some() || failure {
            self.debts.values_mut().for_each(|debt| debt.passed = true);
        }
        let ends = now.ends();
        let proven = |object: &Object, debt: &Debt| {
            failure
                || misses(now).is_some_and(|q| q == *object || *object == Object::Device)
                || (ends && debt.passed && !matches!(object, Object::Queue(_)))
        };
        let mut missed: Vec<_> = self
            .debts
            .iter()
            .filter(|(object, debt)| proven(object, debt))
            .map(|(object, debt)| (*object, debt.since))
            .collect();
        // The line that says so may have been recorded after the driver's next step.
        if let Some(object @ Object::Queue(q)) = misses(now)
            && missed.is_empty()
            && !self.untold.contains(&q)
            && let Some(since) = self.last.get(&object)
        {
            missed.push((object, *since));
        }
        if ends {
            self.last.clear();
            self.untold.clear();
            self.debts.clear();
        }
        for (object, _) in &missed {
            self.debts.remove(object);
        }
        missed
    }
}

/// The queue whose request the driver says it missed.
pub fn misses(now: &Now<'_>) -> Option<Object> {
    match now.said() {
        Some(Said::Lost { queue }) => Some(Object::Queue(*queue)),
        _ => None,
    }
}

/// Whether the driver looks at the configuration, or at device_status.
fn looks_at_config(now: &Now<'_>) -> bool {
    now.access().is_some_and(|(access, _)| {
        access.op == Op::Read
            && matches!(
                access.field,
                Some(Field::Device(_) | Field::Common(C::ConfigGeneration | C::DeviceStatus))
            )
    })
}

/// Whether a queue moves on: it is notified, its available ring grows, or the guest has finished
/// what it was told to do.
fn moves_on(now: &Now<'_>, q: u16) -> bool {
    let grows = match now.at {
        At::Ring(new) if new.q == q => now
            .s
            .dev
            .queues
            .get(usize::from(q))
            .and_then(|queue| queue.ring)
            .is_some_and(|old| old.avail_idx != new.avail_idx),
        _ => false,
    };
    grows || now.success() || now.notifies().is_some_and(|(a, _)| a.q == Some(q))
}

/// Whether the driver has looked at what `object` told it of.
pub fn serves(now: &Now<'_>, object: Object) -> bool {
    match object {
        Object::Config => looks_at_config(now),
        Object::Queue(q) => moves_on(now, q),
        // Any queue: what an interrupt without a message stands for.
        Object::Device => now.success() || now.notifies().is_some(),
        Object::Port(port) => now.access().is_some_and(|(access, _)| {
            access.op == Op::Read && access.field == Some(Field::PortEvents(port))
        }),
        Object::Status | Object::Isr => false,
    }
}

/// One attempt of a driver to start its device, as the log tells it.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// Interrupt resources: when it was said, and the messages that the driver counted.
    pub resources: Vec<(u64, Option<u32>)>,
    /// Interrupt objects with a message: when it was said, the message number, the vector.
    pub objects: Vec<(u64, u32, u32)>,
    /// A connect that failed, with the status.
    pub connect_failed: Option<(u64, String)>,
    /// The driver said that it started.
    pub started: Option<(u64, Started)>,
    /// The driver said that it failed.
    pub failed: Option<(u64, String)>,
}

impl Attempt {
    /// Messages that the system granted, as far as it can be told.
    pub fn granted(&self) -> Option<u32> {
        if let Some((_, started)) = &self.started {
            return Some(started.granted);
        }
        let vectors: BTreeSet<_> = self.objects.iter().map(|(_, _, vector)| vector).collect();
        let counted: u32 = self.resources.iter().filter_map(|(_, n)| *n).sum();
        match (vectors.len() as u32, counted) {
            (0, 0) if self.on_line() => Some(0),
            (0, 0) => None,
            (vectors, counted) => Some(vectors.max(counted)),
        }
    }

    /// Whether the system granted a line.
    pub fn on_line(&self) -> bool {
        self.resources.iter().any(|(_, n)| n.is_none())
    }

    /// Whether the log says nothing of it.
    fn is_empty(&self) -> bool {
        self.resources.is_empty()
            && self.objects.is_empty()
            && self.started.is_none()
            && self.failed.is_none()
    }
}

/// All attempts of a driver to start its device.
#[derive(Clone, Debug, Default)]
pub struct Starts {
    /// Those that are over.
    pub over: Vec<Attempt>,
    open: Attempt,
}

impl Starts {
    /// Takes an event. Returns the attempt that is over with it.
    pub fn see(&mut self, now: &Now<'_>) -> Option<&Attempt> {
        let open = &mut self.open;
        let over = match now.said() {
            Some(Said::Resource { messages }) => {
                open.resources.push((now.seq, *messages));
                false
            }
            Some(Said::Interrupt {
                message: true,
                number,
                vector,
            }) => {
                open.objects.push((now.seq, *number, *vector));
                false
            }
            Some(Said::ConnectFailed { status, .. }) => {
                open.connect_failed = Some((now.seq, status.clone()));
                false
            }
            Some(Said::Machine(MachineLine::Started(started))) => {
                open.started = Some((now.seq, started.clone()));
                true
            }
            Some(Said::Machine(MachineLine::Failed { status, name, .. })) => {
                open.failed = Some((now.seq, format!("{status:#x} {name}")));
                true
            }
            Some(Said::Restart) => true,
            _ => matches!(now.at, At::End) && !open.is_empty(),
        };
        if over {
            self.over.push(std::mem::take(&mut self.open));
            self.over.last()
        } else {
            None
        }
    }

    /// The most messages granted in any attempt, as far as the log tells.
    pub fn most_granted(&self) -> Option<u32> {
        self.over
            .iter()
            .chain([&self.open])
            .filter_map(Attempt::granted)
            .max()
    }

    /// The last attempt that is over.
    pub fn last(&self) -> Option<&Attempt> {
        self.over.last()
    }
}

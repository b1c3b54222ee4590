//! Parts that several machines share: what is still owed, and how a driver started.

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::spec::{CommonCfg as C, Field};
use misfire_device::trace::{Input, Op};

use super::machine::{At, Now, Object};
use crate::log::{MachineLine, Said, Started};

/// What the device has told the driver of, and the driver has not looked at yet.
///
/// The console lags behind the registers, by much when the machine is busy. So what the driver says
/// about lost interrupts is only counted, and compared with what the device did when the guest
/// answers a command: all that it said before has been recorded by then.
#[derive(Clone, Debug, Default)]
pub struct Owed {
    debts: BTreeMap<Object, Debt>,
    /// Since the last answer, for each object: when it was raised last.
    last: BTreeMap<Object, u64>,
    /// Since the last answer: used buffers that the driver was told of in no way, or in another.
    untold: BTreeMap<Object, usize>,
    /// Since the last answer: interrupts that the driver says it lost.
    lost: BTreeMap<Object, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Debt {
    since: u64,
    /// The guest went on with other work since.
    passed: bool,
}

impl Owed {
    /// The device tells the driver of `object`; [`Object::Device`] stands for any queue.
    pub fn raise(&mut self, object: Object, seq: u64) {
        self.debts.entry(object).or_insert(Debt {
            since: seq,
            passed: false,
        });
        self.last.insert(object, seq);
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

    /// Takes what this event proves that the driver did not look at. To be called after `raise`.
    ///
    /// A guest that hangs proves it for everything; one that crashes had perhaps no time. The end of an epoch or of the trace proves
    /// it for the configuration, if the guest has done other work since; for a queue it proves
    /// nothing, since the last buffers of a load are followed by nothing. More lost interrupts than
    /// the device kept to itself prove it for a queue.
    pub fn missed(&mut self, now: &Now<'_>) -> Vec<(Object, u64)> {
        self.count(now);
        let (failure, ends) = (now.failure(), now.ends());
        let hangs = failure && !now.said().is_some_and(Said::is_crash);
        let answer = now.said().and_then(Said::done).is_some();
        if now.notifies().is_some() || answer || hangs {
            self.debts.values_mut().for_each(|debt| debt.passed = true);
        }
        let queue = |object: &Object| matches!(object, Object::Queue(_) | Object::Device);
        let mut missed: BTreeMap<_, _> = self
            .debts
            .iter()
            .filter(|(object, debt)| hangs || (ends && debt.passed && !queue(object)))
            .map(|(object, debt)| (*object, debt.since))
            .collect();
        if answer || failure || matches!(now.at, At::End) {
            for (object, lost) in std::mem::take(&mut self.lost) {
                let untold = self.untold.get(&object).copied().unwrap_or(0);
                if let Some(since) = self.last.get(&object).filter(|_| lost > untold) {
                    missed.entry(object).or_insert(*since);
                }
            }
            self.last.clear();
            self.untold.clear();
        }
        if ends {
            self.debts.clear();
        }
        self.debts.retain(|object, _| !missed.contains_key(object));
        missed.into_iter().collect()
    }

    fn count(&mut self, now: &Now<'_>) {
        if let Some(Input::Used { queue }) = now.step().map(|s| &s.input) {
            let object = Object::Queue(*queue);
            if self.last.get(&object) != Some(&now.seq) {
                *self.untold.entry(object).or_default() += 1;
            }
            if !now.s.dev.pin && now.pin() != Some(true) {
                *self.untold.entry(Object::Device).or_default() += 1;
            }
        }
        if let Some(Said::Lost { queue }) = now.said() {
            for object in [Object::Queue(*queue), Object::Device] {
                *self.lost.entry(object).or_default() += 1;
            }
        }
    }
}

/// Whether the driver looks at the configuration, or at device_status.
fn looks_at_config(now: &Now<'_>) -> bool {
    now.access().is_some_and(|(access, _)| {
        access.op == Op::Read
            && matches!(
                access.register(),
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

//! One function with everything that its effects reach: the state that a port's threads share.

use std::collections::BTreeMap;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::conductor::by_queue;
use super::frontend::{Fronted, FrontendError};
use super::irqs::Irqs;
use super::journal::Journal;
use super::memory::Memory;
use super::observed::{MOST, Observed, Told};
use crate::backend::RingFeatures;
use crate::endpoint::{Endpoint, Nanos};
use crate::fault::Injector;
use crate::function::Function;
use crate::spec::{CommonCfg, Field, PciHeader, Scope, Status};
use crate::trace::{Access, Altered, AlteredPart, Effect, Host, Input, Op, Part, QueueSetup, What};

/// Steps that one input may lead to, such as an error of the backend that breaks the device.
const MAX_FOLLOW_UPS: usize = 4;

/// Takes bytes of the device configuration, from an offset on.
pub type Configure = Box<dyn Fn(u16, &[u8]) + Send>;

/// Takes a command of the host.
pub type Command = Box<dyn Fn(&Host) + Send>;

/// Writes into the used ring of a queue.
pub type WriteUsed = Box<dyn Fn(u16, &[Effect]) -> bool + Send>;

/// The function, its faults, and all that it acts on.
pub struct Core {
    pub dev: u8,
    pub journal: Arc<Journal>,
    pub injector: Injector<Function>,
    pub irqs: Irqs,
    pub memory: Memory,
    pub backend: Option<Fronted>,
    /// Takes a changed configuration to our own backend, which it keeps alive: what the function
    /// shows, the disk has.
    pub configure: Option<Configure>,
    /// Takes a command of the host to our own backend.
    pub command: Option<Command>,
    /// Has our own backend write used rings; tells whether the driver wants an interrupt.
    pub write_used: Option<WriteUsed>,
    /// What our own backend tells.
    observed: Observed,
    /// Wakes the thread that waits for deadlines.
    pub wake: EventFd,
    running: Vec<QueueSetup>,
    /// The queues that run are packed.
    packed: bool,
    /// What the last sample of each ring showed, and how it stood when nobody asked.
    shown: BTreeMap<u16, What>,
    still: BTreeMap<u16, What>,
    /// Queues that were reset, with a digest of their memory, until the driver reads that it is over.
    released: BTreeMap<u16, (QueueSetup, u64)>,
    waited_for: Option<Nanos>,
    /// The backend may not use memory. What it told to be complete before is made used afterwards.
    suspended: bool,
    held: Vec<Effect>,
}

impl Core {
    pub fn new(
        dev: u8,
        journal: Arc<Journal>,
        injector: Injector<Function>,
        irqs: Irqs,
        backend: Option<Fronted>,
        observed: Observed,
        wake: EventFd,
    ) -> Self {
        Self {
            dev,
            journal,
            injector,
            irqs,
            memory: Memory::default(),
            backend,
            configure: None,
            command: None,
            write_used: None,
            observed,
            wake,
            running: Vec::new(),
            packed: false,
            shown: BTreeMap::new(),
            still: BTreeMap::new(),
            released: BTreeMap::new(),
            waited_for: None,
            suspended: false,
            held: Vec::new(),
        }
    }

    /// Takes one input, makes what comes of it happen, and records it. Returns the value read.
    pub fn drive(&mut self, input: Input) -> Option<u64> {
        if is_reset(&input)
            || matches!(&input, Input::Access(a) if resets_queue(a) || reads_config(a) || masters(a) || suspends(a))
        {
            // What came before the reset is recorded before it, and the driver is shown what its
            // commands have changed.
            self.follow_backend();
        }
        if matches!(&input, Input::Access(a) if reads_status(a)) {
            self.catch_up();
        }
        let mut value = None;
        let mut interrupts = Vec::new();
        let mut next = Some(input);
        for _ in 0..MAX_FOLLOW_UPS {
            let Some(input) = next.take() else { break };
            self.sample(&input);
            self.watch_released(&input);
            let outcome = self.injector.step(self.journal.now(), &input);
            if let Some(configure) = &self.configure {
                let heard = outcome.heard.as_deref();
                for input in heard.unwrap_or(std::slice::from_ref(&input)) {
                    if let Input::Config { offset, bytes } = input {
                        configure(*offset, bytes);
                    }
                }
            }
            if let (Some(command), Input::Host(host)) = (&self.command, &input) {
                command(host);
            }
            if let Input::Access(access) = &input
                && access.op == Op::Read
                && access.field == Some(Field::Common(CommonCfg::QueueReset))
                && outcome.shown.contains(&Effect::Value(0))
                && let Some(q) = access.q
            {
                self.released.remove(&q);
            }
            let waits = self.suspended && matches!(input, Input::Complete { .. });
            let part = part_of(&input);
            let effects = self.journal.record_step(self.dev, part, input, outcome);
            let mut used = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Value(v) => value = value.or(Some(v)),
                    Effect::Complete { .. } | Effect::Ring { .. } if waits => {
                        if self.held.len() < MOST {
                            self.held.push(effect);
                        }
                    }
                    Effect::Complete { .. } | Effect::Ring { .. } => used.push(effect),
                    other => {
                        if let Err(error) = self.perform(other) {
                            tell(self.dev, &error);
                            next = Some(Input::Broken);
                        }
                    }
                }
            }
            if !self.suspended {
                used.splice(0..0, self.held.drain(..));
            }
            if let Some(write) = &self.write_used {
                let queues = by_queue(used).into_iter();
                interrupts.extend(queues.filter(|(q, e)| write(*q, e)).map(|(q, _)| q));
            }
        }
        for queue in interrupts {
            self.drive(Input::Used { queue });
        }
        let deadline = self.injector.deadline();
        if deadline != self.waited_for {
            self.waited_for = deadline;
            // Full means that the thread is awake already.
            let _ = self.wake.write(1);
        }
        value
    }

    fn perform(&mut self, effect: Effect) -> Result<(), FrontendError> {
        match effect {
            Effect::Message(message) => self.irqs.send(message),
            Effect::Pin(level) => self.irqs.set_line(level),
            Effect::Start(start) => {
                self.running.clone_from(&start.queues);
                self.packed = RingFeatures::of(start.features).packed;
                // As the driver left the rings: nothing has run yet.
                self.record_rings(|_| true);
                if let Some(backend) = &mut self.backend {
                    backend.start(&start, &self.memory)?;
                }
            }
            Effect::Suspend => {
                self.suspended = true;
                if let Some(backend) = &mut self.backend {
                    backend.suspend()?;
                }
            }
            Effect::Resume => {
                self.suspended = false;
                if let Some(backend) = &mut self.backend {
                    backend.resume(&self.memory)?;
                }
            }
            Effect::Stop => {
                self.suspended = false;
                self.held.clear();
                self.running.clear();
                self.shown.clear();
                self.still.clear();
                self.released.clear();
                if let Some(backend) = &mut self.backend
                    && let Err(error) = backend.stop()
                {
                    // The device is reset all the same; the next start connects anew.
                    tell(self.dev, &error);
                }
                self.observed.end_run();
            }
            Effect::StartQueue(setup) => {
                self.running.push(setup);
                self.record_rings(|q| q.index == setup.index);
                if let Some(backend) = &mut self.backend {
                    backend.start_queue(&setup, &self.memory)?;
                }
            }
            Effect::StopQueue { queue } => {
                let of_queue = |e: &Effect| matches!(e, Effect::Complete { queue: q, .. } | Effect::Ring { queue: q, .. } if *q == queue);
                self.held.retain(|effect| !of_queue(effect));
                let setup = self.running.iter().find(|q| q.index == queue).copied();
                self.running.retain(|q| q.index != queue);
                if let Some(backend) = &mut self.backend
                    && let Err(error) = backend.stop_queue(queue)
                {
                    tell(self.dev, &error);
                }
                self.observed.end_queue(queue);
                if let Some(setup) = setup.filter(|_| self.journal.listens()) {
                    let digest = self.memory.digest(&setup, self.packed);
                    self.released.insert(queue, (setup, digest));
                }
            }
            Effect::Kick { queue } => {
                if let Some(backend) = &self.backend {
                    backend.kick(queue);
                }
            }
            Effect::ConfigWrite { offset, bytes } => {
                if let Some(backend) = &mut self.backend {
                    backend.write_config(offset, &bytes)?;
                }
            }
            Effect::Value(_)
            | Effect::Pended(_)
            | Effect::Unmapped { .. }
            | Effect::Complete { .. }
            | Effect::Ring { .. }
            | Effect::Call { .. }
            | Effect::ConfigChanged
            | Effect::Control { .. } => {}
        }
        Ok(())
    }

    /// Records the rings that an input is about.
    fn sample(&mut self, input: &Input) {
        let (one, all) = match input {
            Input::Access(a) if a.op == Op::Write && a.register() == Some(Field::Notify) => {
                (a.q, false)
            }
            Input::Access(_) if is_reset(input) => (None, true),
            Input::Access(a) if resets_queue(a) => (a.q, false),
            Input::Complete { queue, .. } => (Some(*queue), false),
            Input::Used { queue } => (Some(*queue), false),
            _ => return,
        };
        self.record_rings(|q| all || one == Some(q.index));
    }

    /// Records how rings stand, and what the driver changed in them that it must not.
    fn record_rings(&mut self, wanted: impl Fn(&QueueSetup) -> bool) {
        if !self.journal.listens() {
            return;
        }
        let mut found = Vec::new();
        for queue in self.running.iter().filter(|q| wanted(q)) {
            if let Some(sample) = self.sample_of(queue) {
                self.shown.insert(queue.index, sample.clone());
                found.push(sample);
            }
            let memory = self.memory.guest();
            self.observed
                .with_ledger(&mut |ledger| found.extend(ledger.look(memory, queue.index)));
        }
        self.record_found(found);
    }

    /// How a ring stands.
    fn sample_of(&self, queue: &QueueSetup) -> Option<What> {
        let mut next = None;
        if self.packed {
            self.observed
                .with_ledger(&mut |ledger| next = Some(ledger.next(queue.index)));
        }
        self.memory.sample(self.dev, queue, next)
    }

    fn record_found(&self, found: Vec<What>) {
        if !found.is_empty() {
            self.journal.record_all(found);
        }
    }

    /// Records once if the driver wrote to the memory of a queue whose reset it has not seen to be
    /// over.
    fn watch_released(&mut self, input: &Input) {
        let Input::Access(Access {
            field: Some(Field::Common(register)),
            q: Some(q),
            ..
        }) = input
        else {
            return;
        };
        if register.scope() != Scope::queue {
            return;
        }
        let Some((setup, digest)) = self.released.get(q) else {
            return;
        };
        if self.memory.digest(setup, self.packed) != *digest {
            self.released.remove(q);
            self.journal.record(What::Altered(Altered {
                dev: self.dev,
                q: *q,
                head: 0,
                part: AlteredPart::Released,
            }));
        }
    }

    /// Whether rings run that somebody wants to be looked at from time to time.
    pub fn watches(&self) -> bool {
        !self.running.is_empty() && self.journal.listens()
    }

    /// Records what no other sample has shown: a ring that has changed since the last one, and has
    /// not since this was asked last (a ring at work is left alone: its next notification shows it),
    /// and what the driver wrote to device areas.
    pub fn look_at_rings(&mut self) {
        let mut found = Vec::new();
        for queue in &self.running {
            if let Some(now) = self.sample_of(queue) {
                let known = self.shown.get(&queue.index) == Some(&now);
                let before = self.still.insert(queue.index, now.clone());
                if !known && before.as_ref() == Some(&now) {
                    self.shown.insert(queue.index, now.clone());
                    found.push(now);
                }
            }
            let (memory, q) = (self.memory.guest(), queue.index);
            self.observed
                .with_ledger(&mut |ledger| found.extend(ledger.look_at_device_area(memory, q)));
        }
        self.record_found(found);
    }

    /// The guest's memory changed: a running backend has to follow.
    pub fn memory_changed(&mut self) {
        let memory = &self.memory;
        if let Some(backend) = self.backend.as_mut().filter(|b| b.is_running())
            && let Err(error) = backend.send_memory(memory)
        {
            tell(self.dev, &error);
            self.drive(Input::Broken);
        }
    }

    /// Passes on what our own backend told.
    pub fn follow_backend(&mut self) {
        for _ in 0..=MOST {
            match self.observed.next() {
                Some(Told::Heard(input)) => {
                    self.drive(input);
                }
                Some(Told::Found(what)) => {
                    self.journal.record(*what);
                }
                None => return,
            }
        }
        // The guest's accesses must get their turn.
        let _ = self.wake.write(1);
    }

    /// Passes on what the backend told and the interrupts that it asked for: whoever reads whether one is
    /// there is not told of an earlier time.
    fn catch_up(&mut self) {
        self.follow_backend();
        let queues: Vec<u16> = self.running.iter().map(|queue| queue.index).collect();
        for queue in queues {
            self.take_call(queue);
        }
    }

    /// Passes on the interrupt that the backend asked for, if it did.
    pub fn take_call(&mut self, queue: u16) {
        if self.backend.as_ref().is_some_and(|b| b.take_call(queue)) {
            // A completion is told before its interrupt is asked for.
            self.follow_backend();
            self.drive(Input::Used { queue });
        }
    }

    /// The VMM has gone: back to power-on, with nothing of the guest left.
    pub fn disconnected(&mut self) {
        self.drive(Input::FunctionReset);
        for input in self.irqs.unwire() {
            self.drive(input);
        }
        self.memory.clear();
    }

    /// Names an access.
    pub fn access(
        &self,
        op: Op,
        space: crate::trace::Space,
        off: u64,
        width: u8,
        val: Option<u64>,
    ) -> Input {
        Input::Access(self.injector.inner().name(op, space, off, width, val))
    }
}

/// Whether the driver or the VMM resets the device.
fn is_reset(input: &Input) -> bool {
    match input {
        Input::Access(a) => {
            a.op == Op::Write
                && a.register() == Some(Field::Common(CommonCfg::DeviceStatus))
                && a.val == Some(0)
        }
        Input::FunctionReset => true,
        _ => false,
    }
}

/// Whether the status register is read, which knows of interrupts.
fn reads_status(access: &Access) -> bool {
    access.op == Op::Read && access.field == Some(Field::Pci(PciHeader::PciStatus))
}

/// Whether the driver may change what the function may do on the bus.
fn masters(access: &Access) -> bool {
    let decides = matches!(
        access.field,
        Some(Field::Pci(PciHeader::Command) | Field::PowerControl)
    );
    access.op == Op::Write && decides
}

/// Whether the driver asks for a suspend: what was served before is made used before (virtio 1.4, 3.4.2).
fn suspends(access: &Access) -> bool {
    access.op == Op::Write
        && access.register() == Some(Field::Common(CommonCfg::DeviceStatus))
        && access
            .val
            .is_some_and(|val| val & u64::from(Status::SUSPEND) != 0)
}

/// Whether the driver looks at the device configuration.
fn reads_config(access: &Access) -> bool {
    access.op == Op::Read
        && matches!(
            access.field,
            Some(Field::Device(_) | Field::Common(CommonCfg::ConfigGeneration))
        )
}

/// Whether the driver resets a queue.
fn resets_queue(access: &Access) -> bool {
    access.op == Op::Write
        && access.field == Some(Field::Common(CommonCfg::QueueReset))
        && access.val == Some(1)
}

fn part_of(input: &Input) -> Part {
    match input {
        Input::Chain { .. } | Input::Complete { .. } | Input::Kick { .. } | Input::Vhost { .. } => {
            Part::Backend
        }
        _ => Part::Function,
    }
}

fn tell(dev: u8, error: &FrontendError) {
    log::warn!("dev{dev}: {error}: {}", error.source);
}

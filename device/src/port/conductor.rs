//! Our backend behind QEMU's own transport, with faults between it and its interrupts.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::died::Died;
use super::journal::Journal;
use super::vhost_user::{Backend, BackendError, Handle};
use crate::backend::{Configuration, Ledger, Observer, Signaller};
use crate::fault::{Fault, Injector};
use crate::shape::{Kind, Shape};
use crate::trace::{Effect, Hello, Input, Part, What};

/// A backend whose interrupts pass through an injector, served until it is dropped.
pub struct Conducted {
    conductor: Arc<Conductor>,
    backend: Option<Backend>,
    timer: Option<JoinHandle<()>>,
}

/// Hears the backend, steps the injector, and makes happen what comes of it.
struct Conductor {
    dev: u8,
    journal: Arc<Journal>,
    ledger: Mutex<Ledger>,
    /// Some fault changes what is written into used rings.
    rings: bool,
    /// Set before anything can be heard.
    stage: OnceLock<Stage>,
    changed: Condvar,
}

struct Stage {
    handle: Handle,
    state: Mutex<State>,
}

struct State {
    injector: Injector<Signaller>,
    /// What the disk has.
    configuration: Configuration,
    ended: bool,
}

impl Conducted {
    /// Serves a block device of this shape on `socket`, with `faults` armed.
    ///
    /// # Errors
    /// When the disk can't be opened, the socket can't be bound or a thread can't be started.
    pub fn start(
        dev: u8,
        shape: &Shape,
        faults: Vec<Fault>,
        seed: u64,
        socket: &Path,
        journal: Arc<Journal>,
    ) -> Result<Self, BackendError> {
        let conductor = Arc::new(Conductor {
            dev,
            journal,
            ledger: Mutex::new(Ledger::new(dev)),
            rings: faults.iter().any(Fault::touches_rings),
            stage: OnceLock::new(),
            changed: Condvar::new(),
        });
        let observer: Arc<dyn Observer> = Arc::clone(&conductor) as _;
        let backend = Backend::start(shape, socket, Some(observer))?;
        let mut shape = shape.clone();
        if shape.kind == Kind::Block {
            shape.capacity = backend.configuration().sectors();
        }
        let hello = Hello {
            dev,
            shape,
            features: u128::from(backend.features()),
        };
        conductor
            .journal
            .record(What::Hello(Box::new(hello.clone())));
        let configuration = backend.configuration();
        let signaller = Signaller::new(configuration);
        conductor.stage.get_or_init(|| Stage {
            handle: backend.handle(),
            state: Mutex::new(State {
                injector: Injector::new(signaller, hello, faults, seed),
                configuration,
                ended: false,
            }),
        });
        let waiting = Arc::clone(&conductor);
        let timer = thread::Builder::new()
            .name("deadlines".into())
            .spawn(move || waiting.keep_time())
            .map_err(BackendError::Os)?;
        Ok(Self {
            conductor,
            backend: Some(backend),
            timer: Some(timer),
        })
    }

    /// Lets the device hear an input from outside: a command of the host, and what it means.
    pub fn drive(&self, input: Input) {
        self.conductor.observe(input);
    }
}

impl Conducted {
    /// What of the backend panicked, if something did.
    pub fn died(&self) -> Option<Died> {
        self.backend.as_ref().and_then(Backend::died)
    }

    /// Ends the serving.
    ///
    /// # Errors
    /// What died meanwhile.
    pub fn shutdown(mut self) -> Result<(), Died> {
        let backend = self.died();
        let ended = self.end();
        backend.map_or(ended, Err)
    }

    fn end(&mut self) -> Result<(), Died> {
        drop(self.backend.take());
        if let Some(stage) = self.conductor.stage.get() {
            stage.lock().ended = true;
        }
        self.conductor.changed.notify_all();
        match self.timer.take().map(JoinHandle::join) {
            Some(Err(panic)) => Err(Died::thread("deadlines", &*panic)),
            _ => Ok(()),
        }
    }
}

impl Drop for Conducted {
    fn drop(&mut self) {
        if let Err(died) = self.end() {
            log::error!("{died}");
        }
    }
}

impl Stage {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked leaves a state machine, which is never half way through a step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conductor {
    /// One step, recorded and carried out before anything else is heard.
    fn step(&self, stage: &Stage, state: &mut State, input: Input) {
        let outcome = state.injector.step(self.journal.now(), &input);
        let configuration = *state.injector.inner().configuration();
        if configuration != state.configuration {
            // The disk has it before anybody is told, and also when nobody is.
            state.configuration = configuration;
            stage.handle.configure(configuration);
        }
        if let Input::Host(host) = &input {
            stage.handle.command(host);
        }
        let effects = self
            .journal
            .record_step(self.dev, Part::Backend, input, outcome);
        let mut used = Vec::new();
        for effect in effects {
            match effect {
                Effect::Call { queue } => stage.handle.call(queue),
                Effect::ConfigChanged => stage.handle.announce(),
                Effect::Complete { .. } | Effect::Ring { .. } => used.push(effect),
                _ => {}
            }
        }
        for (queue, effects) in by_queue(used) {
            if stage.handle.write_used(queue, &effects) {
                self.step(stage, state, Input::Used { queue });
            }
        }
    }

    /// Gives the injector its time until the serving ends.
    fn keep_time(&self) {
        let Some(stage) = self.stage.get() else {
            return;
        };
        let mut state = stage.lock();
        while !state.ended {
            let now = self.journal.now();
            state = match state.injector.deadline() {
                Some(deadline) if deadline <= now => {
                    self.step(stage, &mut state, Input::Time);
                    state
                }
                Some(deadline) => {
                    let wait = Duration::from_nanos(deadline - now);
                    match self.changed.wait_timeout(state, wait) {
                        Ok((state, _)) => state,
                        Err(poisoned) => poisoned.into_inner().0,
                    }
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The writes of used rings, queue by queue, in the order in which the first of each comes.
pub(super) fn by_queue(effects: Vec<Effect>) -> Vec<(u16, Vec<Effect>)> {
    let mut queues: Vec<(u16, Vec<Effect>)> = Vec::new();
    for effect in effects {
        if let Effect::Complete { queue, .. } | Effect::Ring { queue, .. } = effect {
            match queues.iter_mut().find(|(of, _)| *of == queue) {
                Some((_, writes)) => writes.push(effect),
                None => queues.push((queue, vec![effect])),
            }
        }
    }
    queues
}

impl Observer for Conductor {
    fn writes_used(&self) -> bool {
        self.rings
    }

    fn observe(&self, input: Input) {
        // The backend may have a frontend before its observer is ready.
        let stage = self.stage.wait();
        let mut state = stage.lock();
        let before = state.injector.deadline();
        self.step(stage, &mut state, input);
        if state.injector.deadline() != before {
            self.changed.notify_all();
        }
    }

    fn ring(&self, look: &dyn Fn(u8) -> Option<What>) {
        if let Some(sample) = look(self.dev) {
            self.journal.record(sample);
        }
    }

    fn note(&self, what: What) {
        self.journal.record(what);
    }

    fn with_ledger(&self, act: &mut dyn FnMut(&mut Ledger)) -> bool {
        let listens = self.journal.listens();
        if listens {
            // A thread that panicked has left facts, each of them whole.
            act(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner));
        }
        listens
    }

    fn raises_interrupts(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_written_in_the_order_in_which_their_chains_were_finished() {
        let used = |queue, id| Effect::Complete { queue, id, len: 0 };
        let queues = by_queue(vec![
            used(2, 7),
            used(0, 1),
            Effect::ConfigChanged,
            used(2, 8),
        ]);
        assert_eq!(
            queues,
            [(2, vec![used(2, 7), used(2, 8)]), (0, vec![used(0, 1)])]
        );
    }
}

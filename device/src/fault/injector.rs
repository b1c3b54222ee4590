//! The only place where a fault meets a device.

use smallvec::SmallVec;

use super::Fault;
use crate::endpoint::{Endpoint, Nanos};
use crate::trace::{Device, Effects, Fired, Hello, Input, Part, Step};

/// A device with faults around it.
#[derive(Debug)]
pub struct Injector<E> {
    inner: E,
    dev: u8,
    world: Device,
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

impl<E: Endpoint> Injector<E> {
    /// Arms `faults` around `inner`. Everything random comes from `seed`.
    pub fn new(inner: E, hello: Hello, faults: Vec<Fault>, seed: u64) -> Self {
        let _ = (faults, seed);
        Self {
            inner,
            dev: hello.dev,
            world: Device::new(hello.shape, hello.features),
        }
    }

    /// Takes one input at time `now`.
    pub fn step(&mut self, now: Nanos, input: &Input) -> Outcome {
        let shown = self.inner.step(now, input);
        self.world.apply(&Step {
            dev: self.dev,
            part: Part::Function,
            input: input.clone(),
            heard: None,
            shown: shown.clone(),
            meant: None,
        });
        Outcome {
            shown,
            ..Outcome::default()
        }
    }

    /// When the injector next wants [`Input::Time`], if nothing happens before.
    pub fn deadline(&self) -> Option<Nanos> {
        None
    }

    /// The device inside.
    pub fn inner(&self) -> &E {
        &self.inner
    }

    /// The device as what it heard and showed tells.
    pub fn world(&self) -> &Device {
        &self.world
    }
}

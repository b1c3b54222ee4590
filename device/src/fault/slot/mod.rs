//! The slot that the function sits in: pulled out, asked back, put in again; and its reset from outside.

mod flr;
mod orderly;
mod replug;
mod surprise;

pub(super) use flr::VERB as FLR;
pub(super) use orderly::VERB as ORDERLY;
pub(super) use replug::VERB as REPLUG;
pub(super) use surprise::VERB as SURPRISE;

use super::act::Act;
use super::bench::{Bench, Hear};
use super::trigger::Occasion;
use crate::trace::{Device, Input, Legality};

/// Something happens to the function as a whole.
#[derive(Clone, Debug)]
struct Happening {
    class: Legality,
    /// What the function hears; nothing if the machine around it acts.
    input: Option<Input>,
}

impl Act for Happening {
    fn class(&self, _world: &Device) -> Legality {
        self.class
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "device".to_owned()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        if let Some(input) = &self.input {
            bench.state.reset();
            bench.hear(Hear::plain(input.clone()));
        }
    }
}

//! Used rings: what stands in them, when, and how often.
//!
//! The backend finishes its chains as ever. What it means to write into a used ring is
//! [`Effect::Complete`](crate::trace::Effect::Complete), and these verbs change that. They act on rings
//! of both kinds: an element of a packed ring is a used descriptor, and what is said of indices and flags
//! is done to places and to the event suppression structure ([`RingWrite`]).

mod avail_event;
mod dup;
mod flags;
mod id;
mod jump;
mod keep;
mod late;
mod len;
mod reorder;
mod skip;
mod stall;

pub(super) use avail_event::VERB as AVAIL_EVENT;
pub(super) use dup::VERB as DUP;
pub(super) use flags::VERB as FLAGS;
pub(super) use id::VERB as ID;
pub(super) use jump::VERB as JUMP;
pub(super) use keep::VERB as KEEP;
pub(super) use late::VERB as LATE;
pub(super) use len::VERB as LEN;
pub(super) use reorder::VERB as REORDER;
pub(super) use skip::VERB as SKIP;
pub(super) use stall::VERB as STALL;

use super::act::Act;
use super::bench::Bench;
use super::predicate::{Facts, Number};
use super::trigger::Occasion;
use crate::trace::{Device, Legality, RingWrite};

/// The feature bit of IN_ORDER (6).
const IN_ORDER: u8 = 35;

/// A completion that is changed.
#[derive(Clone, Debug)]
struct Change(What);

/// How it is changed.
#[derive(Clone, Debug)]
enum What {
    Id(Number),
    Len(Number),
    Times(u64),
    Later,
    Write(RingWrite),
}

impl Act for Change {
    fn class(&self, world: &Device) -> Legality {
        match self.0 {
            What::Later if world.accepted >> IN_ORDER & 1 == 0 => Legality::Legal,
            What::Write(RingWrite::AvailEvent(_)) => Legality::Grey,
            _ => Legality::Illegal,
        }
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        match occasion {
            Occasion::Complete { queue, .. } => format!("q{queue}"),
            _ => "device".to_owned(),
        }
    }

    fn fire(&mut self, occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let Occasion::Complete { queue, len } = occasion else {
            return;
        };
        let facts = Facts {
            val: Some((*len).into()),
            q: Some(*queue),
            ..Facts::new(bench.world)
        };
        let used = &mut bench.plan.used;
        match &self.0 {
            What::Id(val) => used.id = Some(val.value(&facts) as u32),
            What::Len(val) => used.len = Some(val.value(&facts) as u32),
            What::Times(times) => used.times = *times,
            What::Later => used.later = true,
            What::Write(write) => used.writes.push(*write),
        }
    }
}

#[cfg(test)]
mod tests;

//! A register that reads otherwise than the device holds it.

use super::place::Place;
use crate::fault::act::{Act, Firing};
use crate::fault::bench::{Bench, Hear};
use crate::fault::predicate::{Facts, Number};
use crate::fault::trigger::Occasion;
use crate::spec::{CommonCfg, Field};
use crate::trace::{Access, Device, Input, Legality, Op};

/// What is read in place of what the device holds.
#[derive(Clone, Debug)]
pub enum How {
    /// This value; `val` is the true one.
    Value(Number),
    /// The true one with these bits.
    Adds(u64),
    /// The value as it was read last before the fault fired.
    Frozen,
    /// Another one at each read.
    Churns,
}

/// A register that reads otherwise: at the read that is the trigger; from any other trigger on until
/// the device is reset, or as `until` says, or so many reads.
#[derive(Clone, Debug)]
pub struct Shown {
    pub place: Place,
    pub how: How,
    /// Of which queue, if of one.
    pub q: Option<u16>,
    /// For how many reads.
    pub reads: Option<u64>,
    pub class: Legality,
    /// Reads for which it goes on.
    left: u64,
    /// What was read last.
    last: Option<u64>,
    frozen: Option<u64>,
}

impl Shown {
    pub fn new(place: Place, how: How, class: Legality) -> Self {
        Self {
            place,
            how,
            q: None,
            reads: None,
            class,
            left: 0,
            last: None,
            frozen: None,
        }
    }

    fn concerns(&self, access: &Access) -> bool {
        access.op == Op::Read
            && self.place.is_touched_by(access)
            && (self.q.is_none() || self.q == access.q)
    }

    /// The value that a device may have by right: a smaller queue, or fewer of them.
    fn legal(&self, world: &Device) -> Option<(CommonCfg, u64)> {
        let How::Value(val) = &self.how else {
            return None;
        };
        let (register, most) = match self.place.field {
            // There is no other size with the legacy interface (4.1.5.1.3.1).
            Field::Common(CommonCfg::QueueSize) if world.legacy => return None,
            Field::Common(r @ CommonCfg::QueueSize) => (r, world.shape.queue_size.smallest()),
            Field::Common(r @ CommonCfg::NumQueues) => (r, world.shape.queues),
            _ => return None,
        };
        let facts = Facts {
            val: Some(most.into()),
            ..Facts::new(world)
        };
        let val = val.value(&facts);
        let fits = (1..=u64::from(most)).contains(&val);
        let right = fits && (register == CommonCfg::NumQueues || val.is_power_of_two());
        right.then_some((register, val))
    }
}

impl Act for Shown {
    fn class(&self, world: &Device) -> Legality {
        match self.legal(world) {
            Some(_) => Legality::Legal,
            None => self.class,
        }
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        let q = match occasion {
            Occasion::Access { access, .. } => access.q,
            _ => None,
        };
        self.place.object(self.q.or(q))
    }

    fn fire(&mut self, occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let at_read = match occasion {
            Occasion::Access {
                access,
                after: false,
                ..
            } => self.concerns(access).then_some(access),
            _ => None,
        };
        self.frozen = self.last;
        self.left = match (at_read, self.reads) {
            (Some(_), reads) => reads.map_or(0, |n| n.saturating_sub(1)),
            (None, reads) => reads.unwrap_or(u64::MAX),
        };
        // A smaller queue is as small as it says.
        if let (Some(access), Some((CommonCfg::QueueSize, size))) =
            (at_read, self.legal(bench.world))
            && access.width == 2
        {
            bench.hear(Hear::plain(Input::Access(Access {
                op: Op::Write,
                val: Some(size),
                ..**access
            })));
        }
    }

    fn show(&mut self, access: &Access, value: &mut u64, firing: Firing, facts: &Facts<'_>) {
        if !self.concerns(access) {
            return;
        }
        let meant = self.place.get(access, *value);
        if !firing.now && (self.left == 0 || !firing.goes_on) {
            self.last = Some(meant);
            return;
        }
        if !firing.now {
            self.left = self.left.saturating_sub(1);
        }
        let most = self.place.most();
        let val = match &self.how {
            How::Value(val) => {
                val.value(&Facts {
                    val: Some(meant),
                    ..*facts
                }) & most
            }
            How::Adds(bits) => meant | bits,
            How::Frozen => *self.frozen.get_or_insert(meant),
            How::Churns => self.last.unwrap_or(meant).wrapping_add(1) & most,
        };
        self.last = Some(val);
        self.place.put(access, val, value);
    }

    fn forget(&mut self, lasting: bool) {
        if !lasting {
            self.left = 0;
        }
    }
}

//! What a verb works on when it fires.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::injector::MAX_SHOWN;
use crate::endpoint::Nanos;
use crate::spec::{CommonCfg, Field, LegacyCfg, Status};
use crate::trace::{
    Access, Cause, Device, Effect, Effects, Input, IrqKind, Message, Mode, Op, RingWrite,
};

mod rings;
mod state;

pub use rings::{Rings, Stall};
pub use state::{Held, Hold, QueueHold, State};

/// The most effects that wait for their time; what comes beyond is not delayed.
pub const MAX_HELD: usize = 1024;
/// The most messages that one firing sends.
pub const MAX_SENT: u64 = 4096;
/// The most configuration changes that wait for an interrupt to be merged with.
const MAX_MERGING: usize = 16;

/// What can be known before a verb fires.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The device.
    pub world: &'a Device,
    /// What faults hold.
    pub state: &'a State,
}

/// What a verb can change.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The time.
    pub now: Nanos,
    /// The fault's position among those armed.
    pub index: usize,
    /// When the fault's lifetime ends, if it ends at a time.
    pub ends_at: Option<Nanos>,
    /// The device.
    pub world: &'a Device,
    /// What faults hold.
    pub state: &'a mut State,
    /// What the device hears next.
    pub plan: &'a mut Plan,
    /// The interrupt at hand.
    pub fate: Option<&'a mut Fate>,
    /// Everything random.
    pub rng: &'a mut fastrand::Rng,
}

/// What is to happen in this step beyond the input.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What the device hears as well.
    pub hears: VecDeque<Hear>,
    /// What the outside is shown as well.
    pub emits: Effects,
    /// What becomes of the completion at hand.
    pub used: Used,
}

/// What becomes of a completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The element names this instead of the head.
    pub id: Option<u32>,
    /// The element has this length.
    pub len: Option<u32>,
    /// How often the element is written.
    pub times: u64,
    /// The element comes after the next one of its queue.
    pub later: bool,
    /// What is written into the ring after it.
    pub writes: SmallVec<[RingWrite; 1]>,
}

impl Default for Used {
    fn default() -> Self {
        Self {
            id: None,
            len: None,
            times: 1,
            later: false,
            writes: SmallVec::new(),
        }
    }
}

/// An input that only the device knows of.
#[derive(Clone, Debug, PartialEq)]
pub struct Hear {
    /// The input.
    pub input: Input,
    /// The interrupt that follows is not sent.
    pub muted: bool,
    /// A message that was sent in this step already is enough.
    pub merged: bool,
}

impl Hear {
    /// An input as any other.
    pub fn plain(input: Input) -> Self {
        Self {
            input,
            muted: false,
            merged: false,
        }
    }
}

/// What becomes of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// It is lost.
    pub drop: bool,
    /// It comes this much later.
    pub delay: Option<Nanos>,
    /// It comes this often.
    pub copies: u64,
    /// Time from one of them to the next; 0: back to back.
    pub gap: Nanos,
    /// It comes as another message.
    pub entry: Option<u16>,
    /// The fault that holds it, to let it come together with others.
    pub by: Option<usize>,
    /// What this fault holds comes now.
    pub together: Option<usize>,
    /// The fault that keeps it until a command of the host.
    pub kept: Option<usize>,
}

impl Default for Fate {
    fn default() -> Self {
        Self {
            drop: false,
            delay: None,
            copies: 1,
            gap: 0,
            entry: None,
            by: None,
            together: None,
            kept: None,
        }
    }
}

impl Bench<'_> {
    /// The device hears this as well.
    pub fn hear(&mut self, hear: Hear) {
        self.plan.hears.push_back(hear);
    }

    /// Messages that nothing caused, `gap` nanoseconds apart.
    pub fn send(&mut self, kind: IrqKind, entry: u16, times: u64, gap: Nanos) {
        let cause = Cause::None;
        self.emit(Effect::Message(Message { kind, entry, cause }), times, gap);
    }

    /// The outside is shown this as well, so often: now, and then every `gap` nanoseconds; all of them
    /// now if that is 0, or if too much waits already.
    pub fn emit(&mut self, effect: Effect, mut times: u64, gap: Nanos) {
        if gap > 0 && times > 1 && self.state.held.len() < MAX_HELD {
            self.state.held.push(Held {
                at: self.now.saturating_add(gap),
                effect: effect.clone(),
                times: times - 1,
                gap,
                waits: false,
                by: None,
                kept: None,
            });
            times = 1;
        }
        let room = MAX_SHOWN.saturating_sub(self.plan.emits.len());
        for _ in 0..times.min(room as u64) {
            self.plan.emits.push(effect.clone());
        }
    }

    /// The driver reads the status from before the reset until `until`, `reads` times at most.
    pub fn hold_status(&mut self, until: Option<Nanos>, reads: Option<u64>) {
        let earlier = self.state.hold.map(|hold| hold.status);
        let status = match (self.world.status.0, earlier) {
            (0, Some(earlier)) => earlier,
            // The device was never touched: as if a predecessor had left it so.
            (0, None) => Status::ACKNOWLEDGE,
            (status, _) => status,
        };
        self.state.hold = Some(Hold {
            status,
            until,
            reads,
            by: self.index,
            epoch: self.world.epoch,
        });
    }

    /// The driver reads 1 from the `queue_reset` of this queue until `until`, `reads` times at most.
    pub fn hold_queue_reset(&mut self, queue: u16, until: Option<Nanos>, reads: Option<u64>) {
        let by = self.index;
        let holds = &mut self.state.queue_holds;
        holds.retain(|hold| hold.queue != queue);
        holds.push(QueueHold {
            queue,
            until,
            reads,
            by,
        });
    }

    /// The configuration changes together with the next interrupt of `cause`.
    pub fn merge(&mut self, cause: Cause, input: Input, due_now: bool) {
        let hear = Hear {
            merged: true,
            ..Hear::plain(input)
        };
        if due_now || self.state.merging.len() >= MAX_MERGING {
            self.hear(hear);
        } else {
            self.state.merging.push_back((cause, hear.input));
        }
    }

    /// The device hears a write of the common configuration that the driver never made, by the
    /// interface that the driver uses. What that does not have is not written.
    pub fn write_common(&mut self, register: CommonCfg, val: impl Into<u64>, queue: Option<u16>) {
        let Some(template) = self.state.template else {
            return;
        };
        let field = Field::Common(register);
        let (off, field) = match template.field {
            Some(Field::Common(known)) => {
                ((template.off - known.offset()) + register.offset(), field)
            }
            Some(Field::Legacy(_)) => {
                let header = LegacyCfg::header_bytes(self.world.mode() == Mode::Msix);
                let same = |r: &&LegacyCfg| r.modern() == Some(field) && r.offset() < header;
                let Some(register) = LegacyCfg::ALL.iter().find(same) else {
                    return;
                };
                (register.offset(), Field::Legacy(*register))
            }
            _ => return,
        };
        self.hear(Hear::plain(Input::Access(Access {
            op: Op::Write,
            off,
            width: register.width(),
            val: Some(val.into()),
            field: Some(field),
            q: queue,
            ..template
        })));
    }
}

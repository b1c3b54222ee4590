//! What a verb works on when it fires.

use std::collections::{BTreeSet, VecDeque};

use smallvec::SmallVec;

use super::injector::MAX_SHOWN;
use super::line::Line;
use crate::endpoint::Nanos;
use crate::shape::Attach;
use crate::spec::{
    CommonCfg, ConfigField, Field, LegacyCfg, NO_VECTOR, Status, command, msi_control, msix_control,
};
use crate::trace::{
    Access, Cause, Device, Effect, Effects, Input, IrqKind, Message, Mode, Op, RingWrite,
};

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

/// A queue whose completions do not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Which; every one if it is none.
    pub queue: Option<u16>,
    /// Until then; none: until it is let go.
    pub until: Option<Nanos>,
    /// The command of the host that lets it go.
    pub host: Option<String>,
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

impl Stall {
    fn holds(&self, queue: u16) -> bool {
        self.queue.is_none_or(|q| q == queue)
    }
}

/// A status that is shown while a reset goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What is shown.
    pub status: u8,
    /// Until then; none: until the next reset.
    pub until: Option<Nanos>,
    /// For so many reads; none: for any number.
    pub reads: Option<u64>,
    /// The fault that holds it.
    pub by: usize,
    /// The epoch that the reset ended.
    pub epoch: u32,
}

/// A queue whose reset goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueHold {
    /// Which.
    pub queue: u16,
    /// Until then; none: until the device is reset.
    pub until: Option<Nanos>,
    /// For so many reads; none: for any number.
    pub reads: Option<u64>,
    /// The fault that holds it.
    pub by: usize,
}

/// An effect that waits for its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// When.
    pub at: Nanos,
    /// What.
    pub effect: Effect,
    /// How often, from then on.
    pub times: u64,
    /// Time from one to the next; 0: back to back.
    pub gap: Nanos,
    /// Its time has come, but the message can't be sent yet.
    pub waits: bool,
    /// The fault that holds it, to let it come together with others.
    pub by: Option<usize>,
    /// The fault that keeps it until a command of the host, whatever the time.
    pub kept: Option<usize>,
}

/// What faults hold from one step to the next.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The line.
    pub line: Line,
    /// A reset that goes on.
    pub hold: Option<Hold>,
    /// Resets of queues that go on; each queue is there once.
    pub queue_holds: Vec<QueueHold>,
    /// Effects that come later.
    pub held: Vec<Held>,
    /// MSI-X entries that the VMM can deliver.
    pub wired: Vec<bool>,
    /// How often the VMM wired each of them.
    pub wirings: Vec<u32>,
    /// Messages that wait in the pending bits.
    pub pended: BTreeSet<(IrqKind, u16)>,
    /// Configuration changes that wait for an interrupt of this event.
    pub merging: VecDeque<(Cause, Input)>,
    /// Device configuration as far as it is known.
    pub config: Vec<u8>,
    /// A plain access of the common configuration, from which others can be made.
    pub template: Option<Access>,
    /// When DRIVER_OK came.
    pub live_since: Option<Nanos>,
    /// When the last reset began.
    pub reset_since: Option<Nanos>,
    /// What faults hold of the used rings.
    pub rings: Rings,
    /// Drivers so far.
    pub instance: u32,
    /// Firings that wait for their time: when, and which fault.
    pub later: Vec<(Nanos, usize)>,
}

impl State {
    /// Whether the line may be asserted.
    pub fn may_assert(world: &Device) -> bool {
        world.shape.pin
            && world.shape.attach == Attach::VfioUser
            && world.mode() == Mode::Intx
            && world.command & command::INTX_DISABLE == 0
    }

    /// Whether a message can be sent now.
    pub fn may_send(&self, world: &Device, kind: IrqKind, entry: u16) -> bool {
        world.command & command::BUS_MASTER != 0
            && match kind {
                IrqKind::Msix => {
                    world.mode() == Mode::Msix
                        && world.msix_control & msix_control::FUNCTION_MASK == 0
                        && self.wired.get(usize::from(entry)).copied().unwrap_or(false)
                }
                IrqKind::Msi => world.mode() == Mode::Msi && entry < messages(world),
                IrqKind::Intx => false,
            }
    }

    /// The value of a configuration field, as far as it is known.
    pub fn config_value(&self, field: &ConfigField) -> u64 {
        let start = usize::from(field.offset);
        let bytes = self.config.iter().skip(start).take(field.width.into());
        bytes
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// The device hears an input: keep what is needed of it.
    pub fn hears(&mut self, input: &Input) {
        match input {
            Input::Irqs {
                kind: IrqKind::Msix,
                start,
                count,
                wired,
            } => {
                let entries = self.wired.iter_mut().skip(usize::from(*start));
                for entry in entries.take(usize::from(*count)) {
                    *entry = *wired;
                }
                let counts = self.wirings.iter_mut().skip(usize::from(*start));
                for times in counts.take(usize::from(*count)).filter(|_| *wired) {
                    *times = times.wrapping_add(1);
                }
            }
            Input::Config { offset, bytes } | Input::Reconfigured { offset, bytes } => {
                let at = self.config.iter_mut().skip(usize::from(*offset));
                for (old, new) in at.zip(bytes) {
                    *old = *new;
                }
            }
            Input::Access(access) if !access.window => {
                if access
                    .legacy()
                    .is_some_and(|register| access.off == register.offset())
                {
                    self.template = Some(*access);
                }
                if let Some(Field::Common(register)) = access.field
                    && access.width == register.width()
                    && access
                        .off
                        .checked_sub(register.offset())
                        .is_some_and(|base| base % 4 == 0)
                {
                    self.template = Some(*access);
                }
            }
            _ => {}
        }
    }

    /// A reset: what was late does not come any more. The device itself lowers the line.
    pub fn reset(&mut self) {
        self.held.clear();
        self.queue_holds.clear();
        self.line.extra = false;
        self.rings.reset();
        self.line.up_until = None;
        self.pended.clear();
    }

    /// Whether a fault lets the reset of this queue go on at a read of it. One whose time is over, or
    /// that was read often enough, is forgotten.
    pub fn queue_resets(&mut self, queue: u16, now: Nanos) -> bool {
        self.queue_holds
            .retain(|hold| hold.reads != Some(0) && hold.until.is_none_or(|until| now < until));
        let mut holds = self.queue_holds.iter_mut();
        let Some(hold) = holds.find(|hold| hold.queue == queue) else {
            return false;
        };
        hold.reads = hold.reads.map(|reads| reads.saturating_sub(1));
        true
    }

    /// A message begins to wait in the pending bits, or is on its way.
    pub fn waits(&mut self, message: Message, begins: bool) {
        let key = (message.kind, message.entry);
        if begins {
            self.pended.insert(key);
        } else {
            self.pended.remove(&key);
        }
    }

    /// What a fault holds back comes now.
    pub fn let_come(&mut self, by: usize, now: Nanos) {
        for held in self.held.iter_mut().filter(|h| h.by == Some(by)) {
            held.at = now;
        }
    }

    /// The host lets come what this fault keeps.
    pub fn let_go(&mut self, by: usize, now: Nanos) {
        for held in self.held.iter_mut().filter(|h| h.kept == Some(by)) {
            held.kept = None;
            held.at = now;
        }
        if self.line.kept == Some(by) {
            self.line.comes();
        }
    }

    /// The kind of message that the function sends now, and how many there are.
    pub fn messages(world: &Device) -> Option<(IrqKind, u16)> {
        match world.mode() {
            Mode::Msix => Some((IrqKind::Msix, world.shape.table_size())),
            Mode::Msi => Some((IrqKind::Msi, messages(world))),
            Mode::Intx => None,
        }
    }

    /// The message that an event is mapped to.
    pub fn mapped(world: &Device, cause: Cause) -> Option<(IrqKind, u16)> {
        let (kind, count) = Self::messages(world)?;
        let vector = match (kind, cause) {
            (IrqKind::Msix, Cause::Queue(q)) => world.queues.get(usize::from(q))?.vector,
            (IrqKind::Msix, Cause::Config) => world.config_vector,
            (IrqKind::Msix, Cause::Port(p)) if u16::from(p) >= count => 0,
            (_, Cause::Port(p)) => u16::from(p) & (count.max(1).next_power_of_two() - 1),
            _ => 0,
        };
        (vector != NO_VECTOR && vector < count).then_some((kind, vector))
    }
}

/// Messages that the MSI capability may use.
fn messages(world: &Device) -> u16 {
    1 << ((world.msi_control & msi_control::ENABLED_MASK) >> msi_control::ENABLED_SHIFT)
}

/// What faults hold of the used rings.
#[derive(Clone, Debug, Default)]
pub struct Rings {
    /// Queues that stand still.
    pub stalls: Vec<Stall>,
    /// Completions that wait for the end of a stall.
    pub stalled: VecDeque<(u16, Effect)>,
    /// Completions that wait for the next one of their queue.
    pub swapped: Vec<(u16, Effect)>,
    /// Completions that a reset overtook.
    pub orphans: VecDeque<Effect>,
    /// Completions since the last reset, for each queue.
    pub completed: Vec<u16>,
    /// The same for the time before the last reset.
    pub before: Vec<u16>,
    /// Elements by which the used index of each queue goes on from where it was before a reset.
    pub kept: Vec<u16>,
}

impl Rings {
    fn reset(&mut self) {
        let stalled = self.stalled.drain(..).map(|(_, effect)| effect);
        let swapped = self.swapped.drain(..).map(|(_, effect)| effect);
        self.orphans.extend(stalled.chain(swapped));
        while self.orphans.len() > MAX_HELD {
            self.orphans.pop_front();
        }
        self.stalls.clear();
        self.before = std::mem::take(&mut self.completed);
    }

    /// Whether completions of the queue wait, and there is room for one more.
    pub fn stands_still(&self, queue: u16) -> bool {
        self.stalled.len() < MAX_HELD && self.stalls.iter().any(|s| s.holds(queue))
    }

    /// Ends stalls: those whose time has come, or that this command of the host lets go. Returns the
    /// completions that waited for them.
    pub fn release(&mut self, now: Nanos, command: Option<&str>) -> Vec<Effect> {
        self.stalls.retain(|stall| {
            let timed = stall.until.is_some_and(|until| until <= now);
            let told = command.is_some() && stall.host.as_deref() == command;
            !timed && !told
        });
        let mut free = Vec::new();
        for _ in 0..self.stalled.len() {
            let Some((queue, effect)) = self.stalled.pop_front() else {
                break;
            };
            if self.stalls.iter().any(|s| s.holds(queue)) {
                self.stalled.push_back((queue, effect));
            } else {
                free.push(effect);
            }
        }
        free
    }

    /// One more completion of a queue. Returns by how much its index goes on from an earlier reset.
    pub fn completes(&mut self, queue: u16) -> u16 {
        let at = usize::from(queue);
        if self.completed.len() <= at {
            self.completed.resize(at + 1, 0);
        }
        self.completed[at] = self.completed[at].wrapping_add(1);
        self.kept.get_mut(at).map_or(0, std::mem::take)
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

//! What faults hold from one step to the next.

use std::collections::{BTreeSet, VecDeque};

use super::Rings;
use crate::endpoint::Nanos;
use crate::fault::line::Line;
use crate::shape::Attach;
use crate::spec::{ConfigField, Field, NO_VECTOR, command, msi_control, msix_control};
use crate::trace::{Access, Cause, Device, Effect, Input, IrqKind, Message, Mode};

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

//! What a device can be made to do wrong.

use std::fmt;

use super::act::Act;
use super::args::Args;
use super::error::FaultError;
use super::predicate::Pattern;
use super::trigger::{On, Trigger};
use super::{config, device, irq, isr, msix, power, reg, reset, ring, slot, status, vector};
use crate::shape::{Attach, Kind, Shape};
use crate::spec::{CommonCfg, Field};
use crate::trace::{Legality, Op};

/// Every verb, by object.
pub static CATALOGUE: &[&Verb] = &[
    &reg::OVERRIDE,
    &reg::IGNORE_WRITE,
    &reg::DEFAULT,
    &vector::REJECT,
    &vector::LIE,
    &vector::CLEAR,
    &reset::SLOW,
    &reset::HANG,
    &reset::PARTIAL,
    &reset::QUEUE_SLOW,
    &reset::QUEUE_HANG,
    &status::OVERRIDE,
    &status::REFUSE,
    &status::NEEDS_RESET,
    &config::CHANGE,
    &config::FREEZE,
    &config::CHURN,
    &irq::DROP,
    &irq::DELAY,
    &irq::DUP,
    &irq::MISROUTE,
    &irq::SPURIOUS,
    &irq::COALESCE,
    &irq::SIMUL,
    &irq::EARLY,
    &isr::OVERRIDE,
    &isr::ADD,
    &isr::STALE,
    &isr::MSIX,
    &isr::INTX_DROP,
    &isr::INTX_STUCK,
    &isr::INTX_PEER,
    &msix::LIE,
    &msix::IGNORE_EDIT,
    &msix::PEND_LOSE,
    &msix::STALE_ROUTE,
    &msix::TABLE_CLEAR,
    &device::DECOY_FEATURES,
    &device::ALL_ONES,
    &ring::ID,
    &ring::LEN,
    &ring::FLAGS,
    &ring::SKIP,
    &ring::DUP,
    &ring::REORDER,
    &ring::JUMP,
    &ring::STALL,
    &ring::LATE,
    &ring::AVAIL_EVENT,
    &ring::KEEP,
    &slot::SURPRISE,
    &slot::ORDERLY,
    &slot::REPLUG,
    &slot::FLR,
    &power::LOSE_STATE,
];

/// One misbehaviour: what it is called, what it rests on, and how it is armed.
pub struct Verb {
    /// Its name: the object and the verb.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Its class, and in which case, where it depends on the arguments.
    pub classes: &'static [(Legality, &'static str)],
    /// The normative sentence that it breaks or rests on, in our words.
    pub sentence: &'static str,
    /// Where that sentence is: sections of virtio 1.3, or of another text that is named.
    pub section: &'static str,
    /// Its arguments.
    pub args: &'static [Arg],
    /// What its trigger has to be.
    pub needs: Needs,
    /// The attachments on which it can act.
    pub attachments: &'static [Attach],
    /// The kinds of device on which it can act.
    pub kinds: &'static [Kind],
    /// A `[[fault]]` table that uses it.
    pub example: &'static str,
    /// Reads the arguments, for a device of this shape.
    pub(super) build: Builder,
}

/// What makes a verb of its arguments.
type Builder = fn(&Args<'_>, &Shape) -> Result<Box<dyn Act>, FaultError>;

/// An argument of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// Its type and unit.
    pub kind: &'static str,
    /// Its default; none: it has to be given, or another one in its place.
    pub default: Option<&'static str>,
    /// What it means.
    pub words: &'static str,
}

/// On our own function every fault is possible.
pub(super) const OURS: &[Attach] = &[Attach::VfioUser];
/// What needs no register can be done to QEMU's transport as well.
pub(super) const BOTH: &[Attach] = &[Attach::VfioUser, Attach::VhostUser];
/// Only for virtio devices.
pub(super) const VIRTIO: &[Kind] = &[Kind::Block, Kind::Net, Kind::Console, Kind::Rng, Kind::Scsi];
/// For every device.
pub(super) const ALL: &[Kind] = Kind::ALL;

/// What the trigger of a verb has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Anything.
    Anything,
    /// The write of a vector.
    VectorWrite,
    /// The write of a vector, or its read.
    VectorAccess,
    /// An interrupt that is due.
    Interrupt,
    /// A chain that is about to become used.
    Completion,
    /// A reset that begins.
    Reset,
    /// A reset that is over.
    ResetEnd,
    /// The write of a register.
    Write,
    /// The write of `queue_reset`.
    QueueReset,
    /// The write of MSI-X message control.
    MsixControlWrite,
    /// A write of `device_status` that adds a bit.
    StatusWrite,
}

impl Needs {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Anything => "any trigger",
            Self::VectorWrite => "`cc.config_msix_vector.wr` or `cc.queue_msix_vector.wr`",
            Self::VectorAccess => {
                "`.wr` or `.rd` of `cc.config_msix_vector` or `cc.queue_msix_vector`"
            }
            Self::Interrupt => "`irq.due[<src>]`",
            Self::Completion => "`complete[<q>]`",
            Self::Reset => "`reset.begin` or `status.=0`",
            Self::ResetEnd => "`reset.end`",
            Self::Write => "a write such as `cc.<field>.wr`, or `status.+<BIT>`",
            Self::QueueReset => "`cc.queue_reset.wr`",
            Self::MsixControlWrite => "`pci.msixctl.wr`",
            Self::StatusWrite => "`status.+<BIT>` or `cc.device_status.wr`",
        }
    }

    pub(super) fn met_by(self, trigger: &Trigger) -> bool {
        if self == Self::Anything {
            return true;
        }
        let access = match trigger.on {
            On::Access {
                pattern,
                after: false,
            } => Some(pattern),
            _ => None,
        };
        let vector = |pattern: Pattern| {
            matches!(
                pattern.field.as_modern(),
                Field::Common(CommonCfg::ConfigMsixVector | CommonCfg::QueueMsixVector)
            )
        };
        trigger.delay == 0
            && match self {
                Self::Anything => true,
                Self::VectorWrite => access.is_some_and(|p| vector(p) && p.op == Op::Write),
                Self::VectorAccess => access.is_some_and(vector),
                Self::Interrupt => matches!(trigger.on, On::IrqDue(_)),
                Self::Completion => matches!(trigger.on, On::Complete(_)),
                Self::Reset => {
                    matches!(trigger.on, On::ResetBegin | On::StatusZero { after: false })
                }
                Self::ResetEnd => trigger.on == On::ResetEnd,
                Self::Write => {
                    matches!(trigger.on, On::StatusAdds { after: false, .. })
                        || access.is_some_and(|p| p.op == Op::Write)
                }
                Self::QueueReset => access.is_some_and(|p| {
                    p.op == Op::Write && p.field == Field::Common(CommonCfg::QueueReset)
                }),
                Self::MsixControlWrite => {
                    access.is_some_and(|p| p.op == Op::Write && p.field == Field::MsixControl)
                }
                Self::StatusWrite => {
                    matches!(trigger.on, On::StatusAdds { after: false, .. })
                        || access.is_some_and(|p| {
                            p.op == Op::Write
                                && p.field.as_modern() == Field::Common(CommonCfg::DeviceStatus)
                        })
                }
            }
    }
}

impl Verb {
    /// The verb of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CATALOGUE.iter().copied().find(|v| v.name == name)
    }

    /// The object, which is the first part of the name, or the whole name.
    pub fn object(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }
}

impl fmt::Debug for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verb").field(&self.name).finish()
    }
}

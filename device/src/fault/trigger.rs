//! `on`: what a fault waits for.

mod check;
mod parse;
#[cfg(test)]
mod tests;

use super::predicate::Pattern;
use crate::endpoint::Nanos;
use crate::spec::{CommonCfg, Field};
use crate::trace::{Access, Cause, Op};

/// What a fault waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// The occasion.
    pub on: On,
    /// The time that passes between the occasion and the firing, as in `live+200ms`.
    pub delay: Nanos,
}

/// A kind of occasion.
#[derive(Clone, Debug, PartialEq)]
pub enum On {
    /// A register access: `cc.<field>.rd`, also by the legacy register that means the same,
    /// `leg.<field>.rd` by that alone, `isr.rd`, `dev.<off>.wr`, `ntf`, `pci.<alias>.wr`, ….
    Access {
        /// Which.
        pattern: Pattern,
        /// `!`: after it took effect, not before.
        after: bool,
    },
    /// `status.+DRIVER_OK`: the write that adds the bit.
    StatusAdds {
        /// The bit.
        bit: u8,
        /// `!`: after it took effect.
        after: bool,
    },
    /// `status.=0`: the write of 0.
    StatusZero {
        /// `!`: after it took effect.
        after: bool,
    },
    /// `reset.begin`: the driver wrote 0, or a function reset came.
    ResetBegin,
    /// `reset.end`: the device is done with it, whether or not the driver looked.
    ResetEnd,
    /// `live`: DRIVER_OK was set.
    Live,
    /// `flr`: a function reset.
    FunctionReset,
    /// `bme.0`: bus mastering was switched off.
    BusMasterOff,
    /// `d3`: the function was sent to sleep.
    Sleeps,
    /// `d0`: the function was woken up.
    Wakes,
    /// `unplug`: the function was pulled out of its slot.
    Unplugged,
    /// `irq.due[src]`: an interrupt is about to be sent.
    IrqDue(Source),
    /// `irq.sent[src]`: an interrupt was sent.
    IrqSent(Source),
    /// `irq.unserved[src]`: an interrupt was sent, and the driver has not looked at its event for a time.
    IrqUnserved {
        /// The event.
        source: Source,
        /// For how long.
        time: Nanos,
    },
    /// `avail[q<n>]`: the driver notified the queue of buffers.
    Avail(Option<u16>),
    /// `chain[q<n>]`: the backend fetched a chain.
    Chain(Option<u16>),
    /// `complete[q<n>]`: a chain is about to be used.
    Complete(Option<u16>),
    /// `host:<name>`: a command of the host.
    Host(String),
    /// `fault:<id>`: another fault fired.
    Fault(String),
    /// `at=2s`: once, this long after the device began to be served.
    At(Nanos),
    /// `every=10ms`: again and again, counted from there.
    Every(Nanos),
}

/// Where an interrupt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Anywhere.
    Any,
    /// An event: `q<n>`, `cfg`, `port<n>`.
    Event(Cause),
    /// A table entry or message: `e<n>`.
    Entry(u16),
}

/// What happens now; what triggers are held against.
#[derive(Clone, Copy, Debug)]
pub enum Occasion<'a> {
    /// A register access.
    Access {
        /// Which.
        access: &'a Access,
        /// Whether it took effect already.
        after: bool,
        /// The value written, or read if it took effect.
        value: Option<u64>,
        /// Status bits that it adds.
        adds: u8,
    },
    /// The driver notified a queue, as the backend sees it.
    Notified(u16),
    /// See [`On::ResetBegin`].
    ResetBegin,
    /// See [`On::ResetEnd`].
    ResetEnd,
    /// See [`On::Live`].
    Live,
    /// See [`On::FunctionReset`].
    FunctionReset,
    /// See [`On::BusMasterOff`].
    BusMasterOff,
    /// See [`On::Sleeps`].
    Sleeps,
    /// See [`On::Wakes`].
    Wakes,
    /// See [`On::Unplugged`].
    Unplugged,
    /// An interrupt.
    Irq {
        /// Whether it was sent already.
        sent: bool,
        /// The event.
        cause: Cause,
        /// The message; none for the line, and where the transport is not ours.
        entry: Option<u16>,
        /// What carries it.
        carrier: Carrier,
    },
    /// See [`On::Chain`].
    Chain(u16),
    /// See [`On::Complete`].
    Complete {
        /// Queue index.
        queue: u16,
        /// Bytes written.
        len: u32,
    },
    /// See [`On::Host`].
    Host(&'a str),
    /// See [`On::Fault`].
    Fault(&'a str),
    /// The time of the fault with this position has come.
    Time(usize),
}

/// What carries an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A message of MSI-X or MSI.
    Message,
    /// The line.
    Line {
        /// Whether it is up already.
        up: bool,
    },
    /// The call eventfd of vhost-user.
    Call,
}

impl Source {
    /// Whether an interrupt comes from there.
    pub(super) fn is(self, cause: Cause, entry: Option<u16>) -> bool {
        match self {
            Self::Any => true,
            Self::Event(event) => event == cause,
            Self::Entry(e) => entry == Some(e),
        }
    }
}

impl Trigger {
    /// Whether the fault waits for this.
    pub(super) fn matches(&self, occasion: &Occasion<'_>, index: usize) -> bool {
        match (&self.on, *occasion) {
            (
                On::Access { pattern, after },
                Occasion::Access {
                    access, after: now, ..
                },
            ) => *after == now && pattern.matches(access),
            (On::Access { pattern, after }, Occasion::Notified(_)) => {
                !after && pattern.field == Field::Notify && pattern.op == Op::Write
            }
            (
                On::StatusAdds { bit, after },
                Occasion::Access {
                    adds, after: now, ..
                },
            ) => *after == now && adds & bit != 0,
            (
                On::StatusZero { after },
                Occasion::Access {
                    access, after: now, ..
                },
            ) => *after == now && writes_status(access) == Some(0),
            (On::ResetBegin, Occasion::ResetBegin)
            | (On::ResetEnd, Occasion::ResetEnd)
            | (On::Live, Occasion::Live)
            | (On::FunctionReset, Occasion::FunctionReset)
            | (On::BusMasterOff, Occasion::BusMasterOff)
            | (On::Sleeps, Occasion::Sleeps)
            | (On::Wakes, Occasion::Wakes)
            | (On::Unplugged, Occasion::Unplugged) => true,
            (
                On::IrqDue(source),
                Occasion::Irq {
                    sent: false,
                    cause,
                    entry,
                    ..
                },
            )
            | (
                On::IrqSent(source),
                Occasion::Irq {
                    sent: true,
                    cause,
                    entry,
                    ..
                },
            ) => source.is(cause, entry),
            (On::Avail(queue), Occasion::Notified(q)) => queue.is_none_or(|queue| queue == q),
            (
                On::Avail(queue),
                Occasion::Access {
                    access,
                    after: false,
                    ..
                },
            ) => {
                access.op == Op::Write
                    && access.register() == Some(Field::Notify)
                    && queue.is_none_or(|queue| access.q == Some(queue))
            }
            (On::Chain(queue), Occasion::Chain(q))
            | (On::Complete(queue), Occasion::Complete { queue: q, .. }) => {
                queue.is_none_or(|queue| queue == q)
            }
            (On::Host(name), Occasion::Host(command)) => name == command,
            (On::Fault(id), Occasion::Fault(fired)) => id == fired,
            (On::At(_) | On::Every(_) | On::IrqUnserved { .. }, Occasion::Time(of)) => of == index,
            _ => false,
        }
    }
}

/// The status that an access writes, if it does.
pub(super) fn writes_status(access: &Access) -> Option<u8> {
    (access.op == Op::Write && access.register() == Some(Field::Common(CommonCfg::DeviceStatus)))
        .then(|| access.val.unwrap_or(0) as u8)
}

//! `on`: what a fault waits for.

use std::ops::Range;

use super::error::{FaultError, nearest};
use super::predicate::{Name, Pattern};
use super::schedule::duration;
use crate::endpoint::Nanos;
use crate::shape::{Attach, Kind, Shape};
use crate::spec::{BlkConfig, Field, Status};
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
    /// A register access: `cc.<field>.rd`, `isr.rd`, `dev.<off>.wr`, `ntf`, `pci.<alias>.wr`, ….
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
    /// `irq.due[src]`: an interrupt is about to be sent.
    IrqDue(Source),
    /// `irq.sent[src]`: an interrupt was sent.
    IrqSent(Source),
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

const FORMS: &str = "expected a register access such as `cc.queue_msix_vector.wr`, `isr.rd`, `dev.0.rd` or `ntf`; \
    `status.+<BIT>`, `status.=0`, `reset.begin`, `reset.end`, `live`, `flr`, `bme.0`; \
    `irq.due[<src>]`, `irq.sent[<src>]`, `chain[<q>]`, `complete[<q>]`; \
    `at=<time>`, `every=<time>`, `host:<name>` or `fault:<id>`";

const WORDS: [&str; 11] = [
    "status.=0",
    "reset.begin",
    "reset.end",
    "live",
    "flr",
    "bme.0",
    "irq.due[any]",
    "irq.sent[any]",
    "chain[any]",
    "complete[any]",
    "ntf",
];

impl Trigger {
    /// Reads `on`.
    ///
    /// # Errors
    /// The nearest form, and which forms there are.
    pub(super) fn parse(text: &str) -> Result<Self, FaultError> {
        let text = text.trim();
        if let Some((occasion, delay)) = text.rsplit_once('+')
            && delay.starts_with(|c: char| c.is_ascii_digit())
            && let Some(delay) = duration(delay)
        {
            let on = On::parse(occasion)?;
            if !on.may_wait() {
                return Err(FaultError::new(format!(
                    "`{occasion}` can't be waited upon with a delay"
                ))
                .help("a delay can follow `live`, `reset.begin`, `reset.end`, `flr`, `bme.0`, `status.…`, `chain[…]`, `complete[…]`, `host:…` and `fault:…`".to_owned()));
            }
            return Ok(Self { on, delay });
        }
        On::parse(text).map(|on| Self { on, delay: 0 })
    }

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
            | (On::BusMasterOff, Occasion::BusMasterOff) => true,
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
            ) => match source {
                Source::Any => true,
                Source::Event(event) => *event == cause,
                Source::Entry(e) => entry == Some(*e),
            },
            (On::Chain(queue), Occasion::Chain(q))
            | (On::Complete(queue), Occasion::Complete { queue: q, .. }) => {
                queue.is_none_or(|queue| queue == q)
            }
            (On::Host(name), Occasion::Host(command)) => name == command,
            (On::Fault(id), Occasion::Fault(fired)) => id == fired,
            (On::At(_) | On::Every(_), Occasion::Time(of)) => of == index,
            _ => false,
        }
    }

    /// Whether `name` has a value when this trigger matches.
    pub(super) fn provides(&self, name: Name) -> bool {
        if self.delay > 0 {
            return !matches!(
                name,
                Name::Val | Name::Queue | Name::Entry | Name::Width | Name::Off
            ) || self.on.provides(name);
        }
        self.on.provides(name)
    }

    /// Checks that the trigger can come on this device at all.
    pub(super) fn check(&self, text: &str, shape: &Shape) -> Result<(), FaultError> {
        let cannot = |why: String| Err(FaultError::new(format!("`{text}` can't come: {why}")));
        if shape.attach == Attach::VhostUser && self.on.needs_registers() {
            return cannot(
                "with attach = \"vhost-user\" QEMU owns the registers and the backend never sees them"
                    .to_owned(),
            );
        }
        let queue = |q: u16| match shape.kind {
            Kind::PortCard => cannot("a port-card has no queues".to_owned()),
            Kind::Block if q >= shape.queues => {
                cannot(format!("the device has queues 0 to {}", shape.queues - 1))
            }
            Kind::Block => Ok(()),
        };
        match &self.on {
            On::Access { pattern, .. } => match (pattern.field, shape.kind) {
                (
                    Field::Common(_) | Field::Isr | Field::Notify | Field::Device(_),
                    Kind::PortCard,
                ) => cannot("a port-card has no virtio registers".to_owned()),
                (Field::Port(_) | Field::PortEvents(_), Kind::Block) => {
                    cannot("only a port-card has ports".to_owned())
                }
                (Field::PortEvents(port), _) if u16::from(port) >= shape.ports => {
                    cannot(format!("the card has ports 0 to {}", shape.ports - 1))
                }
                (Field::Device(off), _) if u64::from(off) >= BlkConfig::SIZE => cannot(format!(
                    "device configuration has {} bytes",
                    BlkConfig::SIZE
                )),
                (Field::MsixEntry(entry), _) if entry >= shape.table_size() => {
                    cannot(table_words(shape))
                }
                (Field::Isr, _) if pattern.op == Op::Write => {
                    cannot("drivers read the ISR status, they don't write it".to_owned())
                }
                _ => Ok(()),
            },
            On::StatusAdds { .. } | On::StatusZero { .. } | On::Live
                if shape.kind == Kind::PortCard =>
            {
                cannot("a port-card has no device_status".to_owned())
            }
            On::IrqDue(source) | On::IrqSent(source) => match *source {
                Source::Event(Cause::Queue(q)) => queue(q),
                Source::Event(Cause::Config) if shape.kind == Kind::PortCard => {
                    cannot("a port-card has no configuration event".to_owned())
                }
                Source::Event(Cause::Port(port)) => match shape.kind {
                    Kind::Block => cannot("only a port-card has ports".to_owned()),
                    Kind::PortCard if u16::from(port) >= shape.ports => {
                        cannot(format!("the card has ports 0 to {}", shape.ports - 1))
                    }
                    Kind::PortCard => Ok(()),
                },
                Source::Entry(_) if shape.attach == Attach::VhostUser => cannot(
                    "with attach = \"vhost-user\" QEMU owns the MSI-X table; use `q<n>` or `cfg`"
                        .to_owned(),
                ),
                Source::Entry(e) if e >= shape.table_size().max(shape.msi) => {
                    cannot(table_words(shape))
                }
                _ => Ok(()),
            },
            On::Chain(q) | On::Complete(q) => queue(q.unwrap_or(0)),
            _ => Ok(()),
        }
    }
}

fn table_words(shape: &Shape) -> String {
    match shape.table_size().max(shape.msi) {
        0 => "the device has neither MSI-X nor MSI".to_owned(),
        n => format!("the device has messages 0 to {}", n - 1),
    }
}

impl On {
    fn parse(text: &str) -> Result<Self, FaultError> {
        let (body, after) = match text.strip_suffix('!') {
            Some(body) => (body, true),
            None => (text, false),
        };
        let unknown = || {
            FaultError::new(format!("`{text}` is not a trigger: {FORMS}"))
                .help(nearest(text, WORDS))
        };
        let time = |value: &str| {
            duration(value.trim_matches(['"', ' '])).ok_or_else(|| {
                FaultError::new(format!(
                    "`{text}`: expected a time with its unit, such as 2s or 10ms"
                ))
            })
        };
        let on = match body {
            "status.=0" => return Ok(Self::StatusZero { after }),
            "reset.begin" => Self::ResetBegin,
            "reset.end" => Self::ResetEnd,
            "live" => Self::Live,
            "flr" => Self::FunctionReset,
            "bme.0" => Self::BusMasterOff,
            _ => {
                if let Some(name) = body.strip_prefix("status.+") {
                    let bit = Status::bit_named(name)
                        .filter(|bit| *bit != Status::NEEDS_RESET)
                        .ok_or_else(|| {
                            let known = ["ACK", "DRIVER", "FEATURES_OK", "DRIVER_OK", "FAILED"];
                            FaultError::new(format!(
                                "`{name}` is not a bit that a driver adds: expected {}",
                                known.join(", ")
                            ))
                            .help(nearest(name, known))
                        })?;
                    return Ok(Self::StatusAdds { bit, after });
                }
                if let Some(value) = body.strip_prefix("at=") {
                    Self::At(time(value)?)
                } else if let Some(value) = body.strip_prefix("every=") {
                    match time(value)? {
                        0 => {
                            return Err(FaultError::new(format!(
                                "`{text}`: expected a time above 0"
                            )));
                        }
                        period => Self::Every(period),
                    }
                } else if let Some(name) = body.strip_prefix("host:") {
                    Self::Host(word(name).ok_or_else(unknown)?)
                } else if let Some(id) = body.strip_prefix("fault:") {
                    Self::Fault(word(id).ok_or_else(unknown)?)
                } else if let Some((object, source)) = bracketed(body) {
                    match object {
                        "irq.due" => Self::IrqDue(Source::parse(source)?),
                        "irq.sent" => Self::IrqSent(Source::parse(source)?),
                        "chain" => Self::Chain(queue(source)?),
                        "complete" => Self::Complete(queue(source)?),
                        _ => return Err(unknown()),
                    }
                } else {
                    let is_access = body == "ntf" || body.ends_with(".rd") || body.ends_with(".wr");
                    if !is_access {
                        return Err(unknown());
                    }
                    let pattern = Pattern::parse(body)?;
                    return Ok(Self::Access { pattern, after });
                }
            }
        };
        if after {
            return Err(FaultError::new(format!(
                "`{text}`: `!` (after) is for register accesses and status writes"
            )));
        }
        Ok(on)
    }

    /// Whether a delay can follow.
    fn may_wait(&self) -> bool {
        !matches!(
            self,
            Self::Access { .. } | Self::IrqDue(_) | Self::IrqSent(_) | Self::At(_) | Self::Every(_)
        )
    }

    fn needs_registers(&self) -> bool {
        match self {
            Self::Access { pattern, .. } => pattern.field != Field::Notify,
            Self::StatusAdds { .. }
            | Self::StatusZero { .. }
            | Self::ResetBegin
            | Self::ResetEnd
            | Self::Live
            | Self::FunctionReset
            | Self::BusMasterOff => true,
            _ => false,
        }
    }

    fn provides(&self, name: Name) -> bool {
        match name {
            Name::Val => match self {
                Self::Access { pattern, after } => {
                    pattern.op == Op::Write || *after || pattern.field == Field::Notify
                }
                Self::StatusAdds { .. } | Self::StatusZero { .. } | Self::Complete(_) => true,
                _ => false,
            },
            Name::Queue => matches!(
                self,
                Self::Access { .. }
                    | Self::IrqDue(_)
                    | Self::IrqSent(_)
                    | Self::Chain(_)
                    | Self::Complete(_)
            ),
            Name::Entry => matches!(
                self,
                Self::IrqDue(_)
                    | Self::IrqSent(_)
                    | Self::Access {
                        pattern: Pattern {
                            field: Field::MsixEntry(_),
                            ..
                        },
                        ..
                    }
            ),
            Name::Width | Name::Off => matches!(
                self,
                Self::Access { .. } | Self::StatusAdds { .. } | Self::StatusZero { .. }
            ),
            _ => true,
        }
    }
}

impl Source {
    /// Reads what stands in the brackets of `irq.due[…]`.
    ///
    /// # Errors
    /// The forms that there are.
    pub(super) fn parse(text: &str) -> Result<Self, FaultError> {
        if text == "any" {
            return Ok(Self::Any);
        }
        if let Some(entry) = text.strip_prefix('e').and_then(|n| n.parse().ok()) {
            return Ok(Self::Entry(entry));
        }
        match text.parse::<Cause>() {
            Ok(cause) if cause != Cause::None => Ok(Self::Event(cause)),
            _ => Err(FaultError::new(format!(
                "`{text}` is not a source of interrupts: expected q<n>, cfg, port<n>, e<n> or any"
            ))),
        }
    }
}

/// The status that an access writes, if it does.
pub(super) fn writes_status(access: &Access) -> Option<u8> {
    use crate::spec::CommonCfg;
    (access.op == Op::Write && access.field == Some(Field::Common(CommonCfg::DeviceStatus)))
        .then(|| access.val.unwrap_or(0) as u8)
}

fn word(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn bracketed(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix(']')?.split_once('[')
}

fn queue(text: &str) -> Result<Option<u16>, FaultError> {
    if text == "any" {
        return Ok(None);
    }
    text.strip_prefix('q')
        .unwrap_or(text)
        .parse()
        .map(Some)
        .map_err(|_| FaultError::new(format!("`{text}` is not a queue: expected q<n> or any")))
}

/// The place of `part` in `whole`, if it is a part of it.
pub(super) fn place(
    whole: &Range<usize>,
    text_len: usize,
    part: Option<Range<usize>>,
) -> Range<usize> {
    match part {
        // A one-line string without escapes: its quotes are all that is added.
        Some(part) if whole.len() == text_len + 2 => {
            whole.start + 1 + part.start..whole.start + 1 + part.end
        }
        _ => whole.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::CommonCfg;

    fn on(text: &str) -> On {
        Trigger::parse(text)
            .unwrap_or_else(|e| panic!("{text}: {e}"))
            .on
    }

    #[test]
    fn every_form_is_read() {
        let vector = Field::Common(CommonCfg::QueueMsixVector);
        let access = |field, op, after| On::Access {
            pattern: Pattern { field, op },
            after,
        };
        assert_eq!(
            on("cc.queue_msix_vector.wr"),
            access(vector, Op::Write, false)
        );
        assert_eq!(
            on("cc.queue_msix_vector.rd!"),
            access(vector, Op::Read, true)
        );
        assert_eq!(on("isr.rd"), access(Field::Isr, Op::Read, false));
        assert_eq!(on("dev.4.rd"), access(Field::Device(4), Op::Read, false));
        assert_eq!(on("ntf"), access(Field::Notify, Op::Write, false));
        assert_eq!(
            on("pci.msixctl.wr"),
            access(Field::MsixControl, Op::Write, false)
        );
        assert_eq!(
            on("port.doorbell.wr"),
            access(
                Field::Port(crate::spec::PortCard::Doorbell),
                Op::Write,
                false
            )
        );
        assert_eq!(
            on("msix.3.wr"),
            access(Field::MsixEntry(3), Op::Write, false)
        );
        assert_eq!(
            on("status.+DRIVER_OK!"),
            On::StatusAdds {
                bit: Status::DRIVER_OK,
                after: true
            }
        );
        assert_eq!(
            on("status.+ACK"),
            On::StatusAdds {
                bit: Status::ACKNOWLEDGE,
                after: false
            }
        );
        assert_eq!(on("status.=0"), On::StatusZero { after: false });
        assert_eq!(on("reset.begin"), On::ResetBegin);
        assert_eq!(on("reset.end"), On::ResetEnd);
        assert_eq!(on("live"), On::Live);
        assert_eq!(on("flr"), On::FunctionReset);
        assert_eq!(on("bme.0"), On::BusMasterOff);
        assert_eq!(
            on("irq.due[q1]"),
            On::IrqDue(Source::Event(Cause::Queue(1)))
        );
        assert_eq!(on("irq.sent[e7]"), On::IrqSent(Source::Entry(7)));
        assert_eq!(
            on("irq.due[port2]"),
            On::IrqDue(Source::Event(Cause::Port(2)))
        );
        assert_eq!(on("chain[any]"), On::Chain(None));
        assert_eq!(on("complete[q0]"), On::Complete(Some(0)));
        assert_eq!(on("at=2s"), On::At(2_000_000_000));
        assert_eq!(on("at=\"2s\""), On::At(2_000_000_000));
        assert_eq!(on("every=10ms"), On::Every(10_000_000));
        assert_eq!(on("host:now"), On::Host("now".into()));
        assert_eq!(on("fault:irq-drop"), On::Fault("irq-drop".into()));
    }

    #[test]
    fn a_delay_follows_what_is_no_access() {
        let trigger = Trigger::parse("live+200ms").unwrap();
        assert_eq!(
            trigger,
            Trigger {
                on: On::Live,
                delay: 200_000_000
            }
        );
        assert_eq!(Trigger::parse("fault:nr+1s").unwrap().delay, 1_000_000_000);
        assert_eq!(
            Trigger::parse("status.+DRIVER_OK+1s").unwrap().delay,
            1_000_000_000
        );
        assert!(Trigger::parse("isr.rd+1s").is_err());
        assert!(Trigger::parse("irq.due[q0]+1s").is_err());
    }

    #[test]
    fn what_is_no_trigger_is_refused_with_the_nearest() {
        for (text, help) in [
            (
                "cc.queue_vector.wr",
                Some("did you mean `cc.queue_msix_vector`?"),
            ),
            ("reset.begins", Some("did you mean `reset.begin`?")),
            ("status.+DRIVEROK", Some("did you mean `DRIVER_OK`?")),
            ("status.+NEEDS_RESET", None),
            ("irq.due[x]", None),
            ("chain[q]", None),
            ("at=2", None),
            ("every=0s", None),
            ("live!", None),
            ("", None),
            ("fault:", None),
            ("isr", None),
        ] {
            let error = Trigger::parse(text).unwrap_err();
            if help.is_some() {
                assert_eq!(error.help.as_deref(), help, "{text}");
            }
        }
    }

    #[test]
    fn a_trigger_that_can_not_come_is_refused() {
        let block = Shape {
            queues: 2,
            msix: Some(3),
            ..Shape::new(Kind::Block)
        };
        let behind_qemu = Shape {
            attach: Attach::VhostUser,
            ..block.clone()
        };
        let card = Shape::new(Kind::PortCard);
        for (text, shape) in [
            ("irq.due[q2]", &block),
            ("chain[q9]", &block),
            ("irq.due[e3]", &block),
            ("port.doorbell.wr", &block),
            ("dev.500.rd", &block),
            ("isr.wr", &block),
            ("cc.queue_select.wr", &card),
            ("irq.due[port4]", &card),
            ("chain[any]", &card),
            ("live", &card),
            ("cc.queue_select.wr", &behind_qemu),
            ("live", &behind_qemu),
            ("irq.due[e1]", &behind_qemu),
        ] {
            let error = Trigger::parse(text)
                .unwrap()
                .check(text, shape)
                .unwrap_err();
            assert!(
                error.message.starts_with(&format!("`{text}` can't come: ")),
                "{error}"
            );
        }
        for (text, shape) in [
            ("irq.due[q1]", &block),
            ("irq.due[cfg]", &behind_qemu),
            ("ntf", &behind_qemu),
            ("chain[q0]", &behind_qemu),
            ("irq.due[port3]", &card),
            ("flr", &card),
        ] {
            Trigger::parse(text).unwrap().check(text, shape).unwrap();
        }
    }
}

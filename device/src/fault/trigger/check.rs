//! Whether a trigger can come, and what is known when it does.

use super::{On, Source, Trigger};
use crate::fault::error::FaultError;
use crate::fault::predicate::{Name, Pattern};
use crate::shape::{Attach, Kind, Shape};
use crate::spec::{Field, LegacyCfg};
use crate::trace::{Cause, Op};

impl Trigger {
    /// Whether `name` has a value when this trigger matches.
    pub(in crate::fault) fn provides(&self, name: Name) -> bool {
        self.on.provides(name)
    }

    /// Checks that the trigger can come on this device at all.
    pub(in crate::fault) fn check(&self, text: &str, shape: &Shape) -> Result<(), FaultError> {
        let cannot = |why: String| Err(FaultError::new(format!("`{text}` can't come: {why}")));
        if shape.attach == Attach::VhostUser && self.on.needs_registers() {
            return cannot(
                "with attach = \"vhost-user\" QEMU owns the registers and the backend never sees them"
                    .to_owned(),
            );
        }
        let queue = |q: u16| {
            if !shape.kind.is_virtio() {
                cannot("a port-card has no queues".to_owned())
            } else if q >= shape.queues {
                cannot(format!(
                    "the device has queues 0 to {}",
                    shape.queues.saturating_sub(1)
                ))
            } else {
                Ok(())
            }
        };
        match &self.on {
            On::Access { pattern, .. } => match (pattern.field, shape.kind) {
                (
                    Field::Common(_) | Field::Legacy(_) | Field::Isr | Field::Notify | Field::Device(_),
                    Kind::PortCard,
                ) => cannot("a port-card has no virtio registers".to_owned()),
                (Field::Legacy(_), _) if !shape.has_legacy() => cannot(
                    "the device has no legacy interface; use virtio = \"transitional\"".to_owned(),
                ),
                (Field::Port(_) | Field::PortEvents(_), kind) if kind.is_virtio() => {
                    cannot("only a port-card has ports".to_owned())
                }
                (Field::PortEvents(port), _) if u16::from(port) >= shape.ports => cannot(format!(
                    "the card has ports 0 to {}",
                    shape.ports.saturating_sub(1)
                )),
                (Field::Device(off), kind) if off >= kind.config_bytes() => cannot(format!(
                    "device configuration has {} bytes",
                    kind.config_bytes()
                )),
                (Field::MsixEntry(entry), _) if entry >= shape.table_size() => {
                    cannot(table_words(shape))
                }
                (Field::Isr | Field::Legacy(LegacyCfg::IsrStatus), _) if pattern.op == Op::Write => {
                    cannot("drivers read the ISR status, they don't write it".to_owned())
                }
                _ => Ok(()),
            },
            On::StatusAdds { .. } | On::StatusZero { .. } | On::Live
                if shape.kind == Kind::PortCard =>
            {
                cannot("a port-card has no device_status".to_owned())
            }
            On::IrqDue(source) | On::IrqSent(source) | On::IrqUnserved { source, .. } => match *source {
                Source::Event(Cause::Queue(q)) => queue(q),
                Source::Event(Cause::Config) if shape.kind == Kind::PortCard => {
                    cannot("a port-card has no configuration event".to_owned())
                }
                Source::Event(Cause::Port(port)) => match shape.kind {
                    kind if kind.is_virtio() => cannot("only a port-card has ports".to_owned()),
                    _ if u16::from(port) >= shape.ports => cannot(format!(
                        "the card has ports 0 to {}",
                        shape.ports.saturating_sub(1)
                    )),
                    _ => Ok(()),
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
            On::Chain(q) | On::Complete(q) | On::Avail(q) => queue(q.unwrap_or(0)),
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
    /// Whether a delay can follow.
    pub(super) fn may_wait(&self) -> bool {
        !matches!(
            self,
            Self::Access { .. }
                | Self::IrqDue(_)
                | Self::IrqSent(_)
                | Self::IrqUnserved { .. }
                | Self::At(_)
                | Self::Every(_)
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
            | Self::BusMasterOff
            | Self::Sleeps
            | Self::Wakes
            | Self::Unplugged
            | Self::IrqUnserved { .. } => true,
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
            Name::Queue | Name::QueueSize => matches!(
                self,
                Self::Access { .. }
                    | Self::IrqDue(_)
                    | Self::IrqSent(_)
                    | Self::Avail(_)
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

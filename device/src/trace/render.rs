//! One event in one line, for people.

use std::fmt;

use super::{Access, Effect, Event, Input, Op, RingWrite, Step, What};
use crate::spec::{CommonCfg, Field, Status};

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6} {:>12.6} {}",
            self.seq,
            self.time as f64 / 1e9,
            self.what
        )
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(h) => write!(
                f,
                "dev{} {:?} attached by {:?}, {} queues, {} MSI-X entries, features {:#x}",
                h.dev,
                h.shape.kind,
                h.shape.attach,
                h.shape.queues,
                h.shape.table_size(),
                h.features
            ),
            Self::Step(step) => step.fmt(f),
            Self::Fault(x) => write!(
                f,
                "dev{} fault {} ({}, {:?}) on {}, time {}",
                x.dev, x.id, x.fault, x.class, x.object, x.count
            ),
            Self::Ring(r) => write!(
                f,
                "dev{} ring q{}: avail.idx {} used.idx {}",
                r.dev, r.q, r.avail_idx, r.used_idx
            ),
            Self::Packed(r) => write!(
                f,
                "dev{} packed ring q{}: driver {:#x}/{:#x} device {:#x}/{:#x}",
                r.dev, r.q, r.driver_desc, r.driver_flags, r.device_desc, r.device_flags
            ),
            Self::Chain(c) => {
                write!(
                    f,
                    "dev{} q{} chain {} at {:#x}: {} descriptors, {} bytes",
                    c.dev, c.q, c.head, c.position, c.count, c.bytes
                )?;
                for flaw in &c.flaws {
                    write!(f, ", {flaw:?}")?;
                }
                Ok(())
            }
            Self::Altered(a) => write!(
                f,
                "dev{} q{} chain {} was changed: {:?}",
                a.dev, a.q, a.head, a.part
            ),
            Self::Dirty(d) => write!(
                f,
                "dev{} q{} the driver wrote to the device's {:?} ({})",
                d.dev, d.q, d.part, d.element
            ),
            Self::MsixTable { dev, entries } => {
                write!(f, "dev{dev} MSI-X table of {} entries read", entries.len())
            }
            Self::Log { line } => write!(f, "| {line}"),
            Self::Qmp { event, .. } => write!(f, "QEMU {event}"),
            Self::Mark { step, phase, text } => match step {
                Some(step) => write!(f, "step {step} {phase}: {text}"),
                None => write!(f, "{phase}: {text}"),
            },
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dev{} ", self.dev)?;
        match self.access() {
            Some((access, value)) => access.describe(value, f)?,
            None => self.input.fmt(f)?,
        }
        for effect in &self.shown {
            if !matches!(effect, Effect::Value(_)) {
                write!(f, " -> {effect}")?;
            }
        }
        if self.heard.is_some() || self.meant.is_some() {
            f.write_str(" [changed by a fault]")?;
        }
        Ok(())
    }
}

impl Access {
    fn describe(&self, value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.width) * 2;
        match self.op {
            Op::Read => f.write_str("rd ")?,
            Op::Write => f.write_str("wr ")?,
        }
        match self.field {
            Some(field) => write!(f, "{field}")?,
            None => write!(f, "{:?}+{:#x}", self.space, self.off)?,
        }
        if let Some(q) = self.q {
            write!(f, "[q{q}]")?;
        }
        if self.register() == Some(Field::Common(CommonCfg::DeviceStatus)) && self.width == 1 {
            return write!(f, " = {}", Status(value as u8));
        }
        write!(f, " = {value:#0width$x}", width = digits + 2)
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(a) => a.describe(a.val.unwrap_or(0), f),
            Self::FunctionReset => f.write_str("function reset"),
            Self::Irqs {
                kind,
                start,
                count,
                wired,
            } => {
                write!(
                    f,
                    "{kind:?} {start}+{count} {}",
                    if *wired { "wired" } else { "unwired" }
                )
            }
            Self::Dma {
                address,
                size,
                mapped,
            } => {
                write!(
                    f,
                    "memory {address:#x}+{size:#x} {}",
                    if *mapped { "mapped" } else { "unmapped" }
                )
            }
            Self::Used { queue } => write!(f, "used buffers in q{queue}"),
            Self::Chain {
                queue,
                head,
                request,
            } => write!(f, "q{queue} chain {head} {request}"),
            Self::Complete { queue, head, len } => {
                write!(f, "q{queue} chain {head} complete, {len} bytes")
            }
            Self::Config { offset, bytes } => {
                write!(f, "configuration {offset:#x}+{} changes", bytes.len())
            }
            Self::Reconfigured { offset, bytes } => {
                write!(f, "configuration {offset:#x}+{} as commanded", bytes.len())
            }
            Self::Broken => f.write_str("device error"),
            Self::Unplugged => f.write_str("unplugged"),
            Self::Kick { queue } => write!(f, "kick q{queue}"),
            Self::Vhost { message, value } => write!(f, "vhost {message} {value:#x}"),
            Self::Host(host) => write!(f, "host {}", host.command),
            Self::Time => f.write_str("time"),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(v) => write!(f, "{v:#x}"),
            Self::Message(m) => write!(f, "{:?} {} ({})", m.kind, m.entry, m.cause),
            Self::Pended(m) => write!(f, "{:?} {} pends ({})", m.kind, m.entry, m.cause),
            Self::Unmapped { cause } => write!(f, "no vector for {cause}"),
            Self::Pin(level) => {
                write!(f, "INTx {}", if *level { "asserted" } else { "deasserted" })
            }
            Self::Kick { queue } => write!(f, "kick q{queue}"),
            Self::Start(s) => write!(f, "start {} queues", s.queues.len()),
            Self::Stop => f.write_str("stop"),
            Self::Suspend => f.write_str("suspend"),
            Self::Resume => f.write_str("resume"),
            Self::StartQueue(setup) => write!(f, "start q{}", setup.index),
            Self::StopQueue { queue } => write!(f, "stop q{queue}"),
            Self::Complete { queue, id, len } => write!(f, "q{queue} used {id}, {len} bytes"),
            Self::Ring { queue, write } => match write {
                RingWrite::Flags(flags) => write!(f, "q{queue} used.flags = {flags:#x}"),
                RingWrite::Jump(by) => write!(f, "q{queue} used.idx jumps by {by}"),
                RingWrite::AvailEvent(at) => write!(f, "q{queue} avail_event = {at}"),
            },
            Self::Call { queue } => write!(f, "call q{queue}"),
            Self::ConfigWrite { offset, bytes } => {
                write!(f, "configuration {offset:#x}+{} written", bytes.len())
            }
            Self::ConfigChanged => f.write_str("configuration changed"),
            Self::Control { command, msix, msi } => {
                write!(f, "cmd={command:#x} msixctl={msix:#x} msictl={msi:#x}")
            }
        }
    }
}

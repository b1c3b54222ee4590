//! WIN-MSI: messages as Windows grants them to a driver.
//!
//! Sources named by page are those of Microsoft's driver documentation (kernel/, wdf/, network/).

use std::collections::BTreeMap;

use misfire_device::shape::Attach;
use misfire_device::spec::Status;
use misfire_device::trace::{Cause, IrqKind, Mode};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::msix::Diagnosis;
use super::registry::{Level, Rule, Sight};
use super::state::State;
use super::track::{Attempt, Owed, Starts};
use crate::log::Said;

const BASE: Rule = Rule {
    level: Level::Vendor,
    robust: true,
    virtio: false,
    sight: Sight::Anything,
    ..Rule::BASE
};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "WIN-MSI-001",
        sentence: "The driver works with fewer messages than its device asks for, down to one.",
        source: "kernel/introduction-to-message-signaled-interrupts; S01, S05, S11, S17, S23; B01, B06, B10, B24",
        breaks: "fewer messages are granted, and the driver does not start, or misses what the device tells it",
        proof: "Messages granted: as the guest says, else the distinct vectors of its interrupt objects, else the distinct messages in the MSI-X table.",
        follows: &[
            "VIO-MSIX-011",
            "WIN-MSI-009",
            "WIN-MSI-010",
            "WIN-MSI-012",
            "WIN-MSI-015",
        ],
        watch: Watch::with::<Fewer>(),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-002",
        sentence: "The driver works with one line-based interrupt.",
        source: "kernel/using-interrupt-resource-descriptors; S06, S07, S17; B19, B36, P1",
        breaks: "no message is granted, and the driver does not start on the line, or its requests fail there",
        proof: "On a device with neither capability, or that had neither enabled, and as the guest says.",
        follows: &["VIO-ISR-001", "VIO-ISR-002", "VIO-MSIX-001"],
        watch: Watch::with::<OnLine>(),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-006",
        sentence: "A virtio driver on Windows writes MessageNumber, not Vector, into the vector registers.",
        source: "WDF_INTERRUPT_INFO (wdf/); S08, S18, B05",
        breaks: "a vector outside the table is written, and it is the Vector of one of the interrupts",
        proof: "As VIO-MSIX-014.",
        follows: &["VIO-MSIX-001"],
        virtio: true,
        sight: Sight::Registers,
        watch: Watch::with::<Diagnosis>(),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-010",
        sentence: "The number of messages is read from the raw resource descriptor: the translated one holds vector and level in its place.",
        source: "CM_PARTIAL_RESOURCE_DESCRIPTOR; S02, B02",
        breaks: "the driver logs 0 messages for a message resource and makes no interrupt object of it; using one of several granted messages is a warning",
        watch: Watch::with::<Counted>(),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-012",
        sentence: "An interrupt object is made for each message that was granted, and for no more.",
        source: "wdf/creating-an-interrupt-object, WdfInterruptCreate; S03, S10, B01",
        breaks: "several interrupt objects have one vector, and connecting them fails: STATUS_INVALID_PARAMETER_1, then STATUS_DEVICE_POWER_FAILURE",
        proof: "From what the driver and the framework log.",
        watch: Watch::with::<Objects>(),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-015",
        sentence: "Table entries beyond the granted messages are message 0: what is mapped to them arrives there, and is looked at there.",
        source: "kernel/dynamically-configuring-msi-x; B24",
        breaks: "an event is mapped to an entry that has another entry's message, the message is sent, and the event is not looked at",
        proof: "From the MSI-X table as read when the device went live. Held also by a driver that maps its events to granted messages alone, of a table that has more entries.",
        watch: Watch::with::<Surplus>(),
        ..BASE
    },
];

/// Messages that a driver has a use for: one for each event of the device.
fn useful(s: &State) -> u32 {
    let shape = &s.dev.shape;
    if shape.kind.is_virtio() {
        u32::from(shape.queues) + 1
    } else {
        u32::from(shape.ports)
    }
}

/// Messages that the device offers and a driver has a use for.
fn requested(s: &State) -> u32 {
    let shape = &s.dev.shape;
    useful(s).min(shape.table_size().max(shape.msi).into())
}

#[derive(Default)]
struct Fewer {
    starts: Starts,
    short: Option<(u64, u32)>,
    started: bool,
    failed: Option<(u64, String)>,
}

impl Fewer {
    fn attempt(&mut self, attempt: &Attempt, requested: u32, seq: u64) {
        if let Some(granted) = attempt.granted().filter(|g| (1..requested).contains(g)) {
            let told = attempt
                .objects
                .first()
                .map(|(seq, ..)| *seq)
                .or(attempt.resources.first().map(|(seq, _)| *seq));
            self.short.get_or_insert((told.unwrap_or(seq), granted));
        }
        self.started |= attempt.started.is_some();
        self.failed = attempt.failed.clone().or(self.failed.take());
    }
}

impl Machine for Fewer {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        let requested = requested(s);
        let mut starts = std::mem::take(&mut self.starts);
        if let Some(attempt) = starts.see(now) {
            self.attempt(attempt, requested, now.seq);
        }
        self.starts = starts;
        if self.short.is_none()
            && self.starts.over.is_empty()
            && s.mode() == Mode::Msix
            && let Some(granted) = s
                .dev
                .granted()
                .filter(|g| (1..requested as usize).contains(g))
        {
            self.short = Some((now.seq, granted as u32));
        }
        let Some((told, granted)) = self.short else {
            return;
        };
        let live = self.started || s.ever_live();
        let lost = matches!(now.said(), Some(Said::Lost { .. } | Said::TimedOut { .. }));
        let missed = lost || now.failure();
        let messages = || format!("{granted} of {requested} messages granted");
        if missed && live && s.faults.is_empty() {
            say.broken(
                Object::Device,
                &[told, now.seq],
                format!("{}, and the driver misses events of the device", messages()),
            );
        } else if now.success() && live {
            say.held(Object::Device);
        } else if matches!(now.at, At::End) && !live {
            match &self.failed {
                Some((seq, status)) => say.broken(
                    Object::Device,
                    &[told, *seq],
                    format!("{}, and the driver does not start: {status}", messages()),
                ),
                None if s.epoch.failed.is_some() => say.broken(
                    Object::Device,
                    &[told, s.epoch.failed.unwrap_or(now.seq)],
                    format!("{}, and the driver sets FAILED", messages()),
                ),
                None => {}
            }
        }
    }
}

#[derive(Default)]
struct OnLine {
    starts: Starts,
    /// The system granted a line: when it was said.
    granted: Option<u64>,
    tried: Option<u64>,
}

impl Machine for OnLine {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        if !s.dev.shape.pin {
            return say.not_applicable("the device has no interrupt pin");
        }
        if now.sets(Status::DRIVER) {
            self.tried.get_or_insert(now.seq);
        }
        let mut failed = None;
        if let Some(attempt) = self.starts.see(now) {
            if attempt.on_line() {
                let told = attempt.resources.first().map_or(now.seq, |(seq, _)| *seq);
                self.granted = Some(told);
                failed = attempt.failed.clone();
            } else if !attempt.resources.is_empty() {
                self.granted = None;
            }
        }
        if let Some((seq, status)) = failed {
            say.broken(
                Object::Device,
                &[self.granted.unwrap_or(seq), seq],
                format!(
                    "a line-based interrupt was granted, and the driver does not start: {status}"
                ),
            );
        }
        let registers = s.dev.shape.attach == Attach::VfioUser;
        let no_messages = registers && !s.past.msix_enabled && s.past.msi_enabled.is_none();
        let live = s.ever_live() && s.past.mode == Some(Mode::Intx);
        let on_line = self.granted.is_some() || (no_messages && live);
        if on_line && now.failure() && s.faults.is_empty() {
            say.broken(
                Object::Device,
                &[
                    self.granted.or(s.epoch.driver_ok).unwrap_or(now.seq),
                    now.seq,
                ],
                "the driver runs on the line, and the guest waits for it in vain",
            );
        } else if on_line && now.success() {
            say.held(Object::Device);
        } else if matches!(now.at, At::End)
            && self.starts.over.iter().all(|a| a.resources.is_empty())
            && no_messages
            && !s.ever_live()
            && s.faults.is_empty()
            && let Some(tried) = self.tried
        {
            let failed = self
                .starts
                .last()
                .and_then(|a| a.failed.as_ref())
                .map(|(seq, _)| *seq);
            if let Some(failed) = failed.or(s.epoch.failed) {
                say.broken(
                    Object::Device,
                    &[tried, failed],
                    "no message is enabled, and the driver does not start on the line",
                );
            }
        }
    }
}

#[derive(Default)]
struct Counted {
    starts: Starts,
}

impl Machine for Counted {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        let Some(attempt) = self.starts.see(now) else {
            return;
        };
        let zero = attempt.resources.iter().find(|(_, n)| *n == Some(0));
        if let (Some((seq, _)), true) = (zero, attempt.objects.is_empty()) {
            say.broken(
                Object::Device,
                &[*seq],
                "the driver counts 0 messages in a message resource: that is the translated descriptor, the count is in the raw one",
            );
            return;
        }
        if let Some((seq, started)) = &attempt.started {
            let plenty = started.granted >= useful(s) && started.granted > 1;
            let msix = started.mode.starts_with("msix");
            if plenty && msix && started.used == 1 && s.past.refused_mapping.is_none() {
                say.warn(
                    Object::Device,
                    &[*seq],
                    format!(
                        "{} messages were granted, and the driver uses one",
                        started.granted
                    ),
                );
            } else if zero.is_none() && attempt.resources.iter().any(|(_, n)| n.is_some()) {
                say.held(Object::Device);
            }
        }
    }
}

#[derive(Default)]
struct Objects {
    starts: Starts,
}

impl Machine for Objects {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let Some(attempt) = self.starts.see(now) else {
            return;
        };
        let mut by_vector: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (seq, _, vector) in &attempt.objects {
            by_vector.entry(*vector).or_default().push(*seq);
        }
        let twice = by_vector.iter().find(|(_, objects)| objects.len() > 1);
        let Some((vector, objects)) = twice else {
            if !attempt.objects.is_empty() && attempt.started.is_some() {
                say.held(Object::Device);
            }
            return;
        };
        let count = objects.len();
        let mut evidence = objects.clone();
        let mut text = format!(
            "{count} interrupt objects have the vector {vector:#x}: they were made from a descriptor of one message"
        );
        if let Some((seq, status)) = &attempt.connect_failed {
            evidence.push(*seq);
            text += &format!("; connecting them fails with {status}");
        }
        if let Some((seq, status)) = &attempt.failed {
            evidence.push(*seq);
            text += &format!("; the device does not start: {status}");
        }
        if attempt.started.is_some() {
            say.warn(Object::Device, &evidence, text);
        } else {
            say.broken(Object::Device, &evidence, text);
        }
    }
}

#[derive(Default)]
struct Surplus {
    /// What came where another entry's message is.
    owed: Owed,
    /// What came at a granted entry of a table that has others.
    granted: Owed,
}

impl Machine for Surplus {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        for owed in [&mut self.owed, &mut self.granted] {
            for (object, _) in owed.settle(now) {
                say.held(object);
            }
        }
        let table = usize::from(s.dev.shape.table_size());
        let surplus = s.dev.granted().is_some_and(|granted| granted < table);
        for message in now.messages().filter(|m| m.kind == IrqKind::Msix) {
            let object = Object::of_cause(message.cause);
            if message.cause != Cause::None && s.alias(message.entry) != message.entry {
                self.owed.raise(object, now.seq);
            } else if message.cause != Cause::None && surplus {
                self.granted.raise(object, now.seq);
            }
        }
        self.granted.missed(now);
        if !s.faults.is_empty() && now.failure() {
            self.owed = Owed::default();
        }
        for (object, since) in self.owed.missed(now) {
            let entry = s.vector(object);
            let at = match object {
                Object::Port(p) => u16::from(p),
                _ => entry,
            };
            say.broken(
                object,
                &[since, now.seq],
                format!(
                    "{object} is mapped to entry {at}, which was not granted and sends message {}; the driver does not look at it there",
                    s.alias(at)
                ),
            );
        }
    }
}

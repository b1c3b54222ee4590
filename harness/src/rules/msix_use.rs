//! VIO-MSIX: what becomes of mapped events (virtio 1.3, 4.1.5.1.2 to 4.1.5.4).

use std::collections::BTreeMap;

use misfire_device::spec::{NO_VECTOR, Status, msix_control};
use misfire_device::trace::{Cause, Effect, IrqKind, Mode};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use super::track::{Owed, Starts};
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-MSIX-008",
        level: Level::Derived,
        sentence: "The entry that an event is mapped to can be delivered: programmed and not masked.",
        source: "PCI Local Bus 3.0, 6.8.2; B68",
        breaks: "a message of a live device pends, and still does when the guest misses it, fails, or the trace ends",
        proof: "An entry that is only an alias of another message is WIN-MSI-015's.",
        watch: Watch::with::<Deliverable>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-009",
        level: Level::Derived,
        sentence: "The configuration change event has a vector, so that the driver hears of changes and of DEVICE_NEEDS_RESET.",
        source: "virtio 1.3, 4.1.5.1.2 and 3.2.1 (no sentence asks for it); P7, B11, B12",
        breaks: "the driver is live with MSI-X and never wrote config_msix_vector; only noted",
        watch: Watch::Each(config_mapped),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-010",
        sentence: "One message may mean a configuration change as well as used buffers: a driver that maps several events to one vector looks at all of them.",
        source: "virtio 1.3, 4.1.5.4.2; B08, B11, B17",
        breaks: "two events share a vector, the message is sent for one of them, and that one is not looked at",
        proof: "Only vectors that the driver itself shares; entries that the system made aliases are WIN-MSI-015's.",
        watch: Watch::with::<Shared>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-011",
        sentence: "A table of any size works; only where it has a single vector may the driver use the line instead.",
        source: "virtio 1.3, 4.1.5.1.2.2; B06, B07, B10, B41, B47",
        breaks: "all vectors of the table were granted, none was refused, and the driver does not start, or runs on the line although the table has more than one",
        proof: "Not judged when the driver gave up before FEATURES_OK, when a fault or a queue too small for its requests stood in the way, or when the system granted less than the table has (WIN-MSI-001).",
        watch: Watch::with::<AnySize>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-012",
        level: Level::Derived,
        sentence: "A queue without a vector does not interrupt: the driver polls it, or does not need it.",
        source: "virtio 1.3, 4.1.5.1.2 and 4.1.5.3.1; S21",
        breaks: "the device uses buffers of such a queue, and the driver misses them",
        proof: "By the guest's word: a request that timed out, or was found only then.",
        follows: &[
            "VIO-MSIX-001",
            "VIO-MSIX-002",
            "VIO-MSIX-003",
            "VIO-MSIX-005",
        ],
        watch: Watch::with::<Silent>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-013",
        level: Level::Derived,
        sentence: "Events are unmapped, or the device is reset, before MSI-X is disabled.",
        source: "virtio 1.3, 4.1.5.1.2; B34, B45",
        breaks: "MSI-X is disabled while the device is live and events have vectors; a warning",
        watch: Watch::Each(disabled_first),
        ..Rule::BASE
    },
];

#[derive(Default)]
struct Deliverable {
    pending: BTreeMap<u16, u64>,
}

impl Machine for Deliverable {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let live = now.s.live() && now.s.mode() == Mode::Msix;
        for effect in now.shown() {
            match effect {
                Effect::Message(m) if m.kind == IrqKind::Msix => {
                    self.pending.remove(&m.entry);
                    if live {
                        say.held(Object::of_cause(m.cause));
                    }
                }
                Effect::Pended(m) if live && m.kind == IrqKind::Msix => {
                    self.pending.entry(m.entry).or_insert(now.seq);
                }
                _ => {}
            }
        }
        let missed = matches!(now.said(), Some(Said::Lost { .. } | Said::TimedOut { .. }));
        if missed || now.failure() || (matches!(now.at, At::End) && live) {
            for (entry, since) in std::mem::take(&mut self.pending) {
                say.broken(
                    Object::Device,
                    &[since, now.seq],
                    format!("the message of entry {entry} waits and is never let through: the entry is masked or was not set up"),
                );
            }
        }
        if now.resets() {
            self.pending.clear();
        }
    }
}

fn config_mapped(now: &Now<'_>, say: &mut Say<'_>) {
    let s = now.s;
    if !now.sets(Status::DRIVER_OK) || s.mode() != Mode::Msix {
        return;
    }
    // Refused is VIO-MSIX-003's, lost by a reset VIO-MSIX-005's.
    if s.dev.config_vector != NO_VECTOR {
        say.held(Object::Config);
    } else if s.epoch.config.asked().is_none() && !s.past.mapped.contains_key(&Object::Config) {
        say.info(
            Object::Config,
            &[],
            "the configuration change event has no vector: the driver can't be told of changes",
        );
    }
}

#[derive(Default)]
struct Shared {
    owed: Owed,
}

impl Machine for Shared {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        for (object, _) in self.owed.settle(now) {
            say.held(object);
        }
        let s = now.s;
        for message in now
            .messages()
            .filter(|m| m.kind == IrqKind::Msix && s.live())
        {
            let sharing = s.events().filter(|o| s.vector(*o) == message.entry).count();
            if sharing > 1 && message.cause != Cause::None {
                self.owed.raise(Object::of_cause(message.cause), now.seq);
            }
        }
        for (object, since) in self.owed.missed(now) {
            say.broken(
                object,
                &[since, now.seq],
                format!("a vector that several events share was sent for {object}, which the driver did not look at"),
            );
        }
    }
}

#[derive(Default)]
struct AnySize {
    starts: Starts,
    tried: Option<u64>,
    failed: Option<u64>,
    /// It has run with MSI-X; what it was granted can change later.
    ran: bool,
}

/// Descriptors of a request that has a header, data and a status.
const LEAST_SIZE: u16 = 3;

impl Machine for AnySize {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        self.starts.see(now);
        let s = now.s;
        self.ran |= s.past.mode == Some(Mode::Msix);
        if now.sets(Status::FEATURES_OK) {
            self.tried.get_or_insert(now.seq);
        }
        if now.sets(Status::FAILED) || now.said().is_some_and(Said::is_start_failure) {
            self.failed.get_or_insert(now.seq);
        }
        let table = s.dev.shape.table_size();
        let (At::End, Some(tried), true) = (now.at, self.tried, table > 0) else {
            return;
        };
        let all_granted = self
            .starts
            .most_granted()
            .is_none_or(|n| n >= u32::from(table.min(s.dev.shape.queues + 1)));
        if s.ever_live() && self.ran {
            return say.held(Object::Device);
        }
        let hindered = s.past.refused_mapping.is_some()
            || s.past.refused_features.is_some()
            || !s.faults.is_empty()
            || (0..s.dev.shape.queues).any(|q| s.dev.shape.queue_size.of(q) < LEAST_SIZE);
        if !all_granted || hindered {
            return;
        }
        if s.ever_live() {
            if table == 1 {
                say.held(Object::Device);
            } else {
                let live = s.epoch.driver_ok.or(s.past.live).unwrap_or(tried);
                say.broken(
                    Object::Device,
                    &[tried, live],
                    format!("the table has {table} vectors, none was refused, and the driver runs without them"),
                );
            }
        } else if let Some(failed) = self.failed {
            say.broken(
                Object::Device,
                &[tried, failed],
                format!(
                    "the table has {}, and the driver does not start with it",
                    vectors(table)
                ),
            );
        }
    }
}

fn vectors(n: u16) -> String {
    match n {
        1 => "one vector".to_owned(),
        n => format!("{n} vectors"),
    }
}

#[derive(Default)]
struct Silent {
    owed: Owed,
}

impl Machine for Silent {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        for (object, _) in self.owed.settle(now) {
            say.held(object);
        }
        for cause in now.unmapped().filter(|_| now.s.live()) {
            if let Cause::Queue(q) = cause {
                self.owed.raise(Object::Queue(q), now.seq);
            }
        }
        for (object, since) in self.owed.missed(now) {
            say.broken(
                object,
                &[since, now.seq],
                format!("{object} has no vector; its buffers are used, and the driver misses them"),
            );
        }
    }
}

fn disabled_first(now: &Now<'_>, say: &mut Say<'_>) {
    let s = now.s;
    let disabled = s.mode() == Mode::Msix
        && now
            .shown()
            .any(|e| matches!(e, Effect::Control { msix, .. } if msix & msix_control::ENABLE == 0));
    if !disabled || !s.ever_live() {
        return;
    }
    match s.events().find(|o| s.live() && s.vector(*o) != NO_VECTOR) {
        Some(object) => say.warn(
            object,
            &[],
            format!("MSI-X is disabled while the device is live and {object} has a vector"),
        ),
        None => say.held(Object::Device),
    }
}

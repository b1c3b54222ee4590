//! VIO-MSIX: how events are mapped to vectors (virtio 1.3, 4.1.5.1.2).

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::spec::{CommonCfg as C, NO_VECTOR, Status};
use misfire_device::trace::Mode;

use super::epoch::Mapping;
use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use super::state::State;
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-MSIX-001",
        sentence: "No event is mapped to a vector outside the MSI-X table.",
        source: "virtio 1.3, 4.1.5.1.2.2; S18, B05, B36",
        breaks: "config_msix_vector or queue_msix_vector is written with a value, other than NO_VECTOR, at or above the table's size; without an MSI-X capability that is any value",
        watch: Watch::Each(outside),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-002",
        sentence: "After an event is mapped, the vector register is read to see whether the device took it.",
        source: "virtio 1.3, 4.1.5.1.2.2; S19",
        breaks: "at DRIVER_OK (or at the end, for mappings after it) a vector was written and its register not read since; read only after queue_enable is a warning",
        follows: &["VIO-LEG-004"],
        watch: Watch::with::<ReadBack>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-003",
        level: Level::Derived,
        sentence: "When the device refuses a vector the driver does something about it: other vectors, the line, or an error.",
        source: "virtio 1.3, 4.1.5.1.2.2 (that it is noticed is a MUST, what is done a MAY); B69, P5",
        breaks: "a queue's vector is refused, the driver goes on with MSI-X, and the device would interrupt for the queue and can't; for the configuration change event it is a warning",
        follows: &["VIO-MSIX-001", "VIO-MSIX-002"],
        watch: Watch::with::<Refusal>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-004",
        level: Level::Derived,
        sentence: "A vector register that reads another value than the one written is a failure, as NO_VECTOR is.",
        source: "virtio 1.3, 4.1.5.1.2.2; P6",
        breaks: "another vector reads back, and the driver goes on to DRIVER_OK with it; a warning, since no device may do so",
        robust: true,
        watch: Watch::with::<Lie>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-005",
        level: Level::Derived,
        sentence: "Mappings do not outlive a reset: they are written again in each epoch, after the last reset.",
        source: "virtio 1.3, 4.1.5.1.2.1 (all events are unmapped upon reset) and 2.4; S20, S21, B05, B37",
        breaks: "an event that had a vector before a reset is used with MSI-X after it, and its register was not written again",
        proof: "Judged when the live epoch ends; a queue that the driver polls (interrupts suppressed) is left out.",
        watch: Watch::with::<AfterReset>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-006",
        sentence: "A queue's vector, like its other fields, is written before queue_enable.",
        source: "virtio 1.3, 4.1.4.3.2; P4",
        breaks: "the first vector of a queue in an epoch is written after queue_enable; a later change of it is not counted",
        watch: Watch::Each(before_enable),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-MSIX-007",
        level: Level::Derived,
        sentence: "Vectors are used with MSI-X enabled.",
        source: "virtio 1.3, 4.1.5.1.2; S24, B21",
        breaks: "an event is mapped at DRIVER_OK, and MSI-X is not enabled; a warning",
        watch: Watch::Each(enabled),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-MSIX-014",
        level: Level::Derived,
        sentence: "What the vector registers take is the number of a table entry (the message number), not the processor's vector.",
        source: "the diagnosis of VIO-MSIX-001; S18, B05",
        breaks: "a vector outside the table is written, and it is the low byte of an entry's message data, or the vector of one of the driver's interrupt objects",
        proof: "From the MSI-X table as it was read during the run, and from what the driver logs about its interrupts.",
        follows: &["VIO-MSIX-001"],
        watch: Watch::with::<Diagnosis>(),
        ..Rule::BASE
    },
];

fn register(object: Object) -> String {
    match object {
        Object::Queue(q) => format!("queue_msix_vector of queue {q}"),
        _ => "config_msix_vector".to_owned(),
    }
}

fn outside(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((object, vector)) = now.maps().filter(|(_, v)| *v != NO_VECTOR) else {
        return;
    };
    let name = register(object);
    match now.s.dev.shape.table_size() {
        table if vector < table => say.held(object),
        0 => say.broken(
            object,
            &[],
            format!("{name} is written {vector:#x}; the function has no MSI-X capability"),
        ),
        table => say.broken(
            object,
            &[],
            format!("{name} is written {vector:#x}; the table has {table} entries"),
        ),
    }
}

#[derive(Default)]
pub struct ReadBack {
    /// Vectors written and not read: when, the value, and whether the queue was enabled then.
    open: BTreeMap<Object, (u64, u16, bool)>,
}

impl Machine for ReadBack {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let queue_enabled = |object| match object {
            Object::Queue(q) => super::q::enabled(now.s, q),
            _ => false,
        };
        if let Some((object, vector)) = now.maps() {
            self.open.remove(&object);
            if vector != NO_VECTOR {
                self.open
                    .insert(object, (now.seq, vector, queue_enabled(object)));
            }
        } else if let Some((object, _)) = now.reads_vector()
            && let Some((wrote, vector, late)) = self.open.remove(&object)
        {
            if queue_enabled(object) && !late {
                say.warn(
                    object,
                    &[wrote, now.seq],
                    format!(
                        "{} was written {vector} and is read only after queue_enable",
                        register(object)
                    ),
                );
            } else {
                say.held(object);
            }
        }
        let live_at_end = matches!(now.at, At::End) && now.s.epoch.driver_ok.is_some();
        if now.sets(Status::DRIVER_OK) || live_at_end {
            for (object, (wrote, vector, _)) in std::mem::take(&mut self.open) {
                say.broken(
                    object,
                    &[wrote, now.seq],
                    format!(
                        "{} is written {vector:#x} and not read back",
                        register(object)
                    ),
                );
            }
        }
        if now.resets() {
            self.open.clear();
        }
    }
}

/// Whether the vector that the driver asked for last was refused.
fn refused(s: &State, object: Object) -> Option<(u64, u16)> {
    s.epoch
        .mapping(object)
        .and_then(Mapping::asked)
        .filter(|_| s.vector(object) == NO_VECTOR)
}

#[derive(Default)]
struct Refusal {
    /// Events with a refused vector, and when it was written.
    refused: BTreeMap<Object, u64>,
    last: Option<Object>,
}

impl Machine for Refusal {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        if let Some(object) = self.last.take()
            && let Some((wrote, _)) = refused(s, object)
        {
            self.refused.insert(object, wrote);
        }
        self.last = now.maps().map(|(object, _)| object);
        if now.sets(Status::DRIVER_OK) {
            for (object, wrote) in self.refused.clone() {
                if s.mode() != Mode::Msix || s.vector(object) != NO_VECTOR {
                    self.refused.remove(&object);
                    say.held(object);
                } else if object == Object::Config {
                    self.refused.remove(&object);
                    say.warn(
                        object,
                        &[wrote, now.seq],
                        "the vector for configuration changes was refused, and the driver goes on with MSI-X: it won't be told of them",
                    );
                }
            }
        }
        for cause in now.unmapped().filter(|_| s.live()) {
            let object = Object::of_cause(cause);
            if let (Object::Queue(q), Some(wrote)) = (object, self.refused.get(&object)) {
                let started = s.epoch.driver_ok.unwrap_or(now.seq);
                say.broken(
                    object,
                    &[*wrote, started, now.seq],
                    format!("the vector of queue {q} was refused, and the driver goes on with MSI-X: buffers are used, and no interrupt can say so"),
                );
            }
        }
        let gives_up = now.resets()
            || now.sets(Status::FAILED)
            || now.said().is_some_and(Said::is_start_failure);
        if gives_up || matches!(now.at, At::End) {
            // A device that is not live: the refusal led to something else.
            if s.epoch.driver_ok.is_none() && gives_up {
                for object in self.refused.keys() {
                    say.held(*object);
                }
            }
            self.refused.clear();
        }
    }
}

#[derive(Default)]
struct Lie {
    open: BTreeMap<Object, (u64, u16, u16)>,
}

impl Machine for Lie {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        if let Some((object, got)) = now.reads_vector()
            && let Some((_, asked)) = s.epoch.mapping(object).and_then(Mapping::asked)
            && got != asked
            && got != NO_VECTOR
        {
            self.open.insert(object, (now.seq, asked, got));
        } else if let Some((object, _)) = now.maps() {
            if self.open.remove(&object).is_some() {
                say.held(object);
            }
        } else if now.sets(Status::DRIVER_OK) && s.mode() == Mode::Msix {
            for (object, (read, asked, got)) in std::mem::take(&mut self.open) {
                say.warn(
                    object,
                    &[read, now.seq],
                    format!(
                        "{} was written {asked} and read {got}, and the driver goes on",
                        register(object)
                    ),
                );
            }
        } else if now.status().is_some() || matches!(now.at, At::End) {
            for object in std::mem::take(&mut self.open).into_keys() {
                say.held(object);
            }
        }
    }
}

#[derive(Default)]
struct AfterReset {
    /// Events for which there was no vector in this epoch, first time.
    silent: BTreeMap<Object, u64>,
}

impl Machine for AfterReset {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        for cause in now.unmapped() {
            self.silent
                .entry(Object::of_cause(cause))
                .or_insert(now.seq);
        }
        if !now.ends() {
            return;
        }
        let silent = std::mem::take(&mut self.silent);
        let (Some(reset), Some(live)) = (s.epoch.began, s.epoch.driver_ok) else {
            return;
        };
        if s.past.mode != Some(Mode::Msix) {
            return;
        }
        let events: BTreeSet<_> = s.events().collect();
        for (object, (before, vector)) in s.past.mapped.iter().filter(|(o, _)| events.contains(o)) {
            if s.epoch.mapping(*object).is_some_and(|m| m.wrote.is_some()) {
                say.held(*object);
                continue;
            }
            // A driver that shares fewer vectors after a refusal may leave the configuration out.
            let left_out = *object == Object::Config && s.past.refused_mapping.is_some();
            let polled = matches!(object, Object::Queue(q) if s.suppressed(*q));
            if s.vector(*object) == NO_VECTOR && !left_out && !polled {
                let evidence: Vec<_> = [
                    Some(*before),
                    Some(reset),
                    Some(live),
                    silent.get(object).copied(),
                ]
                .into_iter()
                .flatten()
                .collect();
                say.broken(
                    *object,
                    &evidence,
                    format!("{object} had vector {vector} before the reset, and {} is not written again: it will not interrupt", register(*object)),
                );
            }
        }
    }
}

fn before_enable(now: &Now<'_>, say: &mut Say<'_>) {
    if now.wrote(C::QueueEnable) == Some(1) {
        let q = now.s.dev.queue_select;
        let first = now.s.epoch.queues.get(&q).and_then(|f| f.mapping.first);
        if first.is_some() {
            say.held(Object::Queue(q));
        }
    }
    if let Some((object @ Object::Queue(q), vector)) = now.maps()
        && vector != NO_VECTOR
        && let Some(facts) = now.s.epoch.queues.get(&q)
        && let (Some(enabled), None) = (facts.enabled, facts.mapping.first)
    {
        say.broken(
            object,
            &[enabled, now.seq],
            format!("the vector of queue {q} is written after queue_enable"),
        );
    }
}

fn enabled(now: &Now<'_>, say: &mut Say<'_>) {
    let s = now.s;
    if !now.sets(Status::DRIVER_OK) {
        return;
    }
    for object in s.events().filter(|o| s.vector(*o) != NO_VECTOR) {
        if s.mode() == Mode::Msix {
            say.held(object);
        } else {
            let wrote = s.epoch.mapping(object).and_then(|m| m.wrote);
            say.warn(
                object,
                &[wrote.map_or(now.seq, |(seq, _)| seq), now.seq],
                format!("{object} has a vector, and MSI-X is not enabled at DRIVER_OK"),
            );
        }
    }
}

/// Finds out where a vector outside the table comes from.
#[derive(Default)]
pub struct Diagnosis {
    wrong: Vec<(u64, Object, u16)>,
    right: bool,
    /// Low byte of the message data of each entry that was ever programmed, with the entry.
    data: BTreeMap<u16, u16>,
    /// Vectors of interrupt objects as logged, with the message number.
    logged: BTreeMap<u16, (u64, u32)>,
}

impl Machine for Diagnosis {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let Some((object, vector)) = now.maps().filter(|(_, v)| *v != NO_VECTOR) {
            if vector < now.s.dev.shape.table_size() {
                self.right = true;
            } else {
                self.wrong.push((now.seq, object, vector));
            }
        }
        if let At::Table(entries) = now.at {
            for (n, entry) in entries.iter().enumerate().filter(|(_, e)| e.addr != 0) {
                self.data
                    .entry(entry.data as u16 & 0xff)
                    .or_insert(n as u16);
            }
        }
        if let Some(Said::Interrupt {
            message: true,
            number,
            vector,
        }) = now.said()
        {
            self.logged
                .entry(*vector as u16)
                .or_insert((now.seq, *number));
        }
        if matches!(now.at, At::End) {
            self.tell(say);
        }
    }
}

impl Diagnosis {
    fn tell(&self, say: &mut Say<'_>) {
        const MIXED_UP: &str = "the driver wrote the vector where the message number belongs";
        for (seq, object, vector) in &self.wrong {
            if let Some(entry) = self.data.get(vector) {
                say.broken(
                    *object,
                    &[*seq],
                    format!("{vector:#x} is the APIC vector of entry {entry}: {MIXED_UP}"),
                );
            } else if let Some((said, number)) = self.logged.get(vector) {
                say.broken(
                    *object,
                    &[*said, *seq],
                    format!("{vector:#x} is the APIC vector of message {number}, as the driver itself logged: {MIXED_UP}"),
                );
            } else if self.data.is_empty() && self.logged.is_empty() {
                say.inconclusive(
                    &[*seq],
                    "a vector outside the table was written; neither the MSI-X table nor the driver's log tells where it comes from",
                );
            }
        }
        if self.wrong.is_empty() && self.right {
            say.held(Object::Device);
        }
    }
}

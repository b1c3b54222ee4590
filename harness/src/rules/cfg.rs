//! VIO-CFG: device configuration (virtio 1.3, 2.5 and 4.1.5.4).

use misfire_device::shape::Kind;
use misfire_device::spec::{CommonCfg as C, ConfigField, Field, Rights, Status, isr};
use misfire_device::trace::{Cause, Mode, Op};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use super::track::Owed;
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-CFG-001",
        level: Level::Should,
        sentence: "A field of 64 bits is read between two reads of config_generation.",
        source: "virtio 1.3, 2.5.1; B59",
        breaks: "capacity is read with no read of config_generation before it, or none after it",
        proof: "A run that ends while the driver reads says nothing of what it would have read next.",
        watch: Watch::with::<Bracket>(),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-CFG-002",
        sentence: "Reads of more than 32 bits are not taken to be atomic: when config_generation changed meanwhile, they are made again.",
        source: "virtio 1.3, 2.5.1",
        breaks: "config_generation differs before and after, and device configuration is not read again",
        watch: Watch::with::<Torn>(),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-CFG-003",
        sentence: "An optional field of device configuration is read only if its feature is offered.",
        source: "virtio 1.3, 2.5.1 and 5.2.4",
        breaks: "a field is read whose feature the device does not offer",
        follows: &["VIO-LEG-001"],
        watch: Watch::Each(gated),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-CFG-004",
        level: Level::Derived,
        sentence: "When the device tells of a configuration change, the driver looks at the configuration or at device_status.",
        source: "virtio 1.3, 4.1.5.5 and 3.2.1; B08, B11, B12, B13",
        breaks: "a configuration change message is sent, or ISR status read with bit 1, and neither is looked at",
        proof: "Judged when the guest fails, or at the reset or the end of the trace if the guest did other work in between.",
        follows: &["VIO-ISR-002", "VIO-MSIX-010"],
        watch: Watch::with::<Change>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-CFG-005",
        level: Level::Derived,
        sentence: "Of a block device's configuration only writeback is written, and only with CONFIG_WCE.",
        source: "virtio 1.3, 5.2.5; no sentence forbids other writes for this device type",
        breaks: "another write to device configuration",
        follows: &["VIO-LEG-001"],
        watch: Watch::Each(writes),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-CFG-006",
        level: Level::Derived,
        sentence: "Reading again because config_generation changed has an end.",
        source: "B59, P13; see ROB-005",
        breaks: "more than a hundred reads in a row because of a changed generation",
        watch: Watch::with::<Churn>(),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-CFG-007",
        level: Level::Derived,
        sentence: "A configuration change interrupt with nothing changed does no harm.",
        source: "virtio 1.3, 4.1.5.4; B61",
        breaks: "after such an interrupt the guest crashes, or the driver resets the device before it does anything else",
        watch: Watch::with::<Nothing>(),
        ..Rule::BASE
    },
];

/// The field of the device's configuration at an offset.
fn config_at(now: &Now<'_>, offset: u16) -> Option<&'static ConfigField> {
    now.s.dev.shape.kind.device_type()?.config_at(offset)
}

/// Whether an access reads device configuration: the offset and the field there.
fn config_read(now: &Now<'_>) -> Option<(u16, Option<&'static ConfigField>)> {
    let (access, _) = now.access()?;
    match access.field {
        Some(Field::Device(offset)) if access.op == Op::Read => {
            Some((offset, config_at(now, offset)))
        }
        _ => None,
    }
}

#[derive(Default)]
struct Bracket {
    open: bool,
    waiting: Option<(u64, &'static str)>,
    /// The driver went on to something else.
    goes_on: bool,
}

impl Machine for Bracket {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.read(C::ConfigGeneration).is_some() {
            if self.waiting.take().is_some() {
                say.held(Object::Config);
            }
            self.open = true;
        } else if let Some((_, Some(field))) = config_read(now)
            && field.width == 8
        {
            if self.open {
                self.waiting.get_or_insert((now.seq, field.name));
                self.goes_on = false;
            } else {
                say.broken(
                    Object::Config,
                    &[],
                    format!(
                        "{} is read with no read of config_generation before it",
                        field.name
                    ),
                );
            }
        } else if now.status().is_some() || matches!(now.at, At::End) {
            self.open = false;
            let goes_on = self.goes_on || now.status().is_some();
            if let Some((read, name)) = self.waiting.take().filter(|_| goes_on) {
                say.broken(
                    Object::Config,
                    &[read],
                    format!("{name} is read with no read of config_generation after it"),
                );
            }
        } else if now.access().is_some() {
            self.goes_on = true;
        }
    }
}

#[derive(Default)]
struct Torn {
    before: Option<u64>,
    read: bool,
    again: Option<u64>,
    /// The driver did something else since.
    goes_on: bool,
}

/// Whether the driver gives up, or begins anew: then it believes nothing of what it read.
fn gives_up(now: &Now<'_>) -> bool {
    now.resets() || now.sets(Status::FAILED)
}

impl Machine for Torn {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let Some(generation) = now.read(C::ConfigGeneration) {
            if self.read && self.before.is_some_and(|b| b != generation) {
                self.again.get_or_insert(now.seq);
                self.goes_on = false;
            }
            (self.before, self.read) = (Some(generation), false);
        } else if config_read(now).is_some() {
            self.read = true;
            if self.again.take().is_some() {
                say.held(Object::Config);
            }
        } else if gives_up(now) {
            *self = Self::default();
        } else if now.status().is_some() || matches!(now.at, At::End) {
            (self.before, self.read) = (None, false);
            // A run may end while it reads.
            let goes_on = self.goes_on || now.status().is_some();
            if let Some(seen) = self.again.take().filter(|_| goes_on) {
                say.broken(
                    Object::Config,
                    &[seen],
                    "config_generation changed during a read, and the configuration is not read again",
                );
            }
        } else if now.access().is_some() {
            self.goes_on = true;
        }
    }
}

fn gated(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((_, Some(field))) = config_read(now) else {
        return;
    };
    let Some(bit) = field.gates.first() else {
        return;
    };
    if field.exists(now.s.dev.offered) {
        say.held(Object::Config);
    } else {
        say.broken(
            Object::Config,
            &[],
            format!(
                "{} is read, and {} is not offered",
                field.name,
                now.s
                    .dev
                    .shape
                    .kind
                    .feature_name(*bit)
                    .unwrap_or("its feature")
            ),
        );
    }
}

#[derive(Default)]
struct Change {
    owed: Owed,
}

impl Machine for Change {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        for _ in self.owed.settle(now) {
            say.held(Object::Config);
        }
        let message = now.messages().any(|m| m.cause == Cause::Config);
        let line = now.s.mode() != Mode::Msix && now.isr().is_some_and(|v| v & isr::CONFIG != 0);
        let runs = now.status().is_some_and(|s| s.has(Status::DRIVER_OK));
        let live = now.s.dev.status.has(Status::DRIVER_OK) || runs;
        if live && (message || line) {
            self.owed.raise(Object::Config, now.seq);
        }
        for (object, since) in self.owed.missed(now) {
            say.broken(
                object,
                &[since, now.seq],
                "the device told of a configuration change, and the driver looked neither at the configuration nor at device_status",
            );
        }
    }
}

/// Bytes of the address of a network device, which a driver may write by the legacy interface (5.1.4.3).
const MAC_BYTES: u16 = 6;

fn writes(now: &Now<'_>, say: &mut Say<'_>) {
    if now.sets(Status::DRIVER_OK) {
        say.held(Object::Config);
    }
    let Some((Field::Device(offset), value)) = now.written() else {
        return;
    };
    if now.is_legacy() && now.s.dev.shape.kind == Kind::Net && offset < MAC_BYTES {
        return say.held(Object::Config);
    }
    match config_at(now, offset) {
        // A write needs the field's feature; an emergency write (5.3.5) only its offer.
        Some(field) if field.rights == Rights::rw && field.exists(now.s.dev.accepted) => {
            say.held(Object::Config);
        }
        Some(field) if field.rights == Rights::wo && field.exists(now.s.dev.offered) => {
            say.held(Object::Config);
        }
        field => say.broken(
            Object::Config,
            &[],
            format!(
                "{} is written {value:#x}",
                field.map_or("device configuration", |f| f.name)
            ),
        ),
    }
}

#[derive(Default)]
struct Churn {
    last: Option<u64>,
    changes: u32,
}

impl Machine for Churn {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        const MOST: u32 = 100;
        let Some(generation) = now.read(C::ConfigGeneration) else {
            return;
        };
        if self.last.is_some_and(|last| last != generation) {
            self.changes += 1;
            if self.changes == MOST {
                say.broken(
                    Object::Config,
                    &[],
                    "the configuration is read again and again because config_generation changes",
                );
            }
        } else {
            if (1..MOST).contains(&self.changes) {
                say.held(Object::Config);
            }
            self.changes = 0;
        }
        self.last = Some(generation);
    }
}

/// Waits for what comes of an interrupt that tells of nothing.
#[derive(Default)]
struct Nothing {
    fault: bool,
    sent: Option<u64>,
    /// The same, until the guest is seen to live: its console lags.
    lives: Option<u64>,
}

impl Machine for Nothing {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let At::Fault(fired) = now.at {
            self.fault = fired.fault == "irq.spurious" && fired.object == "cfg";
        } else if now.step().is_some() && std::mem::take(&mut self.fault) {
            self.sent.get_or_insert(now.seq);
            self.lives.get_or_insert(now.seq);
        } else if let (Some(sent), true) = (self.lives, now.said().is_some_and(Said::is_crash)) {
            (self.sent, self.lives) = (None, None);
            say.broken(
                Object::Config,
                &[sent, now.seq],
                "the guest crashes after a configuration change interrupt with nothing changed",
            );
        } else if let Some(sent) = self.sent {
            if now.success() {
                self.lives = None;
            }
            if now.resets() {
                self.sent = None;
                say.broken(
                    Object::Config,
                    &[sent, now.seq],
                    "the driver resets the device after a configuration change interrupt with nothing changed",
                );
            } else if now.notifies().is_some()
                || now.success()
                || matches!(now.at, At::Told | At::End)
            {
                self.sent = None;
                say.held(Object::Config);
            }
        }
    }
}

//! VIO-ISR: the interrupt status register and the line (virtio 1.3, 4.1.4.5 and 4.1.5.5).

use misfire_device::spec::{NO_VECTOR, Status, isr};
use misfire_device::trace::{Cause, IrqKind, Mode};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use super::track::Owed;
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-ISR-001",
        level: Level::Derived,
        sentence: "Without MSI-X the interrupt handler reads ISR status, which deasserts the line.",
        source: "virtio 1.3, 4.1.4.5 and 4.1.5.5; S22, B46",
        breaks: "the line rises while the device is live, and ISR status is not read",
        proof: "Judged when the guest fails or the trace ends; at a reset only if ISR status was never read in the epoch and the driver did other work.",
        watch: Watch::with::<Storm>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ISR-002",
        level: Level::Derived,
        sentence: "The bits of ISR status are independent: with bit 0 all queues are looked at, with bit 1 the configuration; the values 1, 2 and 3 all work.",
        source: "virtio 1.3, 4.1.5.5 and 4.1.5.4.2; P2, P3, B09, B14",
        breaks: "ISR status reads 2 or 3, and what one of its bits stands for is not looked at",
        proof: "The configuration by the reset or the end of the trace, if the guest did other work in between; a queue when the guest says that a request was missed.",
        watch: Watch::with::<Bits>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ISR-003",
        level: Level::Should,
        sentence: "With MSI-X, ISR status is not read because of a queue's interrupt.",
        source: "virtio 1.3, 4.1.4.5.2; S12",
        breaks: "after a queue's message, and no configuration message, ISR status is read while the device is live; only noted where the vector is shared with the configuration",
        watch: Watch::with::<NeedlessRead>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ISR-004",
        level: Level::Derived,
        sentence: "When ISR status reads 0 the interrupt on the shared line was another device's, and is not claimed.",
        source: "PCI Local Bus 3.0, 2.2.6; S25",
        breaks: "ISR status read 0, and the driver counts no interrupt that it left unclaimed; a warning",
        proof: "From the driver's own counters.",
        watch: Watch::with::<NotMine>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ISR-005",
        level: Level::Derived,
        sentence: "ISR status that is set when the driver starts neither storms nor wedges it.",
        source: "virtio 1.3, 4.1.4.5; B22, B49",
        breaks: "the line is up at DRIVER_OK, and ISR status is not read afterwards",
        watch: Watch::with::<Stale>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ISR-006",
        level: Level::Derived,
        sentence: "Reserved bits of ISR status are ignored, and the known ones obeyed.",
        source: "virtio 1.3, 4.1.4.5",
        breaks: "ISR status reads with bits above 1, and what its known bits stand for is not looked at; a warning",
        robust: true,
        watch: Watch::with::<Reserved>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ISR-007",
        level: Level::May,
        sentence: "With MSI-X a driver relies on neither bit of ISR status: devices differ.",
        source: "virtio 1.3, 4.1.4.5.1; B53, B78, P17",
        breaks: "the device leaves ISR status 0 with MSI-X, and a configuration change goes unnoticed; only noted",
        watch: Watch::with::<WithoutBits>(),
        ..Rule::BASE
    },
];

/// Waits for the read that deasserts the line.
#[derive(Default)]
struct Storm {
    risen: Option<u64>,
    read: bool,
    passed: bool,
}

impl Machine for Storm {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.isr().is_some() {
            self.read = true;
            if self.risen.take().is_some() {
                say.held(Object::Isr);
            }
        }
        self.passed |= now.notifies().is_some() || now.said().and_then(Said::done).is_some();
        if let Some(risen) = self.risen {
            let over = now.failure() || matches!(now.at, At::End);
            let never = now.resets() && !self.read && self.passed;
            if over && !self.passed && !now.failure() {
                say.inconclusive(&[risen], "the trace ends with the line asserted");
            } else if over || never {
                self.risen = None;
                say.broken(
                    Object::Isr,
                    &[risen, now.seq],
                    "the line is asserted, and the driver does not read ISR status: the line stays asserted",
                );
            }
        }
        match now.pin() {
            Some(true) if now.s.live() => {
                self.risen.get_or_insert(now.seq);
                self.passed = false;
            }
            Some(false) => self.risen = None,
            _ => {}
        }
        if now.resets() {
            *self = Self::default();
        }
    }
}

/// What the bits of ISR status stand for, as the driver read them without MSI-X.
fn known_bits(now: &Now<'_>) -> Option<u8> {
    now.isr()
        .filter(|_| now.s.mode() != Mode::Msix && now.s.dev.status.has(Status::DRIVER_OK))
}

fn raise(owed: &mut Owed, value: u8, seq: u64) {
    if value & isr::QUEUE != 0 {
        owed.raise(Object::Device, seq);
    }
    if value & isr::CONFIG != 0 {
        owed.raise(Object::Config, seq);
    }
}

fn unserved(object: Object, value: u8) -> String {
    let what = match object {
        Object::Config => "the configuration was not looked at",
        _ => "the queues were not looked at",
    };
    format!("ISR status read {value:#x}, and {what}")
}

#[derive(Default)]
struct Bits {
    owed: Owed,
    value: u8,
}

impl Machine for Bits {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        for _ in self.owed.settle(now) {
            say.held(Object::Isr);
        }
        if let Some(value) = known_bits(now).filter(|v| v & isr::CONFIG != 0) {
            self.value = value;
            raise(&mut self.owed, value, now.seq);
        }
        for (object, since) in self.owed.missed(now) {
            say.broken(Object::Isr, &[since, now.seq], unserved(object, self.value));
        }
    }
}

#[derive(Default)]
struct NeedlessRead {
    queue: Option<(u64, u16)>,
    config: bool,
    tried: bool,
    broken: bool,
}

impl Machine for NeedlessRead {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let live = now.s.live() && now.s.mode() == Mode::Msix;
        for message in now.messages().filter(|m| live && m.kind == IrqKind::Msix) {
            match message.cause {
                Cause::Queue(_) => {
                    self.queue = Some((now.seq, message.entry));
                    self.tried = true;
                }
                Cause::Config => self.config = true,
                _ => {}
            }
        }
        if let (Some(_), true) = (now.isr(), live) {
            if let (Some((sent, entry)), false) = (self.queue.take(), self.config) {
                self.broken = true;
                let evidence = [sent, now.seq];
                if now.s.dev.config_vector == entry {
                    say.info(
                        Object::Isr,
                        &evidence,
                        "ISR status is read after a queue's message, on a vector that the configuration shares",
                    );
                } else {
                    say.broken(
                        Object::Isr,
                        &evidence,
                        "ISR status is read after a queue's message, with MSI-X enabled",
                    );
                }
            }
            (self.queue, self.config) = (None, false);
        }
        if now.ends() {
            if self.tried && !self.broken {
                say.held(Object::Isr);
            }
            *self = Self::default();
        }
    }
}

#[derive(Default)]
struct NotMine {
    zero: Option<u64>,
    told: bool,
}

impl Machine for NotMine {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if known_bits(now) == Some(0) {
            self.zero.get_or_insert(now.seq);
        }
        let Some(zero) = self.zero else { return };
        match now.said() {
            Some(Said::LineCount { unclaimed: 0, .. }) => {
                self.told = true;
                say.warn(
                    Object::Isr,
                    &[zero, now.seq],
                    "ISR status read 0, and the driver left no interrupt unclaimed",
                );
            }
            Some(Said::LineCount { .. }) => {
                self.told = true;
                say.held(Object::Isr);
            }
            _ if matches!(now.at, At::End) && !self.told => say.inconclusive(
                &[zero],
                "ISR status read 0; the driver's log does not tell whether it claimed the interrupt",
            ),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Stale {
    up: Option<u64>,
    passed: bool,
}

impl Machine for Stale {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let up = now.s.dev.pin || now.pin() == Some(true);
        if now.sets(Status::DRIVER_OK) && up && now.s.mode() != Mode::Msix {
            (self.up, self.passed) = (Some(now.seq), false);
            return;
        }
        let Some(up) = self.up else { return };
        if now.isr().is_some() {
            self.up = None;
            return say.held(Object::Isr);
        }
        self.passed |= now.notifies().is_some() || now.said().and_then(Said::done).is_some();
        let over = now.failure() || (now.ends() && self.passed);
        if over {
            say.broken(
                Object::Isr,
                &[up, now.seq],
                "the line was asserted when the driver started, and ISR status is never read",
            );
        }
        if over || now.ends() || now.pin() == Some(false) {
            self.up = None;
        }
    }
}

#[derive(Default)]
struct Reserved {
    owed: Owed,
    value: u8,
}

impl Machine for Reserved {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        const KNOWN: u8 = isr::QUEUE | isr::CONFIG;
        for _ in self.owed.settle(now) {
            say.held(Object::Isr);
        }
        if let Some(value) = known_bits(now).filter(|v| v & !KNOWN != 0) {
            self.value = value;
            raise(&mut self.owed, value, now.seq);
        }
        for (object, since) in self.owed.missed(now) {
            say.warn(Object::Isr, &[since, now.seq], unserved(object, self.value));
        }
    }
}

#[derive(Default)]
struct WithoutBits {
    owed: Owed,
}

impl Machine for WithoutBits {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        for _ in self.owed.settle(now) {
            say.held(Object::Isr);
        }
        let mapped = now.s.dev.config_vector != NO_VECTOR;
        let sent = now
            .messages()
            .any(|m| m.kind == IrqKind::Msix && m.cause == Cause::Config);
        if now.s.fault("isr.msix").is_some() && mapped && sent && now.s.live() {
            self.owed.raise(Object::Config, now.seq);
        }
        for (_, since) in self.owed.missed(now) {
            say.broken(
                Object::Isr,
                &[since, now.seq],
                "with ISR status at 0 under MSI-X the driver misses a configuration change",
            );
        }
    }
}

//! VIO-NR: DEVICE_NEEDS_RESET (virtio 1.3, 2.1).

use std::collections::BTreeSet;

use misfire_device::shape::Kind;
use misfire_device::spec::{CommonCfg as C, NO_VECTOR, Status};
use misfire_device::trace::{Cause, Input, Mode};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-NR-001",
        level: Level::Should,
        sentence: "The driver notices DEVICE_NEEDS_RESET and recovers by a reset.",
        source: "virtio 1.3, 2.1.1 (a note, so never worse than a warning); P8, B31",
        breaks: "the device sets DEVICE_NEEDS_RESET and tells the driver, and no status that shows it is followed by a reset and a new start",
        proof: "By order: a read of device_status with the bit, a reset, DRIVER_OK. The reset of a driver that stops is none.",
        watch: Watch::with::<Recovers>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NR-002",
        level: Level::Should,
        sentence: "After DEVICE_NEEDS_RESET the driver does not rely on requests being completed.",
        source: "virtio 1.3, 2.1.1",
        breaks: "a step's time runs out with the bit set, no reset, and a request that the device has",
        watch: Watch::with::<Relies>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NR-003",
        level: Level::Derived,
        sentence: "Recovery sets everything up again, and requests work afterwards.",
        source: "virtio 1.3, 2.1.1 with 2.4; B31",
        breaks: "after the reset that DEVICE_NEEDS_RESET led to, fewer queues are enabled, or events lack the vectors they had, or requests fail",
        follows: &["VIO-MSIX-005", "VIO-RST-006"],
        watch: Watch::with::<Everything>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NR-004",
        level: Level::Derived,
        sentence: "DEVICE_NEEDS_RESET at an awkward moment (during start or recovery) is survived.",
        source: "virtio 1.3, 2.1.1; B31",
        breaks: "the bit is set while the device is not live, and the guest crashes or leaves the device half-way; or the first recovery is refused, and the driver gives the device up for good; a warning",
        watch: Watch::with::<Awkward>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NR-005",
        sentence: "DEVICE_NEEDS_RESET is not cleared by a status write, except by 0.",
        source: "virtio 1.3, 2.1.1",
        breaks: "the driver read device_status with the bit set, and writes it without, other than 0",
        watch: Watch::Each(clears),
        ..Rule::BASE
    },
];

fn breaks_down(now: &Now<'_>) -> bool {
    let heard = now.step().and_then(|s| s.heard.as_ref());
    match heard {
        Some(heard) => heard.contains(&Input::Broken),
        None => now.step().is_some_and(|s| s.input == Input::Broken),
    }
}

fn shows(now: &Now<'_>) -> bool {
    now.read(C::DeviceStatus)
        .is_some_and(|v| v as u8 & Status::NEEDS_RESET != 0)
}

#[derive(Default)]
struct Recovers {
    /// The device needs a reset and has told the driver.
    since: Option<u64>,
    noticed: Option<u64>,
    reset: Option<u64>,
}

impl Machine for Recovers {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if breaks_down(now) && now.s.live() {
            let told =
                now.s.mode() != Mode::Msix || now.messages().any(|m| m.cause == Cause::Config);
            if told {
                self.since.get_or_insert(now.seq);
            } else {
                say.not_applicable(
                    "the configuration change event has no vector, so the driver could not be told of DEVICE_NEEDS_RESET",
                );
            }
        }
        let Some(since) = self.since else { return };
        if shows(now) {
            self.noticed.get_or_insert(now.seq);
        }
        if now.resets() && self.noticed.is_some() {
            self.reset = Some(now.seq);
        } else if now.sets(Status::DRIVER_OK) && self.reset.is_some() {
            *self = Self::default();
            return say.held(Object::Status);
        }
        if matches!(now.at, At::End) {
            let (text, at) = match (self.noticed, self.reset) {
                (None, _) => (
                    "DEVICE_NEEDS_RESET is set, and the driver does not read device_status",
                    since,
                ),
                (Some(read), None) => (
                    "the driver reads device_status with DEVICE_NEEDS_RESET, and does not reset the device",
                    read,
                ),
                (Some(_), Some(reset)) => (
                    "the driver reads device_status with DEVICE_NEEDS_RESET, and does not start the device again",
                    reset,
                ),
            };
            say.broken(Object::Status, &[since, at], text);
        }
    }
}

/// Whether the device has a request. Buffers that it gets for what it may have to tell are none.
fn waits(now: &Now<'_>) -> bool {
    let of_requests = |q: usize| match now.s.dev.shape.kind {
        Kind::Net => q % 2 == 1,
        Kind::Scsi => q != 1,
        Kind::Console => false,
        Kind::Block | Kind::Rng | Kind::PortCard => true,
    };
    now.s.dev.queues.iter().enumerate().any(|(q, queue)| {
        let ring = queue.ring;
        of_requests(q)
            && (queue.inflight > 0 || ring.is_some_and(|ring| ring.avail_idx != ring.used_idx))
    })
}

#[derive(Default)]
struct Relies {
    since: Option<u64>,
}

impl Machine for Relies {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if breaks_down(now) && now.s.dev.status.has(Status::DRIVER_OK) {
            self.since.get_or_insert(now.seq);
        }
        let Some(since) = self.since else { return };
        if matches!(now.at, At::Mark("timeout")) && waits(now) {
            self.since = None;
            say.broken(
                Object::Status,
                &[since, now.seq],
                "a request hangs after DEVICE_NEEDS_RESET, and the driver does not reset the device",
            );
        } else if now.resets() || now.said().and_then(Said::done).is_some() {
            self.since = None;
            say.held(Object::Status);
        }
    }
}

#[derive(Default)]
struct Everything {
    /// Queues and events with a vector, before.
    before: Option<(BTreeSet<u16>, BTreeSet<Object>, Mode)>,
    reset: Option<u64>,
    live: bool,
}

impl Machine for Everything {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        let mapped =
            || -> BTreeSet<Object> { s.events().filter(|o| s.vector(*o) != NO_VECTOR).collect() };
        if now.resets() && s.dev.status.has(Status::NEEDS_RESET | Status::DRIVER_OK) {
            let queues = s.epoch.enabled().map(|(q, _)| q).collect();
            self.before = Some((queues, mapped(), s.mode()));
            (self.reset, self.live) = (Some(now.seq), false);
            return;
        }
        let (Some((queues, events, mode)), Some(reset)) = (&self.before, self.reset) else {
            return;
        };
        if now.sets(Status::DRIVER_OK) {
            let enabled: BTreeSet<u16> = s.epoch.enabled().map(|(q, _)| q).collect();
            if let Some(q) = queues.difference(&enabled).next() {
                say.broken(
                    Object::Queue(*q),
                    &[reset, now.seq],
                    format!("after the recovery queue {q} is not enabled"),
                );
            }
            if *mode == s.mode()
                && let Some(event) = events.difference(&mapped()).next()
            {
                say.broken(
                    *event,
                    &[reset, now.seq],
                    format!("after the recovery {event} has no vector, as it had before"),
                );
            }
            self.live = true;
        } else if self.live && (now.failure() || now.success() || matches!(now.at, At::End)) {
            if now.failure() {
                say.broken(
                    Object::Device,
                    &[reset, now.seq],
                    "requests do not work after the recovery",
                );
            } else {
                say.held(Object::Device);
            }
            self.before = None;
        }
    }
}

#[derive(Default)]
struct Awkward {
    since: Option<u64>,
    /// A recovery goes on.
    recovers: bool,
    /// It was refused.
    refused: Option<u64>,
}

impl Awkward {
    /// A recovery that the device refuses once.
    fn recovery(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        if now.resets() {
            self.recovers |= s.dev.status.has(Status::NEEDS_RESET | Status::DRIVER_OK);
        } else if now.sets(Status::DRIVER_OK) {
            self.recovers = false;
            if self.refused.take().is_some() {
                say.held(Object::Status);
            }
        }
        let status = now.read(C::DeviceStatus).map(|v| Status(v as u8));
        let asked = s.epoch.features_ok.is_some() && s.epoch.driver_ok.is_none();
        if self.recovers && asked && status.is_some_and(|s| !s.has(Status::FEATURES_OK)) {
            self.refused.get_or_insert(now.seq);
        }
        if let Some(refused) = self.refused
            && now.said().is_some_and(Said::is_start_failure)
        {
            self.refused = None;
            say.warn(
                Object::Status,
                &[refused, now.seq],
                "the device refuses a recovery once, and the driver gives it up for good",
            );
        }
    }
}

impl Machine for Awkward {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        self.recovery(now, say);
        let s = now.s;
        if breaks_down(now) && s.epoch.written != 0 && !s.live() {
            self.since.get_or_insert(now.seq);
        }
        let Some(since) = self.since else { return };
        if now.said().is_some_and(Said::is_crash) {
            self.since = None;
            say.warn(
                Object::Status,
                &[since, now.seq],
                "the guest crashes after DEVICE_NEEDS_RESET during start",
            );
        } else if matches!(now.at, At::End) {
            if s.live() || s.dev.status.0 == 0 || s.epoch.failed.is_some() {
                say.held(Object::Status);
            } else {
                say.warn(
                    Object::Status,
                    &[since],
                    format!(
                        "DEVICE_NEEDS_RESET was set during start, and device_status is left at {}",
                        s.dev.status
                    ),
                );
            }
        }
    }
}

fn clears(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((read, _)) = now
        .s
        .epoch
        .status_read
        .filter(|(_, s)| s.has(Status::NEEDS_RESET))
    else {
        return;
    };
    match now.status() {
        Some(status) if status.0 != 0 && !status.has(Status::NEEDS_RESET) => {
            say.broken(
                Object::Status,
                &[read, now.seq],
                format!("device_status read with DEVICE_NEEDS_RESET is written {status}"),
            );
        }
        Some(_) => say.held(Object::Status),
        None => {}
    }
}

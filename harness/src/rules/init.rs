//! VIO-INIT: the order of initialisation (virtio 1.3, 3.1.1 and 2.1.1).

use misfire_device::spec::{CommonCfg as C, Field, Scope, Status};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-INIT-001",
        sentence: "The first thing that a driver writes to device_status is 0: it resets the device, whoever had it before.",
        source: "virtio 1.3, 3.1.1 step 1; B76",
        breaks: "device_status is first written with another value than 0 while an earlier owner's status is still there; a warning if the status was 0 anyway",
        proof: "An owner is over when it takes bus mastering away from the function.",
        watch: Watch::with::<First>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-INIT-002",
        sentence: "ACKNOWLEDGE is set no later than DRIVER.",
        source: "virtio 1.3, 3.1.1 steps 2 and 3, 2.1.1",
        breaks: "DRIVER is set and ACKNOWLEDGE is not; both in one write is only noted",
        watch: Watch::Each(acknowledge),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-INIT-003",
        sentence: "Features are accepted after DRIVER is set, and after the device's features were read.",
        source: "virtio 1.3, 3.1.1 step 4; B49",
        breaks: "driver_feature is written before DRIVER, or without a read of device_feature; reading features before DRIVER is a warning",
        watch: Watch::Each(features),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-INIT-004",
        sentence: "FEATURES_OK is set before queues are set up and before DRIVER_OK.",
        source: "virtio 1.3, 3.1.1 steps 5 to 8; B74",
        breaks: "a queue's addresses or queue_enable, or DRIVER_OK, are written first; discovering queues or writing vectors first is a warning",
        proof: "Only the order of the writes counts: a FEATURES_OK that the device refused is VIO-INIT-006's.",
        watch: Watch::Each(features_first),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-INIT-005",
        sentence: "After setting FEATURES_OK the driver reads device_status again, to see whether the device kept it, before it goes on.",
        source: "virtio 1.3, 3.1.1 step 6",
        breaks: "queue set-up, a vector, device configuration or DRIVER_OK is written with no read of device_status since FEATURES_OK",
        watch: Watch::With(|| Box::<Reread>::default()),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-INIT-006",
        sentence: "A device that refused FEATURES_OK is not used with these features.",
        source: "virtio 1.3, 3.1.1 step 6 and the sentence after step 8; P11",
        breaks: "the device drops FEATURES_OK, and in the same epoch the driver enables a queue, sets DRIVER_OK or notifies",
        follows: &["VIO-INIT-005"],
        watch: Watch::With(|| Box::<Refused>::default()),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-INIT-007",
        sentence: "No feature is accepted any more once FEATURES_OK is set.",
        source: "virtio 1.3, 3.1.1 step 5; B78",
        breaks: "a write of driver_feature adds a bit after FEATURES_OK; the same value again is only noted",
        watch: Watch::Each(late_features),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-INIT-008",
        sentence: "Device configuration may be read, but is not written, before FEATURES_OK.",
        source: "virtio 1.3, 3.1.1 step 4",
        breaks: "a write to device configuration before FEATURES_OK",
        watch: Watch::Each(early_config_write),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-INIT-009",
        sentence: "Queues are set up before DRIVER_OK.",
        source: "virtio 1.3, 3.1.1 steps 7 and 8; B74",
        breaks: "queue_enable is written 1 after DRIVER_OK",
        follows: &["VIO-INIT-001"],
        watch: Watch::Each(late_enable),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-INIT-010",
        sentence: "Status bits are never cleared, except all of them by a reset.",
        source: "virtio 1.3, 2.1.1",
        breaks: "device_status is written with a value, not 0, that lacks a bit the driver set earlier in the epoch",
        follows: &["VIO-INIT-001"],
        proof: "Bits that the device refused or set itself are not counted; DEVICE_NEEDS_RESET is VIO-NR-005's.",
        watch: Watch::Each(cleared),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-INIT-011",
        sentence: "After FAILED the device is reset before it is initialised again.",
        source: "virtio 1.3, 2.1.1",
        breaks: "after FAILED, status, features or a queue are written before device_status was written 0",
        watch: Watch::Each(after_failed),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-INIT-012",
        level: Level::Should,
        sentence: "A driver that can't finish initialisation sets FAILED, or resets the device.",
        source: "virtio 1.3, 3.1.1, after step 8",
        breaks: "the driver reports failure, or the device refused its features, and the status is left half-way to the end of the trace",
        watch: Watch::With(|| Box::<LeftHalfWay>::default()),
        ..Rule::BASE
    },
];

#[derive(Default)]
struct First {
    seen: bool,
}

impl Machine for First {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        self.seen &= !now.ends_mastery();
        let Some(status) = now.status().filter(|_| !self.seen) else {
            return;
        };
        self.seen = true;
        let before = now.s.dev.status;
        if status.0 == 0 {
            say.held(Object::Status);
        } else if before.0 != 0 {
            say.broken(
                Object::Status,
                &[],
                format!("the first write of device_status is {status}, while {before} of an earlier owner was still set"),
            );
        } else {
            say.warn(
                Object::Status,
                &[],
                format!("the first write of device_status is {status}, with no reset before; the device happened to be reset"),
            );
        }
    }
}

fn acknowledge(now: &Now<'_>, say: &mut Say<'_>) {
    if !now.sets(Status::DRIVER) {
        return;
    }
    let together = now.status().is_some_and(|s| s.has(Status::ACKNOWLEDGE));
    if now.s.epoch.written & Status::ACKNOWLEDGE != 0 {
        say.held(Object::Status);
    } else if together {
        say.info(
            Object::Status,
            &[],
            "ACKNOWLEDGE and DRIVER are set in one write",
        );
    } else {
        say.broken(Object::Status, &[], "DRIVER is set, ACKNOWLEDGE is not");
    }
}

fn features(now: &Now<'_>, say: &mut Say<'_>) {
    let epoch = &now.s.epoch;
    let driver = epoch.written & Status::DRIVER != 0;
    if now.read(C::DeviceFeature).is_some() && !driver {
        say.warn(
            Object::Status,
            &[],
            "device_feature is read before DRIVER is set",
        );
    }
    let Some(bits) = now.wrote(C::DriverFeature).filter(|v| *v != 0) else {
        return;
    };
    if !driver {
        say.broken(
            Object::Status,
            &[],
            format!("driver_feature is written {bits:#x} before DRIVER is set"),
        );
    } else if epoch.features_read.is_some() {
        say.held(Object::Status);
    } else if now.s.past.features_read {
        say.warn(
            Object::Status,
            &[],
            "after a reset driver_feature is written from memory: device_feature was not read again",
        );
    } else {
        say.broken(
            Object::Status,
            &[],
            "driver_feature is written, device_feature was never read",
        );
    }
}

/// Whether a register belongs to the set-up of queues.
pub fn sets_up_queue(register: C) -> bool {
    register.scope() == Scope::queue && register != C::QueueMsixVector
}

fn features_first(now: &Now<'_>, say: &mut Say<'_>) {
    let ok = now.s.epoch.features_ok.is_some();
    if now.sets(Status::DRIVER_OK) {
        if ok {
            say.held(Object::Status);
        } else {
            say.broken(
                Object::Status,
                &[],
                "DRIVER_OK is set, and FEATURES_OK was not set before it",
            );
        }
    }
    if ok || now.s.epoch.written == 0 {
        return;
    }
    match now.common_write() {
        Some((r @ (C::QueueSelect | C::QueueMsixVector | C::ConfigMsixVector), _)) => say.warn(
            Object::Status,
            &[],
            format!("{} is written before FEATURES_OK", r.name()),
        ),
        Some((r, _)) if sets_up_queue(r) => say.broken(
            Object::Status,
            &[],
            format!("{} is written before FEATURES_OK", r.name()),
        ),
        _ => {}
    }
}

/// What shows that a driver has gone on from FEATURES_OK to the set-up of the device.
fn goes_on(now: &Now<'_>) -> Option<String> {
    if now.sets(Status::DRIVER_OK) {
        return Some("DRIVER_OK is set".into());
    }
    match now.written()? {
        (Field::Common(r @ (C::QueueSelect | C::ConfigMsixVector)), _) => {
            Some(format!("{} is written", r.name()))
        }
        (Field::Common(r), _) if r.scope() == Scope::queue => {
            Some(format!("{} is written", r.name()))
        }
        (Field::Device(_), _) => Some("device configuration is written".into()),
        (Field::Notify, _) => Some("a queue is notified".into()),
        _ => None,
    }
}

#[derive(Default)]
struct Reread {
    judged: bool,
}

impl Machine for Reread {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.resets() {
            self.judged = false;
        }
        let Some(ok) = now.s.epoch.features_ok.filter(|_| !self.judged) else {
            return;
        };
        if let Some(what) = goes_on(now) {
            self.judged = true;
            if now.s.epoch.reread.is_some() {
                say.held(Object::Status);
            } else {
                say.broken(
                    Object::Status,
                    &[ok, now.seq],
                    format!("{what}, and device_status was not read since FEATURES_OK was set"),
                );
            }
        }
    }
}

#[derive(Default)]
struct Refused {
    went_on: bool,
}

impl Machine for Refused {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let epoch = &now.s.epoch;
        if epoch.refused(now.s.dev.status) && !self.went_on {
            let what = if now.sets(Status::DRIVER_OK) {
                Some("sets DRIVER_OK".to_owned())
            } else if now.wrote(C::QueueEnable) == Some(1) {
                Some("enables a queue".to_owned())
            } else {
                now.notifies().map(|_| "notifies a queue".to_owned())
            };
            if let Some(what) = what {
                self.went_on = true;
                let evidence = [epoch.features_ok.unwrap_or(now.seq), now.seq];
                say.broken(
                    Object::Status,
                    &evidence,
                    format!("the device refused FEATURES_OK, and the driver {what}"),
                );
            }
            if now.ends() && !self.went_on {
                say.held(Object::Status);
            }
        }
        if now.resets() {
            self.went_on = false;
        }
    }
}

fn late_features(now: &Now<'_>, say: &mut Say<'_>) {
    let s = now.s;
    if now.sets(Status::DRIVER_OK) && s.epoch.features_ok.is_some() {
        say.held(Object::Status);
    }
    let (Some(ok), Some(bits)) = (s.epoch.features_ok, now.wrote(C::DriverFeature)) else {
        return;
    };
    let shift = 32 * s.driver_feature_select.min(3);
    let new = (u128::from(bits as u32) << shift) & !s.dev.accepted;
    if new != 0 {
        say.broken(
            Object::Status,
            &[ok, now.seq],
            format!("feature bits {new:#x} are accepted after FEATURES_OK"),
        );
    } else {
        say.info(
            Object::Status,
            &[ok, now.seq],
            "driver_feature is written again after FEATURES_OK",
        );
    }
}

fn early_config_write(now: &Now<'_>, say: &mut Say<'_>) {
    if now.sets(Status::FEATURES_OK) {
        say.held(Object::Config);
    }
    if let Some((Field::Device(offset), _)) = now.written()
        && now.s.epoch.features_ok.is_none()
    {
        say.broken(
            Object::Config,
            &[],
            format!("device configuration is written at {offset:#x} before FEATURES_OK"),
        );
    }
}

fn late_enable(now: &Now<'_>, say: &mut Say<'_>) {
    let epoch = &now.s.epoch;
    if now.sets(Status::DRIVER_OK) && epoch.enabled().next().is_some() {
        say.held(Object::Status);
    }
    if let (Some(1), Some(ok), Some((access, _))) =
        (now.wrote(C::QueueEnable), epoch.driver_ok, now.access())
    {
        let q = access.q.unwrap_or(now.s.dev.queue_select);
        if epoch.queues.get(&q).is_some_and(|f| f.reset.is_some()) {
            // As the re-enabling of a queue that was reset (2.6.1.2).
            return say.held(Object::Queue(q));
        }
        say.broken(
            Object::Queue(q),
            &[ok, now.seq],
            format!("queue {q} is enabled after DRIVER_OK"),
        );
    }
}

fn cleared(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(status) = now.status().filter(|s| s.0 != 0) else {
        return;
    };
    let epoch = &now.s.epoch;
    let Some(before) = epoch.status_written else {
        return;
    };
    let missing = epoch.written & now.s.dev.status.0 & !status.0 & !Status::NEEDS_RESET;
    // Whether a driver that resumes keeps SUSPEND in what it writes is left open (virtio 1.4, 3.4).
    let missing = missing & !Status::SUSPEND;
    if missing == 0 {
        say.held(Object::Status);
    } else {
        say.broken(
            Object::Status,
            &[before, now.seq],
            format!(
                "device_status is written {status}, which clears {}",
                Status(missing)
            ),
        );
    }
}

fn after_failed(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(failed) = now.s.epoch.failed else {
        return;
    };
    if now.status() == Some(Status(0)) {
        return say.held(Object::Status);
    }
    let what = match now.written() {
        Some((Field::Common(C::DeviceStatus), v)) if v as u8 & Status::FAILED != 0 => return,
        Some((Field::Common(r), _)) => r.name(),
        _ => return,
    };
    say.broken(
        Object::Status,
        &[failed, now.seq],
        format!("after FAILED {what} is written, with no reset in between"),
    );
}

#[derive(Default)]
struct LeftHalfWay {
    failed: Option<u64>,
}

impl Machine for LeftHalfWay {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        if now.said().is_some_and(Said::is_start_failure) {
            self.failed = Some(now.seq);
        }
        let half_way = s.epoch.written != 0 && s.epoch.driver_ok.is_none();
        if half_way && (now.sets(Status::FAILED) || now.resets()) {
            say.held(Object::Status);
        }
        if now.resets() {
            // What becomes of the next start is another matter.
            self.failed = None;
        }
        if matches!(now.at, At::End) && half_way && s.epoch.failed.is_none() {
            let evidence: Vec<_> = [self.failed, s.epoch.status_written]
                .into_iter()
                .flatten()
                .collect();
            if self.failed.is_some() || s.epoch.refused(s.dev.status) {
                say.broken(
                    Object::Status,
                    &evidence,
                    format!(
                        "initialisation failed, and device_status is left at {}",
                        s.dev.status
                    ),
                );
            } else {
                say.inconclusive(
                    &evidence,
                    "initialisation was left unfinished, for a reason that the trace does not tell",
                );
            }
        }
    }
}

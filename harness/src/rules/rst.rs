//! VIO-RST: reset (virtio 1.3, 2.4, 3.3.1 and 4.1.4.3.2).

use std::collections::BTreeSet;

use misfire_device::spec::{CommonCfg as C, Field, Scope, Status};
use misfire_device::trace::{Effect, Input};

use super::chains::{Changes, part_name};
use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule, Sight};
use super::rob::Endless;
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-RST-001",
        sentence: "After writing 0 to device_status the driver waits until it reads 0 there before it initialises the device again.",
        source: "virtio 1.3, 4.1.4.3.2; B26, B39, B73",
        breaks: "status, features, a vector or a queue are written after the reset and before a read of device_status gave 0",
        watch: Watch::with::<Wait>(),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-RST-002",
        level: Level::Should,
        sentence: "A reset counts as complete when device_status reads 0, and not before.",
        source: "virtio 1.3, 2.4.2",
        breaks: "the driver reads a status other than 0, or nothing, and goes on as if the reset were over",
        follows: &["VIO-RST-001"],
        watch: Watch::with::<Wait>(),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-RST-003",
        sentence: "Buffers that the device has not used are not taken back while the queue is live; the device is reset first.",
        source: "virtio 1.3, 3.3.1 and 2.7.6.1; B30, P16",
        breaks: "avail.idx goes backwards between two samples of the ring in one epoch, or a chain that the device holds is not as it was when the device or the queue is reset",
        proof: "From samples of avail.idx, and from digests of the chains that the device holds. A change that is found while the driver goes on is VIO-SPL-006's or VIO-PKD-002's.",
        watch: Watch::with::<TakenBack>(),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-RST-004",
        level: Level::Should,
        sentence: "A driver that lets go of the device leaves it reset, so that the device does not touch memory that is somebody else's by then.",
        source: "follows from virtio 1.3, 3.3.1 and 2.4; B49, B50",
        breaks: "bus mastering is switched off, or the guest ends, while DRIVER_OK is set",
        watch: Watch::with::<LetGo>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-RST-005",
        level: Level::Derived,
        sentence: "Waiting for a reset has an end, even if the device never gets there.",
        source: "B26, P12; see ROB-006",
        breaks: "the device never reads 0 after a reset, and the driver polls to the end of the trace",
        follows: &["ROB-006"],
        watch: Watch::with::<Endless>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-RST-006",
        level: Level::Derived,
        sentence: "After a reset everything is set up again: features, queues, vectors.",
        source: "virtio 1.3, 2.4 and 4.1.5.1.2.1; B37, B76",
        breaks: "DRIVER_OK with no queue enabled, or a notification of a queue that was enabled only before the reset",
        watch: Watch::Each(set_up_again),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-RST-007",
        level: Level::Derived,
        sentence: "Between a reset and the next initialisation the driver leaves the old queues alone.",
        source: "virtio 1.3, 2.4 and 3.1.1",
        breaks: "a queue is notified after device_status was written 0 and before ACKNOWLEDGE",
        follows: &["VIO-NTF-008"],
        watch: Watch::Each(old_queues),
        ..Rule::BASE
    },
];

#[derive(Default)]
struct Wait {
    judged: bool,
}

impl Machine for Wait {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.resets() {
            self.judged = false;
            return;
        }
        let epoch = &now.s.epoch;
        let Some(reset) = epoch.began.filter(|_| !self.judged) else {
            return;
        };
        let what = match now.written() {
            // Giving up is no initialisation.
            Some((Field::Common(C::DeviceStatus), v)) if v as u8 & Status::FAILED != 0 => return,
            Some((Field::Common(C::DeviceStatus), v)) => format!("{} is set", Status(v as u8)),
            Some((Field::Common(r), _))
                if r.scope() == Scope::queue
                    || matches!(r, C::DriverFeature | C::ConfigMsixVector | C::QueueSelect) =>
            {
                format!("{} is written", r.name())
            }
            _ => return,
        };
        self.judged = true;
        if epoch.zero_read {
            return say.held(Object::Status);
        }
        match epoch.status_read {
            Some((read, status)) => say.broken(
                Object::Status,
                &[reset, read, now.seq],
                format!("{what} though device_status still read {status} after the reset"),
            ),
            None => say.broken(
                Object::Status,
                &[reset, now.seq],
                format!("{what} with no read of device_status since the reset"),
            ),
        }
    }
}

#[derive(Default)]
struct TakenBack {
    outstanding: bool,
    /// Chains and lists that the device has looked at and not used: queue, and head or id.
    held: BTreeSet<(u16, u32)>,
    changes: Changes,
}

impl TakenBack {
    /// What the device takes, and what it uses.
    fn follow(&mut self, now: &Now<'_>) {
        if let At::Chain(chain) = now.at {
            self.held.insert((chain.q, chain.head.into()));
        }
        let Some(step) = now.step() else { return };
        // Where a fault may keep a completion back, what is shown counts.
        if let (Input::Complete { queue, head, .. }, None) = (&step.input, &step.meant) {
            self.held.remove(&(*queue, (*head).into()));
        }
        for effect in &step.shown {
            if let Effect::Complete { queue, id, .. } = effect {
                self.held.remove(&(*queue, *id));
            }
        }
    }
}

impl Machine for TakenBack {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let Some((seq, q, part, true)) = self.changes.see(now) {
            say.broken(
                Object::Queue(q),
                &[seq, now.seq],
                format!(
                    "{} of a chain of queue {q} was changed before the reset, while the device held the chain",
                    part_name(part)
                ),
            );
        }
        self.follow(now);
        if now.resets() {
            if self.outstanding || !self.held.is_empty() {
                say.held(Object::Device);
            }
            self.outstanding = false;
            self.held.clear();
        }
        let At::Ring(new) = now.at else { return };
        let old = now
            .s
            .dev
            .queues
            .get(usize::from(new.q))
            .and_then(|q| q.ring);
        if let Some(old) = old.filter(|_| now.s.live()) {
            let back = old.avail_idx.wrapping_sub(new.avail_idx);
            if (1..0x8000).contains(&back) {
                say.broken(
                    Object::Queue(new.q),
                    &[],
                    format!(
                        "avail.idx of queue {} went back from {} to {} while the queue was live",
                        new.q, old.avail_idx, new.avail_idx
                    ),
                );
                return;
            }
        }
        self.outstanding |= new.avail_idx != new.used_idx;
    }
}

#[derive(Default)]
struct LetGo {
    exit: Option<u64>,
    lived: bool,
}

impl Machine for LetGo {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let ok = now.s.dev.status.has(Status::DRIVER_OK);
        self.lived |= ok;
        if now.said().is_some_and(Said::is_exit) {
            self.exit = Some(now.seq);
        }
        let master_off = now.ends_mastery();
        if master_off && ok {
            say.broken(
                Object::Status,
                &[],
                "bus mastering is switched off while DRIVER_OK is set",
            );
        } else if master_off && self.lived {
            say.held(Object::Status);
        }
        if let (At::End, Some(exit), true) = (now.at, self.exit, self.lived) {
            if ok {
                say.broken(
                    Object::Status,
                    &[exit],
                    "the guest ends with DRIVER_OK still set",
                );
            } else {
                say.held(Object::Status);
            }
        }
    }
}

fn set_up_again(now: &Now<'_>, say: &mut Say<'_>) {
    let (epoch, past) = (&now.s.epoch, &now.s.past);
    let Some(before) = past.live else { return };
    if now.sets(Status::DRIVER_OK) {
        let enabled = epoch.enabled().count();
        if enabled == 0 && !past.enabled.is_empty() {
            say.broken(
                Object::Status,
                &[before, now.seq],
                "DRIVER_OK is set after a reset, and no queue was enabled again",
            );
        } else {
            say.held(Object::Status);
        }
    }
    if let Some((access, _)) = now.notifies()
        && let Some(q) = access.q
        && epoch.driver_ok.is_some()
        && past.enabled.contains(&q)
        && epoch.queues.get(&q).is_none_or(|f| f.enabled.is_none())
    {
        say.broken(
            Object::Queue(q),
            &[before, now.seq],
            format!("queue {q} is notified, and was not enabled again since the reset"),
        );
    }
}

fn old_queues(now: &Now<'_>, say: &mut Say<'_>) {
    let (Some(live), Some(reset)) = (now.s.past.live, now.s.epoch.began) else {
        return;
    };
    if now.s.epoch.written != 0 {
        return;
    }
    if let Some((access, _)) = now.notifies() {
        let q = access.q.unwrap_or(0);
        say.broken(
            Object::Queue(q),
            &[live, reset, now.seq],
            format!("queue {q} is notified after the reset"),
        );
    } else if now.status().is_some_and(|s| s.0 != 0) || matches!(now.at, At::End) {
        say.held(Object::Device);
    }
}

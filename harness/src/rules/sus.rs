//! VIO-SUS: the suspend of a device by its status (virtio 1.4, 3.4).

use misfire_device::spec::{CommonCfg as C, Field, SUSPEND, Status};

use super::machine::{Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-SUS-001",
        level: Level::Should,
        sentence: "SUSPEND is set only with DRIVER_OK, and if VIRTIO_F_SUSPEND was negotiated.",
        source: "virtio 1.4, 3.4.1",
        breaks: "SUSPEND is written before DRIVER_OK, or without VIRTIO_F_SUSPEND",
        watch: Watch::Each(only_when_live),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-SUS-002",
        sentence: "After SUSPEND is written it is read until the device has taken it; till the resume no queue is notified, and nothing of the configuration is written.",
        source: "virtio 1.4, 3.4.1",
        breaks: "a notification or a write of the configuration in between; a resume before a read gave SUSPEND without DRIVER_OK",
        proof: "Buffers that are made available while suspended show by the notification. A reset ends the wait.",
        watch: Watch::with::<Suspended>(),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-SUS-003",
        sentence: "After a suspended device is resumed, the driver waits until it shows DRIVER_OK and not SUSPEND.",
        source: "virtio 1.4, 3.4.1",
        breaks: "a notification or a write of the configuration before a read gave that",
        watch: Watch::with::<Resumed>(),
        ..Rule::MODERN
    },
];

/// The driver sets SUSPEND, and the device is not suspended.
fn asks(now: &Now<'_>) -> bool {
    let set = now.status().is_some_and(|s| s.has(Status::SUSPEND));
    set && !now.s.dev.status.has(Status::SUSPEND)
}

/// The driver suspends a device that can be.
fn suspends(now: &Now<'_>) -> bool {
    asks(now) && now.s.dev.status.has(Status::DRIVER_OK) && now.s.dev.agreed(SUSPEND)
}

/// The driver resumes a device that is suspended.
fn resumes(now: &Now<'_>) -> bool {
    let set = now.status().is_some_and(|s| s.has(Status::DRIVER_OK));
    set && now.s.dev.status.has(Status::SUSPEND)
}

/// The status that the driver got.
fn shown(now: &Now<'_>) -> Option<Status> {
    now.read(C::DeviceStatus).map(|v| Status(v as u8))
}

/// What is done to a device that is to be left alone.
fn disturbs(now: &Now<'_>) -> Option<(Object, String)> {
    match now.written()?.0 {
        Field::Notify => {
            let q = now.access()?.0.q?;
            Some((Object::Queue(q), format!("queue {q} is notified")))
        }
        Field::Device(_) => Some((Object::Status, "device configuration is written".into())),
        _ => None,
    }
}

fn only_when_live(now: &Now<'_>, say: &mut Say<'_>) {
    if !asks(now) {
        return;
    }
    if !now.s.dev.agreed(SUSPEND) {
        let text = "SUSPEND is set, and VIRTIO_F_SUSPEND was not negotiated";
        say.broken(Object::Status, &[], text);
    } else if now.s.dev.status.has(Status::DRIVER_OK) {
        say.held(Object::Status);
    } else {
        say.broken(Object::Status, &[], "SUSPEND is set without DRIVER_OK");
    }
}

#[derive(Default)]
struct Suspended {
    asked: Option<u64>,
    /// The driver has read that the device is suspended.
    seen: bool,
    disturbed: bool,
}

impl Machine for Suspended {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if suspends(now) {
            *self = Self {
                asked: Some(now.seq),
                ..Self::default()
            };
            return;
        }
        let Some(asked) = self.asked else { return };
        self.seen |= shown(now).is_some_and(|s| is(s, Status::SUSPEND));
        if let Some((object, what)) = disturbs(now) {
            self.disturbed = true;
            let text = format!("{what} after SUSPEND was set");
            say.broken(object, &[asked, now.seq], text);
        }
        let resumed = resumes(now);
        if resumed && !self.seen {
            let text = "the device is resumed, and was not read to be suspended";
            say.broken(Object::Status, &[asked, now.seq], text);
        }
        if resumed || now.ends() {
            if self.seen && !self.disturbed {
                say.held(Object::Status);
            }
            self.asked = None;
        }
    }
}

#[derive(Default)]
struct Resumed {
    asked: Option<u64>,
}

impl Machine for Resumed {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if resumes(now) {
            self.asked = Some(now.seq);
            return;
        }
        let Some(asked) = self.asked else { return };
        if let Some((object, what)) = disturbs(now) {
            let text = format!("{what} before the resume was read to be over");
            say.broken(object, &[asked, now.seq], text);
            self.asked = None;
        } else if shown(now).is_some_and(|s| is(s, Status::DRIVER_OK)) {
            say.held(Object::Status);
            self.asked = None;
        } else if now.ends() || suspends(now) {
            self.asked = None;
        }
    }
}

/// Whether of SUSPEND and DRIVER_OK this one is shown.
fn is(status: Status, bit: u8) -> bool {
    status.0 & (Status::SUSPEND | Status::DRIVER_OK) == bit
}

//! VIO-NTF: notifications to the device (virtio 1.3, 2.7.10, 2.9 and 4.1.5.2).

use std::collections::BTreeMap;

use misfire_device::spec::Status;
use misfire_device::trace::{Input, RingSample};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::ntf_data::{Data, with_data};
use super::ntf_unwanted::Unwanted;
use super::q::{enabled, index_in, packed};
use super::registry::{Level, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-NTF-001",
        sentence: "No queue is notified before DRIVER_OK.",
        source: "virtio 1.3, 3.1.1; P10, B40",
        breaks: "a notification during initialisation, before DRIVER_OK is set",
        proof: "After a reset and before ACKNOWLEDGE it is VIO-NTF-008's.",
        watch: Watch::Each(before_driver_ok),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-NTF-002",
        sentence: "A notification is a write of 16 bits; of 32 if NOTIFICATION_DATA was negotiated.",
        source: "virtio 1.3, 4.1.5.2.1",
        breaks: "another width",
        watch: Watch::Each(width),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NTF-003",
        sentence: "The value of a notification is the queue's index, or its queue_notif_config_data if NOTIF_CONFIG_DATA was negotiated.",
        source: "virtio 1.3, 4.1.5.2.1",
        breaks: "another value",
        proof: "A value that names another enabled queue is VIO-Q-005's.",
        watch: Watch::Each(value),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NTF-004",
        level: Level::Derived,
        sentence: "Notifications go to the place of a queue that the device has.",
        source: "virtio 1.3, 4.1.4.4",
        breaks: "a write into the notification structure where no queue of the device has its place",
        watch: Watch::Each(place),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NTF-005",
        sentence: "With NOTIFICATION_DATA a notification tells where the next buffer will go.",
        source: "virtio 1.3, 2.9, 2.8.15.2 and 4.1.5.2.1",
        breaks: "a split ring: an index ahead of avail.idx; a packed one: an offset beyond the ring or in the middle of a list; or no notification of several tells the right place",
        proof: "Compared with the ring as it is sampled at the notification, and with the lists that the device comes to. The ring may be ahead of one notification, since another processor may have added to it, but not of all.",
        watch: Watch::with::<Data>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NTF-006",
        sentence: "When buffers become available and the device wants to know, it is notified.",
        source: "virtio 1.3, 2.7.10.1 and 2.8.21.3.1; B55, B77",
        breaks: "at a reset, or when the guest tells that a request never ended, a queue has buffers that came after the last notification, and the device had asked for one",
        proof: "From the samples of the ring at the last notification and the last before the reset: rings are looked at every 10 ms too. Of a packed ring they tell whether there is a list at the place where the device looks next.",
        follows: &["VIO-NTF-004", "VIO-Q-005"],
        watch: Watch::with::<Both>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NTF-006b",
        level: Level::Should,
        sentence: "While the device does not ask for notifications, the driver sends none.",
        source: "virtio 1.3, 2.7.10.1",
        breaks: "a queue is notified of buffers that were made available after the device asked for no notification; a warning",
        proof: "Of split rings, where the device was seen to ask for the same before the buffers came and at the notification, and the driver then had notified it of all that it had made available.",
        watch: Watch::with::<Unwanted>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NTF-007",
        level: Level::Derived,
        sentence: "Only enabled queues are notified.",
        source: "virtio 1.3, 4.1.4.3 (queue_enable)",
        breaks: "a queue is notified that the driver never enabled",
        proof: "A queue that was enabled before the last reset is VIO-RST-006's.",
        watch: Watch::Each(disabled),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-NTF-008",
        sentence: "After a reset, and once the device was pulled out, no queue is notified until the device is live again.",
        source: "virtio 1.3, 3.1.1 and 2.4",
        gone: true,
        breaks: "a device that was live is reset, and a queue is notified before ACKNOWLEDGE",
        watch: Watch::Each(after_reset),
        ..Rule::BASE
    },
];

/// Whether the notification falls between the reset of a live device and ACKNOWLEDGE.
fn left_over(now: &Now<'_>) -> bool {
    now.s.past.live.is_some() && now.s.epoch.began.is_some() && now.s.epoch.written == 0
}

fn before_driver_ok(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((access, _)) = now.notifies() else {
        return;
    };
    let q = access.q.unwrap_or(0);
    if now.s.epoch.written & Status::DRIVER_OK != 0 {
        say.held(Object::Queue(q));
    } else if !left_over(now) {
        say.broken(
            Object::Queue(q),
            &[],
            format!(
                "queue {q} is notified with device_status at {}",
                now.s.dev.status
            ),
        );
    }
}

fn width(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((access, _)) = now.notifies() else {
        return;
    };
    let q = access.q.unwrap_or(0);
    let right = if with_data(now) { 4 } else { 2 };
    if access.width == right {
        say.held(Object::Queue(q));
    } else {
        say.broken(
            Object::Queue(q),
            &[],
            format!(
                "queue {q} is notified with {} bytes; {right} are right",
                access.width
            ),
        );
    }
}

fn value(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((access, value)) = now.notifies() else {
        return;
    };
    let Some(q) = access.q else { return };
    let got = value as u16;
    let expected = match index_in(now, value) {
        Some(_) => Some(q),
        None => now.s.epoch.queues.get(&q).and_then(|f| f.notif_data),
    };
    let Some(expected) = expected else { return };
    if got == expected {
        say.held(Object::Queue(q));
    } else if index_in(now, value).is_none_or(|index| !enabled(now.s, index)) {
        say.broken(
            Object::Queue(q),
            &[],
            format!("queue {q} is notified with the value {got:#x}; {expected:#x} is right"),
        );
    }
}

fn place(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((access, _)) = now.notifies() else {
        return;
    };
    match access.q.filter(|q| *q < now.s.dev.shape.queues) {
        Some(q) => say.held(Object::Queue(q)),
        None => say.broken(
            Object::Device,
            &[],
            format!(
                "a notification at {:#x} of {:?}, where none of the {} queues has its place",
                access.off, access.space, now.s.dev.shape.queues
            ),
        ),
    }
}

/// Rings of both kinds.
#[derive(Default)]
struct Both {
    split: Forgotten,
    packed: super::ntf_packed::Forgotten,
}

impl Machine for Both {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if packed(now.s) {
            self.packed.see(now, say);
        } else {
            self.split.see(now, say);
        }
    }
}

/// What the device was told of each ring: when, and `avail.idx` then.
#[derive(Default)]
struct Forgotten {
    told: BTreeMap<u16, (u64, u16)>,
    /// The index that each device waits for, when it was seen to wait: it had taken all that there
    /// was. Of what came before it asked, it knows.
    waits: BTreeMap<u16, u16>,
}

impl Machine for Forgotten {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        // The sample of a notification comes right before it.
        let ring = |q: u16| now.s.dev.queues.get(usize::from(q)).and_then(|q| q.ring);
        if let At::Ring(sample) = now.at {
            // The device looks at every queue when it becomes live.
            let first = (now.seq, sample.avail_idx);
            self.told.entry(sample.q).or_insert(first);
            if sample.avail_event == sample.avail_idx {
                self.waits.insert(sample.q, sample.avail_event);
            }
        }
        if let Some(sample) = now.notifies().and_then(|(access, _)| ring(access.q?)) {
            self.told.insert(sample.q, (now.seq, sample.avail_idx));
        }
        if now.resets() || now.failure() {
            for queue in now.s.dev.queues.iter().filter_map(|q| q.ring) {
                self.judge(&queue, now, say);
            }
            self.waits.clear();
        }
    }
}

impl Forgotten {
    fn judge(&mut self, sample: &RingSample, now: &Now<'_>, say: &mut Say<'_>) {
        const EVENT_IDX: u8 = 29;
        const NO_NOTIFY: u16 = 1;
        let Some((seq, told)) = self.told.remove(&sample.q) else {
            return;
        };
        let q = sample.q;
        let new = sample.avail_idx.wrapping_sub(told);
        if new == 0 {
            if told != 0 {
                say.held(Object::Queue(q));
            }
            return;
        }
        let unused = sample.avail_idx != sample.used_idx;
        let wanted = if now.s.dev.accepted >> EVENT_IDX & 1 != 0 {
            // As in 2.7.10.1: the index that the device waits for is among the new ones.
            let behind = sample.avail_idx.wrapping_sub(sample.avail_event);
            behind.wrapping_sub(1) < new && self.waits.get(&q) == Some(&sample.avail_event)
        } else {
            sample.used_flags & NO_NOTIFY == 0
        };
        if unused && wanted && new < 0x8000 {
            say.broken(
                Object::Queue(q),
                &[seq, now.seq],
                format!("buffers were made available in queue {q} after its last notification, and the device was waiting for one"),
            );
        }
    }
}

fn disabled(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((access, _)) = now.notifies() else {
        return;
    };
    let Some(q) = access.q.filter(|q| *q < now.s.dev.shape.queues) else {
        return;
    };
    if now.s.epoch.written & Status::DRIVER_OK == 0 || now.s.past.enabled.contains(&q) {
        return;
    }
    if enabled(now.s, q) {
        say.held(Object::Queue(q));
    } else {
        say.broken(
            Object::Queue(q),
            &[],
            format!("queue {q} is notified, and was never enabled"),
        );
    }
}

fn after_reset(now: &Now<'_>, say: &mut Say<'_>) {
    if now.s.dev.gone {
        return after_removal(now, say);
    }
    if !left_over(now) {
        return;
    }
    if let Some((access, _)) = now.notifies() {
        let q = access.q.unwrap_or(0);
        let reset = now.s.epoch.began.unwrap_or(now.seq);
        say.broken(
            Object::Queue(q),
            &[reset, now.seq],
            format!("queue {q} is notified after the reset"),
        );
    } else if now.status().is_some_and(|s| s.0 != 0) || matches!(now.at, At::End) {
        say.held(Object::Device);
    }
}

/// The bus has found the function gone.
fn after_removal(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(missed) = now.s.missed else { return };
    if let Some((access, _)) = now.notifies() {
        let q = access.q.unwrap_or(0);
        say.broken(
            Object::Queue(q),
            &[missed, now.seq],
            format!("queue {q} is notified after the function was found gone"),
        );
    } else if now.step().is_some_and(|s| s.input == Input::FunctionReset) {
        say.held(Object::Device);
    }
}

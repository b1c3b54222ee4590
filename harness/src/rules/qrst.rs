//! VIO-QRST: the reset of one queue (virtio 1.3, 2.6.1 and 4.1.4.3.2).

use misfire_device::spec::{CommonCfg as C, Scope};
use misfire_device::trace::{AlteredPart, Mode};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::Rule;
use super::state::RING_RESET;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-QRST-001",
        sentence: "After writing 1 to queue_reset the driver waits until it reads 0 there before it sets the queue up again.",
        source: "virtio 1.3, 4.1.4.3.2",
        breaks: "a field of the queue is written after its reset and before a read of queue_reset gave 0",
        watch: Watch::Each(wait),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-QRST-002",
        sentence: "The driver keeps the memory of a queue until it has seen that the reset of the queue is over.",
        source: "virtio 1.3, 2.6.1.1.2",
        breaks: "the queue's descriptors or available ring are written to after queue_reset was written and before a read of it gave 0",
        proof: "The device takes a digest of the queue's memory at the write, and compares at the first read that gives 0.",
        watch: Watch::with::<Released>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-QRST-003",
        sentence: "queue_reset is used only if RING_RESET was negotiated.",
        source: "virtio 1.3, 2.6.1 and 4.1.4.3 (the field exists only then)",
        breaks: "queue_reset is written, and RING_RESET was not negotiated",
        watch: Watch::Each(negotiated),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-QRST-004",
        sentence: "A queue that was reset is set up as at the first time before it is enabled again.",
        source: "virtio 1.3, 2.6.1.2.2 and 4.1.4.3.2",
        breaks: "queue_enable is written 1 with an address not written since the queue's reset; a warning for a vector that was not written again",
        proof: "The texts leave open whether a device keeps the vector over the reset of a queue, so that one is only advised.",
        watch: Watch::Each(set_up),
        ..Rule::BASE
    },
];

/// The queue that an access of a queue's field is about.
fn queue(now: &Now<'_>) -> Option<u16> {
    let (access, _) = now.access()?;
    Some(access.q.unwrap_or(now.s.dev.queue_select))
}

fn wait(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((register, _)) = now.common_write() else {
        return;
    };
    if register.scope() != Scope::queue || register == C::QueueReset {
        return;
    }
    let Some(q) = queue(now) else { return };
    let Some(facts) = now.s.epoch.queues.get(&q) else {
        return;
    };
    let Some(reset) = facts.reset else { return };
    if facts.reset_over.is_some() {
        say.held(Object::Queue(q));
    } else {
        say.broken(
            Object::Queue(q),
            &[reset, now.seq],
            format!(
                "{} of queue {q} is written before queue_reset read 0",
                register.name()
            ),
        );
    }
}

#[derive(Default)]
struct Released {
    changed: bool,
}

impl Machine for Released {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let At::Altered(altered) = now.at
            && altered.part == AlteredPart::Released
        {
            self.changed = true;
            let q = altered.q;
            say.broken(
                Object::Queue(q),
                &[],
                format!(
                    "the memory of queue {q} was written to before its reset was seen to be over"
                ),
            );
        }
        if now.read(C::QueueReset) == Some(0)
            && let Some(q) = queue(now)
            && let Some(facts) = now.s.epoch.queues.get(&q)
            && facts.reset.is_some()
            && facts.reset_over.is_none()
            && !std::mem::take(&mut self.changed)
        {
            say.held(Object::Queue(q));
        }
    }
}

fn negotiated(now: &Now<'_>, say: &mut Say<'_>) {
    if now.wrote(C::QueueReset).is_none_or(|v| v == 0) {
        return;
    }
    let Some(q) = queue(now) else { return };
    if now.s.dev.agreed(RING_RESET) {
        say.held(Object::Queue(q));
    } else {
        say.broken(
            Object::Queue(q),
            &[],
            format!("queue {q} is reset, and RING_RESET was not negotiated"),
        );
    }
}

fn set_up(now: &Now<'_>, say: &mut Say<'_>) {
    if now.wrote(C::QueueEnable) != Some(1) {
        return;
    }
    let Some(q) = queue(now) else { return };
    let Some(facts) = now.s.epoch.queues.get(&q) else {
        return;
    };
    let Some(reset) = facts.reset.filter(|_| facts.enabled.is_none()) else {
        return;
    };
    if facts.areas.iter().any(Option::is_none) {
        say.broken(
            Object::Queue(q),
            &[reset, now.seq],
            format!(
                "queue {q} is enabled again, and its addresses were not written since its reset"
            ),
        );
        return;
    }
    if now.s.mode() == Mode::Msix && facts.mapping.wrote.is_none() {
        say.warn(
            Object::Queue(q),
            &[reset, now.seq],
            format!("queue {q} is enabled again without a vector, which the reset may have taken"),
        );
    } else {
        say.held(Object::Queue(q));
    }
}

//! VIO-Q: the set-up of queues (virtio 1.3, 2.7, 4.1.4.3 and 4.1.5.1.3).

use misfire_device::spec::{CommonCfg as C, Status, legacy_areas};

use super::machine::{Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use super::state::State;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-Q-001",
        sentence: "A queue's size and addresses are written before queue_enable.",
        source: "virtio 1.3, 4.1.4.3.2",
        breaks: "queue_enable is written 1 with an address not written in this epoch, or one is written afterwards",
        proof: "The vector, the other field of this sentence, is VIO-MSIX-006's.",
        follows: &["VIO-INIT-001"],
        watch: Watch::Each(fields),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-Q-002",
        sentence: "The parts of a queue are aligned: descriptors to 16 bytes, the available ring to 2, the used ring to 4 (packed: 16, 4, 4).",
        source: "virtio 1.3, 2.7.1 and 2.8.11",
        breaks: "a queue is enabled with an address that is no multiple of its alignment",
        watch: Watch::Each(alignment),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-Q-003",
        level: Level::Derived,
        sentence: "A queue whose queue_size reads 0 does not exist, and is not enabled.",
        source: "virtio 1.3, 4.1.5.1.3 step 2; B51",
        breaks: "such a queue is enabled",
        watch: Watch::Each(no_queue),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-Q-004",
        level: Level::Derived,
        sentence: "The parts of all queues lie in the guest's memory, and no two overlap.",
        source: "virtio 1.3, 2.7",
        breaks: "a part of an enabled queue lies outside memory, or covers another part",
        watch: Watch::Each(places),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-Q-005",
        level: Level::Derived,
        sentence: "A queue is notified at its own place: queue_notify_off times notify_off_multiplier from the start of the structure.",
        source: "virtio 1.3, 4.1.4.4; B46",
        breaks: "an enabled queue's index is written to another queue's place",
        proof: "A value that names no enabled queue is VIO-NTF-003's.",
        watch: Watch::Each(notify_place),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-Q-006",
        level: Level::Derived,
        sentence: "The fields of a queue are written with that queue selected.",
        source: "virtio 1.3, 4.1.4.3 (queue_select)",
        breaks: "two queues are enabled with the same descriptor area: one was set up with the other selected",
        watch: Watch::Each(same_area),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-Q-007",
        level: Level::May,
        sentence: "A driver may use fewer or smaller queues than the device has.",
        source: "virtio 1.3, 4.1.5.1.3 step 3",
        breaks: "nothing does: fewer or smaller queues are noted",
        watch: Watch::Each(fewer),
        ..Rule::BASE
    },
];

const PARTS: [&str; 3] = ["queue_desc", "queue_driver", "queue_device"];

/// Whether the selected queue is put in use here.
fn enables_selected(now: &Now<'_>) -> bool {
    now.wrote(C::QueueEnable) == Some(1) || now.places_queue().is_some_and(|(_, page)| page != 0)
}

/// The queue that is enabled here, if it exists.
fn enables(now: &Now<'_>) -> Option<u16> {
    let q = now.s.dev.queue_select;
    (enables_selected(now) && q < now.s.dev.shape.queues).then_some(q)
}

fn fields(now: &Now<'_>, say: &mut Say<'_>) {
    let select = now.s.dev.queue_select;
    let facts = now.s.epoch.queues.get(&select);
    if let Some(q) = enables(now) {
        let areas = facts.map_or([None; 3], |f| f.areas);
        let missing: Vec<_> = PARTS
            .iter()
            .zip(areas)
            .filter(|(_, written)| written.is_none())
            .map(|(name, _)| *name)
            .collect();
        if facts.is_some_and(|f| f.reset.is_some()) {
            // VIO-QRST-004's.
        } else if missing.is_empty() {
            say.held(Object::Queue(q));
        } else {
            say.broken(
                Object::Queue(q),
                &[],
                format!(
                    "queue {q} is enabled, and {} not written before",
                    match missing.as_slice() {
                        [one] => format!("{one} was"),
                        several => format!("{} were", several.join(", ")),
                    }
                ),
            );
        }
    }
    let Some(enabled) = facts.and_then(|f| f.enabled) else {
        return;
    };
    if let Some((
        register @ (C::QueueSize
        | C::QueueDescLo
        | C::QueueDescHi
        | C::QueueDriverLo
        | C::QueueDriverHi
        | C::QueueDeviceLo
        | C::QueueDeviceHi),
        _,
    )) = now.common_write()
    {
        say.broken(
            Object::Queue(select),
            &[enabled, now.seq],
            format!(
                "{} of queue {select} is written after queue_enable",
                register.name()
            ),
        );
    }
}

/// Whether the rings are packed.
pub fn packed(s: &State) -> bool {
    s.dev.accepted >> 34 & 1 != 0
}

/// The addresses of a queue, which by the legacy interface may be put in place here.
fn addresses(now: &Now<'_>, q: u16) -> Option<[u64; 3]> {
    let queue = now.s.dev.queues.get(usize::from(q))?;
    let size = now.s.dev.shape.queue_size.of(q);
    match now.places_queue() {
        Some((placed, page)) if placed == q => Some(legacy_areas(page as u32, size)),
        _ => Some([queue.desc, queue.driver, queue.device]),
    }
}

fn alignment(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(q) = enables(now) else { return };
    let Some(places) = addresses(now, q) else {
        return;
    };
    let aligns = if packed(now.s) {
        [16, 4, 4]
    } else {
        [16, 2, 4]
    };
    let mut right = true;
    for ((name, place), align) in PARTS.iter().zip(places).zip(aligns) {
        if !place.is_multiple_of(align) {
            right = false;
            say.broken(
                Object::Queue(q),
                &[],
                format!("{name} of queue {q} is at {place:#x}, which is no multiple of {align}"),
            );
        }
    }
    if right {
        say.held(Object::Queue(q));
    }
}

fn no_queue(now: &Now<'_>, say: &mut Say<'_>) {
    if !enables_selected(now) {
        return;
    }
    let q = now.s.dev.queue_select;
    match now.s.epoch.queues.get(&q).and_then(|f| f.size_read) {
        Some(0) => say.broken(
            Object::Queue(q),
            &[],
            format!("queue {q} is enabled, and its queue_size read 0"),
        ),
        Some(_) => say.held(Object::Queue(q)),
        None => {}
    }
}

/// The parts of a queue with their lengths in bytes (2.7, 2.8).
fn parts(now: &Now<'_>, q: u16) -> Option<[(u64, u64); 3]> {
    let s = now.s;
    let queue = s.dev.queues.get(usize::from(q))?;
    let read = s.epoch.queues.get(&q).and_then(|f| f.size_read);
    let size = match queue.size {
        0 => read.unwrap_or(s.dev.shape.queue_size.of(q)),
        size => size,
    };
    let size = u64::from(size);
    let bytes = if packed(s) {
        [16 * size, 4, 4]
    } else {
        [16 * size, 6 + 2 * size, 6 + 8 * size]
    };
    let [desc, driver, device] = addresses(now, q)?;
    Some([(desc, bytes[0]), (driver, bytes[1]), (device, bytes[2])])
}

fn places(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(q) = enables(now) else { return };
    let Some(mine) = parts(now, q) else { return };
    let mut right = true;
    for (name, (at, bytes)) in PARTS.iter().zip(mine) {
        if now.s.in_memory(at, bytes) == Some(false) {
            right = false;
            say.broken(
                Object::Queue(q),
                &[],
                format!(
                    "{name} of queue {q}, {bytes} bytes at {at:#x}, is not in the guest's memory"
                ),
            );
        }
    }
    let others = now.s.epoch.enabled().filter(|(other, _)| *other != q);
    let others = others.filter_map(|(other, _)| Some((other, parts(now, other)?)));
    let own = std::iter::once((q, mine));
    for (other, theirs) in others.chain(own) {
        for (i, (a, a_bytes)) in mine.iter().enumerate() {
            for (j, (b, b_bytes)) in theirs.iter().enumerate() {
                // A queue's own parts are compared once; the same part of two queues is VIO-Q-006's.
                let skip = if other == q { j <= i } else { a == b && i == j };
                if !skip && *a < b.saturating_add(*b_bytes) && *b < a.saturating_add(*a_bytes) {
                    right = false;
                    say.broken(
                        Object::Queue(q),
                        &[],
                        format!(
                            "{} of queue {q} covers {} of queue {other}",
                            PARTS[i], PARTS[j]
                        ),
                    );
                }
            }
        }
    }
    if right {
        say.held(Object::Queue(q));
    }
}

/// The queue index in a notification's value, when values are queue indices.
pub fn index_in(now: &Now<'_>, value: u64) -> Option<u16> {
    let by_device = now.s.dev.accepted >> 39 & 1 != 0;
    (!by_device).then_some(value as u16)
}

/// Whether the driver enabled a queue in this epoch.
pub fn enabled(s: &State, q: u16) -> bool {
    s.epoch.queues.get(&q).is_some_and(|f| f.enabled.is_some())
}

fn notify_place(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((access, value)) = now.notifies() else {
        return;
    };
    let (Some(place), Some(index)) = (access.q, index_in(now, value)) else {
        return;
    };
    if place == index {
        say.held(Object::Queue(index));
    } else if enabled(now.s, index) {
        say.broken(
            Object::Queue(index),
            &[],
            format!("queue {index} is notified at the place of queue {place}"),
        );
    }
}

fn same_area(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(q) = enables(now) else { return };
    let Some([desc, ..]) = addresses(now, q) else {
        return;
    };
    for (other, facts) in now.s.epoch.enabled().filter(|(other, _)| *other != q) {
        if addresses(now, other).is_some_and(|a| a[0] == desc) {
            say.broken(
                Object::Queue(q),
                &[facts.enabled.unwrap_or(now.seq), now.seq],
                format!("queues {other} and {q} both have their descriptors at {desc:#x}"),
            );
        } else {
            say.held(Object::Queue(q));
        }
    }
}

fn fewer(now: &Now<'_>, say: &mut Say<'_>) {
    if !now.sets(Status::DRIVER_OK) {
        return;
    }
    let (used, has) = (now.s.epoch.enabled().count(), now.s.dev.shape.queues);
    let smaller = now.s.epoch.enabled().find_map(|(q, _)| {
        let size = now.s.dev.queues.get(usize::from(q))?.size;
        let offered = now.s.dev.shape.queue_size.of(q);
        (size != 0 && size < offered).then_some((q, size, offered))
    });
    if used < usize::from(has) {
        say.broken(
            Object::Device,
            &[],
            format!("the driver uses {used} of the {has} queues"),
        );
    } else if let Some((q, size, offered)) = smaller {
        say.broken(
            Object::Device,
            &[],
            format!("the driver makes queue {q} {size} elements long, where {offered} are offered"),
        );
    } else {
        say.held(Object::Device);
    }
}

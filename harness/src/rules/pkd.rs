//! VIO-PKD: the packed ring as the device sees it (virtio 1.3, 2.8).

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::trace::{ChainSeen, Flaw, Input, PackedSample};

use super::chains::{Changes, EVENT_IDX, is_indirect, judge_flaws, lets_go, size};
use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::q::packed;
use super::registry::{Level, Rule, Sight};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-PKD-001",
        sentence: "A list has no more descriptors than the queue has elements, and what the device writes comes after all that it reads.",
        source: "virtio 1.3, 2.8.17",
        breaks: "a list goes on after as many descriptors as the queue has, or a device-readable one follows a device-writable one",
        proof: "The device walks each list before it works on it. An indirect table counts by its entries.",
        watch: Watch::Each(list),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-PKD-002",
        sentence: "A descriptor that was made available stays as it is until the device has used it.",
        source: "virtio 1.3, 2.8.15.2",
        breaks: "a descriptor of a list is changed while the device holds the list",
        proof: "As VIO-SPL-006's. What changed first before a reset is VIO-RST-003's.",
        follows: &["VIO-RST-003"],
        watch: Watch::with::<Changed>(),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-PKD-003",
        sentence: "The first descriptor of a list is made available last.",
        source: "virtio 1.3, 2.8.17 (driver) and 2.8.6",
        breaks: "the first descriptor of a list is available, and one behind it is not",
        proof: "Seen when the device walks the list.",
        watch: Watch::Each(head_last),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-PKD-004",
        sentence: "Indirect descriptors are used only if negotiated and not in a list of several, and the descriptors of their tables have no flag but WRITE.",
        source: "virtio 1.3, 2.8.19; the length of the table follows from 2.8.7",
        breaks: "INDIRECT that was not negotiated, or in a list linked by NEXT; another flag in a table; a table that is empty or not made of whole descriptors",
        watch: Watch::Each(indirect),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-PKD-006",
        level: Level::Derived,
        sentence: "The driver's event suppression structure says enable or disable, or, with EVENT_IDX, names a descriptor of the ring.",
        source: "virtio 1.3, 2.8.10 and 2.8.14",
        breaks: "flags of 3, reserved bits, flags of 2 without EVENT_IDX, or an offset beyond the ring",
        watch: Watch::Each(suppression),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-PKD-007",
        level: Level::Derived,
        sentence: "After every reset both wrap counters begin at 1.",
        source: "virtio 1.3, 2.8.1; B76",
        breaks: "when a queue is first notified, its first descriptor is marked as available for a wrap counter of 0",
        watch: Watch::with::<FirstWrap>(),
        ..Rule::BASE
    },
];

/// The list that is seen, if the ring is packed.
fn chain<'a>(now: &Now<'a>, say: &mut Say<'_>) -> Option<&'a ChainSeen> {
    let At::Chain(chain) = now.at else {
        return None;
    };
    if !packed(now.s) {
        say.not_applicable("the rings are not packed");
        return None;
    }
    Some(chain)
}

fn list(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(c) = chain(now, say) else { return };
    let flaws = [
        (
            Flaw::TooLong,
            "a list has more descriptors than the queue has elements",
        ),
        (
            Flaw::ReadableAfterWritable,
            "a device-readable buffer follows a device-writable one",
        ),
    ];
    judge_flaws(c, &flaws, say);
}

fn head_last(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(c) = chain(now, say).filter(|c| c.slots > 1) else {
        return;
    };
    let text = "the first descriptor of a list is available before the others";
    judge_flaws(c, &[(Flaw::Partial, text)], say);
}

fn indirect(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(c) = chain(now, say).filter(|c| is_indirect(c)) else {
        return;
    };
    let flaws = [
        (
            Flaw::NotNegotiated,
            "an indirect descriptor, and INDIRECT_DESC was not negotiated",
        ),
        (
            Flaw::IndirectAndNext,
            "an indirect descriptor in a list of several",
        ),
        (
            Flaw::TableFlags,
            "a flag other than WRITE in an indirect table",
        ),
        (
            Flaw::TableLength,
            "an indirect table that is empty, or not made of whole descriptors",
        ),
    ];
    judge_flaws(c, &flaws, say);
}

#[derive(Default)]
struct Changed {
    changes: Changes,
    altered: BTreeSet<u16>,
}

impl Machine for Changed {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if !packed(now.s) {
            return;
        }
        if let Some((seq, q, _, false)) = self.changes.see(now) {
            self.altered.insert(q);
            say.broken(
                Object::Queue(q),
                &[seq],
                format!("a descriptor of queue {q} was changed before the device had used it"),
            );
        }
        if let Some(Input::Complete { queue, .. }) = now.step().map(|s| &s.input)
            && !self.altered.contains(queue)
        {
            say.held(Object::Queue(*queue));
        }
    }
}

fn suppression(now: &Now<'_>, say: &mut Say<'_>) {
    const DESC: u16 = 2;
    let At::Packed(ring) = now.at else { return };
    let q = ring.q;
    let (flags, offset) = (ring.driver_flags, ring.driver_desc & 0x7fff);
    let wrong = match flags {
        0 | 1 => None,
        DESC if !now.s.dev.agreed(EVENT_IDX) => Some("names a descriptor, without EVENT_IDX"),
        DESC if size(now, q).is_some_and(|size| offset >= size) => {
            Some("names a descriptor beyond the ring")
        }
        DESC => None,
        3 => Some("has the reserved value 3 in its flags"),
        _ => Some("has reserved bits set"),
    };
    match wrong {
        None => say.held(Object::Queue(q)),
        Some(wrong) => say.broken(
            Object::Queue(q),
            &[],
            format!("the driver's event suppression of queue {q} {wrong}"),
        ),
    }
}

#[derive(Default)]
struct FirstWrap {
    rings: BTreeMap<u16, PackedSample>,
    judged: BTreeSet<u16>,
}

impl Machine for FirstWrap {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        const AVAIL: u16 = 1 << 7;
        const USED: u16 = 1 << 15;
        const FIRST: u16 = 1 << 15;
        if now.resets() {
            self.rings.clear();
            self.judged.clear();
        }
        if let Some((q, true)) = now
            .access()
            .map(|(a, _)| (a.q, lets_go(now)))
            .and_then(|(q, goes)| Some((q?, goes)))
        {
            self.rings.remove(&q);
            self.judged.remove(&q);
        }
        match now.at {
            At::Packed(ring) => {
                self.rings.insert(ring.q, *ring);
            }
            At::Chain(c) if packed(now.s) && self.judged.insert(c.q) && c.position == FIRST => {
                say.held(Object::Queue(c.q));
            }
            _ => {}
        }
        let notified = now.notifies().and_then(|(access, _)| access.q);
        if let Some(ring) = notified.and_then(|q| self.rings.get(&q))
            && !self.judged.contains(&ring.q)
            && ring.next == FIRST
            && ring.next_flags & (AVAIL | USED) == USED
        {
            self.judged.insert(ring.q);
            say.broken(
                Object::Queue(ring.q),
                &[],
                format!(
                    "the first descriptor of queue {} is made available with a wrap counter of 0",
                    ring.q
                ),
            );
        }
    }
}

//! VIO-SPL: the split ring as the device sees it (virtio 1.3, 2.7).

use std::collections::BTreeSet;

use misfire_device::spec::Status;
use misfire_device::trace::{ChainSeen, Flaw, Input};

use super::chains::{Changes, EVENT_IDX, has, is_indirect, judge_flaws, part_name, size};
use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::q::packed;
use super::registry::{Level, Rule, Sight};
use super::spl_used::{Clean, Spurious, Unasked};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-SPL-001",
        sentence: "A chain has no loop, is no longer than 2^32 bytes, and has no more descriptors than the queue has elements.",
        source: "virtio 1.3, 2.7.5.2 and 2.7.5.3.1",
        breaks: "a chain leads back to one of its own descriptors, or is too long",
        proof: "The device walks each chain before it works on it. An indirect table counts by its entries.",
        watch: Watch::Each(length),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-002",
        sentence: "Buffers that the device writes come after all that it reads.",
        source: "virtio 1.3, 2.7.4.2",
        breaks: "a device-readable descriptor follows a device-writable one in a chain",
        watch: Watch::Each(order),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-003",
        sentence: "Indirect descriptors are used only if negotiated, never inside an indirect table, never together with NEXT, and with a table of whole descriptors.",
        source: "virtio 1.3, 2.7.5.3.1; the length of the table follows from 2.7.5.3",
        breaks: "a descriptor with INDIRECT that the device did not offer, that lies in a table, that has NEXT set too, or whose table is empty or no multiple of 16 bytes long",
        watch: Watch::Each(indirect),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-004",
        sentence: "avail.idx never goes back, and never runs ahead of the buffers used by more than the queue's size.",
        source: "virtio 1.3, 2.7.6.1 (no decrement); that no more than the queue's size can be outstanding follows from 2.7",
        breaks: "between two looks at a live ring avail.idx went back, or more chains are available than the queue has elements",
        follows: &["VIO-RST-003"],
        watch: Watch::Each(index),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-005",
        level: Level::Derived,
        sentence: "Available entries and `next` name descriptors of the table, and no head that is in flight already.",
        source: "virtio 1.3, 2.7.5 and 2.7.6",
        breaks: "an index beyond the table, or a head made available a second time before it was used",
        watch: Watch::Each(indices),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-006",
        sentence: "What makes a chain available stays as it is until the device has used the chain.",
        source: "virtio 1.3, 2.7.13 and 3.3.1",
        breaks: "a descriptor of a chain, or its entry in the available ring, is changed while the device holds the chain",
        proof: "The device keeps a digest of each chain that it has fetched, and compares when it completes the chain and at notifications. What changed first before a reset is VIO-RST-003's.",
        follows: &["VIO-RST-003"],
        watch: Watch::with::<Changed>(),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-007",
        sentence: "avail.flags is 0 or 1, and 0 if EVENT_IDX was negotiated.",
        source: "virtio 1.3, 2.7.7.1",
        breaks: "another value",
        watch: Watch::Each(flags),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-008",
        sentence: "A notification of used buffers that has no buffer behind it does no harm.",
        source: "virtio 1.3, 2.7.7.1; B16",
        breaks: "after a spurious interrupt of a queue the guest crashes, or a request never ends",
        proof: "Judged after the fault irq.spurious.",
        follows: &["ROB-011"],
        watch: Watch::with::<Spurious>(),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-009",
        sentence: "used.flags is 0 when a queue is enabled, and afterwards only the device writes to the used ring.",
        source: "virtio 1.3, 2.7.10.1 (flags) and 2.7.8 (the used ring is written by the device alone)",
        breaks: "used.flags is not 0 when the device begins with a queue, or the used ring is not as the device left it",
        proof: "The device keeps a copy of what it wrote and compares at notifications, completions, resets, and every 10 ms. Everything that stands in the ring when the device begins with it, but for the flags, counts as the device's.",
        watch: Watch::with::<Clean>(),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-011",
        level: Level::Derived,
        sentence: "used_event names the buffer that the driver waits for, or an earlier one.",
        source: "virtio 1.3, 2.7.7 and 2.7.7.2; B33, B38",
        breaks: "the guest waits in vain for buffers that the device has used and was not asked to interrupt for",
        proof: "Judged with EVENT_IDX when the guest tells that a request never ended.",
        watch: Watch::with::<Unasked>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-012",
        sentence: "With IN_ORDER the descriptors of a chain follow each other in the table.",
        source: "virtio 1.3, 2.7.5.2 and 2.7.5.3.1",
        breaks: "IN_ORDER was negotiated, and `next` is not the descriptor behind this one, or 0 after the last",
        watch: Watch::Each(in_order),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-013",
        level: Level::Derived,
        sentence: "Descriptors, tables and buffers lie in the guest's memory.",
        source: "virtio 1.3, 2.7.5",
        breaks: "the device can't reach a descriptor, an indirect table or a buffer; a buffer of no bytes is noted",
        watch: Watch::Each(in_memory),
        sight: Sight::Anything,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-SPL-014",
        sentence: "Of a buffer that the device wrote, the driver trusts used.len bytes and no more.",
        source: "virtio 1.3, 2.7.8.3",
        breaks: "the driver takes bytes behind used.len for what the device wrote",
        unobservable: Some(
            "what a driver does with bytes that it has read from its own memory reaches no device; that a driver survives a wrong used.len is ROB-002",
        ),
        ..Rule::BASE
    },
];

/// The chain that is seen, if the ring is split.
fn chain<'a>(now: &Now<'a>, say: &mut Say<'_>) -> Option<&'a ChainSeen> {
    let At::Chain(chain) = now.at else {
        return None;
    };
    if packed(now.s) {
        say.not_applicable("the rings are packed");
        return None;
    }
    Some(chain)
}

fn length(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(c) = chain(now, say) else { return };
    let flaws = [
        (
            Flaw::Loop,
            "a chain leads back to one of its own descriptors",
        ),
        (
            Flaw::TooLong,
            "a chain has more descriptors than the queue has elements",
        ),
        (Flaw::TooManyBytes, "a chain is longer than 2^32 bytes"),
    ];
    judge_flaws(c, &flaws, say);
}

fn order(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(c) = chain(now, say) else { return };
    let flaw = Flaw::ReadableAfterWritable;
    judge_flaws(
        c,
        &[(
            flaw,
            "a device-readable buffer follows a device-writable one",
        )],
        say,
    );
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
        (Flaw::Nested, "an indirect descriptor in an indirect table"),
        (Flaw::IndirectAndNext, "a descriptor with INDIRECT and NEXT"),
        (
            Flaw::TableLength,
            "an indirect table that is empty, or not made of whole descriptors",
        ),
    ];
    judge_flaws(c, &flaws, say);
}

fn indices(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(c) = chain(now, say) else { return };
    let flaws = [
        (Flaw::HeadOutside, "a head lies beyond the descriptor table"),
        (Flaw::NextOutside, "`next` lies beyond the table"),
        (
            Flaw::InFlight,
            "a head is made available again before it was used",
        ),
    ];
    judge_flaws(c, &flaws, say);
}

fn in_memory(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(c) = chain(now, say) else { return };
    if has(c, Flaw::Empty) {
        let text = format!("queue {}: a buffer of no bytes", c.q);
        say.info(Object::Queue(c.q), &[], text);
    }
    let flaws = [
        (
            Flaw::Unmapped,
            "a descriptor or an indirect table is not in the guest's memory",
        ),
        (
            Flaw::BufferUnmapped,
            "a buffer is not in the guest's memory",
        ),
    ];
    judge_flaws(c, &flaws, say);
}

fn in_order(now: &Now<'_>, say: &mut Say<'_>) {
    const IN_ORDER: u32 = 35;
    let Some(c) = chain(now, say) else { return };
    if now.s.dev.agreed(IN_ORDER) && c.count > 1 {
        let text = "a descriptor does not lead to the one behind it, and IN_ORDER was negotiated";
        judge_flaws(c, &[(Flaw::OutOfOrder, text)], say);
    }
}

fn index(now: &Now<'_>, say: &mut Say<'_>) {
    let At::Ring(new) = now.at else { return };
    let q = new.q;
    if !now.s.dev.status.has(Status::DRIVER_OK) {
        return;
    }
    let Some(size) = size(now, q) else { return };
    let old = now
        .s
        .dev
        .queues
        .get(usize::from(q))
        .and_then(|queue| queue.ring);
    let back = old.map_or(0, |old| old.avail_idx.wrapping_sub(new.avail_idx));
    if (1..0x8000).contains(&back) {
        say.broken(
            Object::Queue(q),
            &[],
            format!("avail.idx of queue {q} went back"),
        );
    } else if new.avail_idx.wrapping_sub(new.used_idx) > size {
        say.broken(
            Object::Queue(q),
            &[],
            format!("more chains are available in queue {q} than it has elements"),
        );
    } else if old.is_some_and(|old| old.avail_idx != new.avail_idx) {
        say.held(Object::Queue(q));
    }
}

#[derive(Default)]
struct Changed {
    changes: Changes,
    altered: BTreeSet<u16>,
}

impl Machine for Changed {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if packed(now.s) {
            return;
        }
        if let Some((seq, q, part, false)) = self.changes.see(now) {
            self.altered.insert(q);
            say.broken(
                Object::Queue(q),
                &[seq],
                format!(
                    "{} of a chain of queue {q} was changed while the device held the chain",
                    part_name(part)
                ),
            );
        }
        if let Some(Input::Complete { queue, .. }) = now.step().map(|s| &s.input)
            && !self.altered.contains(queue)
        {
            say.held(Object::Queue(*queue));
        }
    }
}

fn flags(now: &Now<'_>, say: &mut Say<'_>) {
    let At::Ring(ring) = now.at else { return };
    if !now.s.dev.status.has(Status::DRIVER_OK) {
        return;
    }
    let q = ring.q;
    let most = if now.s.dev.agreed(EVENT_IDX) { 0 } else { 1 };
    if ring.avail_flags <= most {
        say.held(Object::Queue(q));
    } else {
        let with = if most == 0 { ", with EVENT_IDX" } else { "" };
        say.broken(
            Object::Queue(q),
            &[],
            format!("avail.flags of queue {q} is {:#x}{with}", ring.avail_flags),
        );
    }
}

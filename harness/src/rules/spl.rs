//! VIO-SPL: the split ring as the device sees it (virtio 1.3, 2.7).

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::spec::Status;
use misfire_device::trace::{AlteredPart, ChainSeen, DirtyPart, Flaw, Input};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::q::packed;
use super::registry::{Level, Rule, Sight};
use crate::log::Said;

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

/// Whether chain `c` has a flaw.
pub fn has(c: &ChainSeen, flaw: Flaw) -> bool {
    c.flaws.contains(&flaw)
}

/// Says that the rule was broken for each of these flaws that a chain has; held if there is none.
pub fn judge_flaws(c: &ChainSeen, flaws: &[(Flaw, &str)], say: &mut Say<'_>) {
    let q = c.q;
    let mut right = true;
    for (flaw, text) in flaws {
        if has(c, *flaw) {
            right = false;
            say.broken(Object::Queue(q), &[], format!("queue {q}: {text}"));
        }
    }
    if right {
        say.held(Object::Queue(q));
    }
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

const INDIRECT: u16 = 4;

/// Whether a chain has an indirect descriptor, as far as it is listed.
pub fn is_indirect(c: &ChainSeen) -> bool {
    c.descriptors.iter().any(|d| d.flags & INDIRECT != 0)
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

/// The elements of a queue.
pub fn size(now: &Now<'_>, q: u16) -> Option<u16> {
    let queue = now.s.dev.queues.get(usize::from(q))?;
    let read = now.s.epoch.queues.get(&q).and_then(|f| f.size_read);
    Some(match queue.size {
        0 => read.unwrap_or(now.s.dev.shape.queue_size.of(q)),
        size => size,
    })
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

/// Whether the driver resets the device or a queue.
pub fn lets_go(now: &Now<'_>) -> bool {
    now.resets() || now.wrote(misfire_device::spec::CommonCfg::QueueReset) == Some(1)
}

/// Chains that changed while the device held them. A change that is found right before a reset
/// belongs to the teardown.
#[derive(Default)]
pub struct Changes {
    found: Option<(u64, u16, AlteredPart)>,
}

impl Changes {
    /// Takes an event. Returns a change that was found before it, and whether it was teardown.
    pub fn see(&mut self, now: &Now<'_>) -> Option<(u64, u16, AlteredPart, bool)> {
        let over = now.step().is_some() || matches!(now.at, At::End);
        let known = if over { self.found.take() } else { None };
        if let At::Altered(altered) = now.at
            && altered.part != AlteredPart::Released
        {
            self.found.get_or_insert((now.seq, altered.q, altered.part));
        }
        known.map(|(seq, q, part)| (seq, q, part, lets_go(now)))
    }
}

/// What of a chain changed, in words.
pub const fn part_name(part: AlteredPart) -> &'static str {
    match part {
        AlteredPart::Descriptors => "a descriptor",
        AlteredPart::Entry => "the available entry",
        AlteredPart::Released => "the memory",
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

/// VIRTIO_F_EVENT_IDX.
pub const EVENT_IDX: u32 = 29;

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

/// Whether a fault touched one entry of the MSI-X table.
fn is_entry(object: &str) -> bool {
    let number = object.strip_prefix('e').map(str::parse::<u16>);
    matches!(number, Some(Ok(_)))
}

#[derive(Default)]
struct Spurious {
    fired: Option<(u64, Option<Object>)>,
}

impl Machine for Spurious {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let At::Fault(fired) = now.at
            && fired.fault == "irq.spurious"
        {
            let object = match Object::of_fault(&fired.object) {
                queue @ Object::Queue(_) => Some(queue),
                // A message of its own need not be a queue's.
                Object::Device if !is_entry(&fired.object) => Some(Object::Device),
                _ => None,
            };
            if let Some(object) = object {
                self.fired.get_or_insert((now.seq, Some(object)));
            }
            return;
        }
        let Some((seq, Some(object))) = self.fired else {
            return;
        };
        if now.said().is_some_and(crate::log::Said::is_crash) {
            say.broken(
                object,
                &[seq, now.seq],
                "the guest crashes after a spurious interrupt",
            );
        } else if now.failure() {
            say.broken(
                object,
                &[seq, now.seq],
                "a request never ends after a spurious interrupt",
            );
        } else if now.success() {
            say.held(object);
        }
    }
}

/// What is known of used rings in this epoch.
#[derive(Default)]
struct Clean {
    begun: BTreeSet<u16>,
    dirty: BTreeSet<u16>,
}

impl Machine for Clean {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if lets_go(now) || matches!(now.at, At::End) {
            for q in self.begun.difference(&self.dirty) {
                say.held(Object::Queue(*q));
            }
            self.begun.clear();
            self.dirty.clear();
        }
        if packed(now.s) {
            return;
        }
        match now.at {
            At::Ring(ring) if self.begun.insert(ring.q) && ring.used_flags != 0 => {
                self.dirty.insert(ring.q);
                say.broken(
                    Object::Queue(ring.q),
                    &[],
                    format!(
                        "used.flags of queue {} is not 0 when the device begins with it",
                        ring.q
                    ),
                );
            }
            At::Dirty(dirty) => {
                let part = match dirty.part {
                    DirtyPart::Flags => "used.flags",
                    DirtyPart::Idx => "used.idx",
                    DirtyPart::Element => "an element of the used ring",
                    DirtyPart::AvailEvent => "avail_event",
                    DirtyPart::EventSuppression => return,
                };
                self.dirty.insert(dirty.q);
                say.broken(
                    Object::Queue(dirty.q),
                    &[],
                    format!("the driver wrote to {part} of queue {}", dirty.q),
                );
            }
            _ => {}
        }
    }
}

/// Buffers that were used and not told of, by queue: when the last was used.
#[derive(Default)]
struct Unasked {
    silent: BTreeMap<u16, u64>,
    asked: BTreeSet<u16>,
    /// Queues of which the guest was told since it last answered a command, and those of which it
    /// says that it should have been. The console lags: only the two together tell something.
    told: BTreeSet<u16>,
    missed: BTreeSet<u16>,
}

impl Machine for Unasked {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.resets() {
            self.silent.clear();
        }
        if packed(now.s) || !now.s.dev.agreed(EVENT_IDX) {
            return;
        }
        match now.step().map(|s| &s.input) {
            // What a fault changed about it may be that it is not written at all.
            Some(Input::Complete { queue, .. })
                if now.step().is_some_and(|s| s.meant.is_none()) =>
            {
                self.silent.insert(*queue, now.seq);
            }
            Some(Input::Used { queue }) => {
                self.silent.remove(queue);
                self.asked.insert(*queue);
                self.told.insert(*queue);
            }
            _ => {}
        }
        if let Some(Said::Lost { queue }) = now.said() {
            self.missed.insert(*queue);
        }
        if now.success() {
            let told = std::mem::take(&mut self.told);
            for q in std::mem::take(&mut self.missed) {
                if let Some(seq) = self.silent.remove(&q).filter(|_| !told.contains(&q)) {
                    self.asked.remove(&q);
                    say.broken(
                        Object::Queue(q),
                        &[seq, now.seq],
                        format!("used_event of queue {q} asks for none of the buffers that the driver waits for"),
                    );
                }
            }
        }
        if now.failure() {
            for (q, seq) in std::mem::take(&mut self.silent) {
                say.broken(
                    Object::Queue(q),
                    &[seq, now.seq],
                    format!("used_event of queue {q} does not ask for the buffers that the driver waits for"),
                );
            }
        } else if now.success() {
            for q in &self.asked {
                say.held(Object::Queue(*q));
            }
        }
    }
}

//! What the rules of both kinds of ring share.

use misfire_device::trace::{AlteredPart, ChainSeen, Flaw};

use super::machine::{At, Now, Object, Say};

/// VIRTIO_F_EVENT_IDX.
pub const EVENT_IDX: u32 = 29;

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

const INDIRECT: u16 = 4;

/// Whether a chain has an indirect descriptor, as far as it is listed.
pub fn is_indirect(c: &ChainSeen) -> bool {
    c.descriptors.iter().any(|d| d.flags & INDIRECT != 0)
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

//! VIO-SPL: the used ring, and notifications of used buffers (virtio 1.3, 2.7.7 to 2.7.10).

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::spec::NO_VECTOR;
use misfire_device::trace::{DirtyPart, Input, Mode};

use super::chains::{EVENT_IDX, lets_go};
use super::machine::{At, Machine, Now, Object, Say};
use super::q::packed;
use crate::log::Said;

/// Whether a fault touched one entry of the MSI-X table.
fn is_entry(object: &str) -> bool {
    let number = object.strip_prefix('e').map(str::parse::<u16>);
    matches!(number, Some(Ok(_)))
}

/// What comes of interrupts that nothing caused.
#[derive(Default)]
pub struct Spurious {
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
        if now.said().is_some_and(Said::is_crash) {
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
pub struct Clean {
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

/// Whether nobody waits to be told of a queue: it has no message.
fn polls(now: &Now<'_>, queue: u16) -> bool {
    let queue = now.s.dev.queues.get(usize::from(queue));
    now.s.dev.mode() == Mode::Msix && queue.is_some_and(|queue| queue.vector == NO_VECTOR)
}

/// Buffers that were used and not told of, by queue: when the last was used.
#[derive(Default)]
pub struct Unasked {
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
                if now.step().is_some_and(|s| s.meant.is_none()) && !polls(now, *queue) =>
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
            // It is through without them.
            self.silent.clear();
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

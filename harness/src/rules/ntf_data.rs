//! VIO-NTF-005: what a notification with data tells (virtio 1.3, 2.9 and 4.1.5.2.1).

use std::collections::BTreeMap;

use misfire_device::trace::ChainSeen;

use super::chains::{lets_go, size};
use super::machine::{At, Machine, Now, Object, Say};
use super::q::packed;

/// VIRTIO_F_NOTIFICATION_DATA.
const NOTIFICATION_DATA: u8 = 38;
/// Notifications that tell an old place before one is taken to tell nothing else.
const SEVERAL: u32 = 2;

/// Whether notifications carry data.
pub fn with_data(now: &Now<'_>) -> bool {
    now.s.dev.accepted >> NOTIFICATION_DATA & 1 != 0
}

/// What was told of each queue.
#[derive(Default)]
pub struct Data {
    queues: BTreeMap<u16, Told>,
}

#[derive(Default)]
struct Told {
    /// Notifications that told the place behind the last buffer.
    exact: u32,
    /// Those that told an earlier one: a buffer may have been added since, by another processor.
    old: u32,
    last: u64,
    /// Split: the last place told.
    place: Option<u16>,
    /// Packed: places told that no list has reached yet, oldest first.
    open: Vec<(u64, u16)>,
    /// Packed: behind the last list that the device has seen.
    end: Option<u16>,
}

impl Machine for Data {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if lets_go(now) || matches!(now.at, At::End) {
            for (q, told) in std::mem::take(&mut self.queues) {
                if told.exact == 0 && told.old >= SEVERAL {
                    say.broken(
                        Object::Queue(q),
                        &[told.last, now.seq],
                        format!(
                            "the notifications of queue {q} never tell where the next buffer goes"
                        ),
                    );
                }
            }
        }
        if !with_data(now) {
            return;
        }
        if let Some((access, value)) = now.notifies()
            && let Some(q) = access.q
        {
            let place = (value >> 16) as u16;
            if packed(now.s) {
                self.told_packed(q, place, now, say);
            } else {
                self.told_split(q, place, now, say);
            }
        }
        if let At::Chain(chain) = now.at
            && packed(now.s)
        {
            self.reached(chain, now, say);
        }
    }
}

impl Data {
    fn told_split(&mut self, q: u16, place: u16, now: &Now<'_>, say: &mut Say<'_>) {
        let ring = now
            .s
            .dev
            .queues
            .get(usize::from(q))
            .and_then(|queue| queue.ring);
        let Some(ring) = ring else { return };
        let told = self.queues.entry(q).or_default();
        told.last = now.seq;
        let before = told.place.replace(place);
        match ring.avail_idx.wrapping_sub(place) {
            0 => {
                told.exact += 1;
                say.held(Object::Queue(q));
            }
            // Where writes are posted, buffers may have been added since: only a place that leaves
            // all unused buffers out, or was told before, tells nothing.
            behind if behind < 0x8000 => {
                let nothing = place == ring.used_idx || before == Some(place);
                told.old += u32::from(nothing);
            }
            _ => say.broken(
                Object::Queue(q),
                &[],
                format!(
                    "a notification of queue {q} tells an index that avail.idx has not reached"
                ),
            ),
        }
    }

    fn told_packed(&mut self, q: u16, place: u16, now: &Now<'_>, say: &mut Say<'_>) {
        let told = self.queues.entry(q).or_default();
        told.last = now.seq;
        let size = size(now, q).unwrap_or(1);
        if place & 0x7fff >= size {
            say.broken(
                Object::Queue(q),
                &[],
                format!("a notification of queue {q} tells an offset beyond the ring"),
            );
        } else if told.open.len() < usize::from(size) {
            told.open.push((now.seq, place));
        }
    }

    /// The device has come to a list: what was told of places up to its end is judged.
    fn reached(&mut self, chain: &ChainSeen, now: &Now<'_>, say: &mut Say<'_>) {
        let size = u32::from(size(now, chain.q).unwrap_or(1)).max(1);
        let line = |place: u16| u32::from(place & 0x7fff) + if place >> 15 == 1 { 0 } else { size };
        let start = line(chain.position);
        let end = (start + chain.slots) % (2 * size);
        let told = self.queues.entry(chain.q).or_default();
        told.end = Some(end as u16);
        let mut open = Vec::new();
        for (seq, place) in std::mem::take(&mut told.open) {
            // How far behind the end of this list the place lies.
            let behind = (end + 2 * size - line(place) % (2 * size)) % (2 * size);
            if behind == 0 {
                told.exact += 1;
                say.held(Object::Queue(chain.q));
            } else if behind == chain.slots {
                told.old += 1;
            } else if behind < chain.slots {
                say.broken(
                    Object::Queue(chain.q),
                    &[seq, now.seq],
                    format!(
                        "a notification of queue {} tells a place in the middle of a list",
                        chain.q
                    ),
                );
            } else if behind > size {
                // Ahead of it: a later list may end there.
                open.push((seq, place));
            } else {
                told.old += 1;
            }
        }
        told.open = open;
    }
}

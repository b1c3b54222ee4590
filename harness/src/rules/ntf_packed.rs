//! VIO-NTF-006 for packed rings (virtio 1.3, 2.8.10 and 2.8.21.3.1).

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::trace::PackedSample;

use super::chains::EVENT_IDX;
use super::machine::{At, Machine, Now, Object, Say};

/// What is known of each queue.
#[derive(Default)]
pub struct Forgotten {
    rings: BTreeMap<u16, PackedSample>,
    /// Where the device was seen to wait for a list of which it wants to be told, and when.
    waits: BTreeMap<u16, (u64, u16)>,
    told: BTreeSet<u16>,
}

impl Machine for Forgotten {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let At::Packed(ring) = now.at {
            self.rings.insert(ring.q, *ring);
            if wanted(ring, now) && !has_list(ring) {
                self.waits.insert(ring.q, (now.seq, ring.next));
            }
        }
        // The sample of a notification comes right before it.
        let notified = now.notifies().and_then(|(access, _)| access.q);
        if let Some(ring) = notified.and_then(|q| self.rings.get(&q))
            && has_list(ring)
        {
            self.told.insert(ring.q);
            self.waits.remove(&ring.q);
        }
        if now.resets() || now.failure() {
            self.judge(now, say);
            self.waits.clear();
        }
        if now.resets() {
            self.rings.clear();
            self.told.clear();
        }
    }
}

impl Forgotten {
    fn judge(&self, now: &Now<'_>, say: &mut Say<'_>) {
        for (q, ring) in &self.rings {
            let waits = self.waits.get(q).filter(|(_, at)| *at == ring.next);
            if let Some((seq, _)) = waits.filter(|_| wanted(ring, now) && has_list(ring)) {
                say.broken(
                    Object::Queue(*q),
                    &[*seq, now.seq],
                    format!(
                        "a list was made available in queue {q}, and the device, which was waiting for one, was not notified"
                    ),
                );
            } else if self.told.contains(q) {
                say.held(Object::Queue(*q));
            }
        }
    }
}

/// Whether there is a list where the device looks next.
fn has_list(ring: &PackedSample) -> bool {
    const AVAIL: u16 = 1 << 7;
    const USED: u16 = 1 << 15;
    let available = if ring.next >> 15 == 1 { AVAIL } else { USED };
    ring.next_flags & (AVAIL | USED) == available
}

/// Whether the device wants to be notified of a list there.
fn wanted(ring: &PackedSample, now: &Now<'_>) -> bool {
    const ENABLE: u16 = 0;
    const DESC: u16 = 2;
    match ring.device_flags {
        ENABLE => true,
        DESC => now.s.dev.agreed(EVENT_IDX) && ring.device_desc == ring.next,
        _ => false,
    }
}

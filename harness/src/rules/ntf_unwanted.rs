//! VIO-NTF-006b: notifications of a split ring that the device did not ask for (virtio 1.3, 2.7.10.1).

use std::collections::BTreeMap;

use misfire_device::trace::{Device, RingSample};

use super::machine::{At, Machine, Now, Object, Say};
use super::q::packed;

const EVENT_IDX: u8 = 29;
const NO_NOTIFY: u16 = 1;

/// What each device asked for when it was seen to ask for something new, or was notified last.
///
/// A driver may have looked at what the device asked for before. What it made available since, it
/// did so with this before its eyes.
#[derive(Default)]
pub struct Unwanted {
    asked: BTreeMap<u16, Asked>,
    /// Where each ring was at the last notification.
    notified: BTreeMap<u16, u16>,
}

struct Asked {
    since: u64,
    sample: RingSample,
    /// The driver may have been about to notify the device of what it had made available before.
    about_to: bool,
    /// Buffers went by that the device did not want to be told of.
    passed: bool,
}

impl Machine for Unwanted {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if packed(now.s) {
            return;
        }
        if let At::Ring(sample) = now.at {
            self.look(sample, now);
        }
        // The sample of a notification comes right before it.
        let ring = |q: u16| now.s.dev.queues.get(usize::from(q)).and_then(|q| q.ring);
        if let Some(sample) = now.notifies().and_then(|(access, _)| ring(access.q?)) {
            let asked = self.asked.insert(sample.q, Asked::new(now.seq, sample));
            self.notified.insert(sample.q, sample.avail_idx);
            let is_unwanted =
                |asked: &Asked| !asked.about_to && asked.unwanted(&sample, &now.s.dev);
            if let Some(asked) = asked.filter(is_unwanted) {
                say.warn(
                    Object::Queue(sample.q),
                    &[asked.since, now.seq],
                    format!(
                        "queue {} is notified, and the device had asked for none",
                        sample.q
                    ),
                );
            }
        }
        if now.ends() || now.failure() {
            self.notified.clear();
            for (q, _) in std::mem::take(&mut self.asked)
                .iter()
                .filter(|(_, asked)| asked.passed)
            {
                say.held(Object::Queue(*q));
            }
        }
    }
}

impl Unwanted {
    fn look(&mut self, sample: &RingSample, now: &Now<'_>) {
        let told = self.notified.get(&sample.q).copied().unwrap_or(0);
        let begin = || Asked {
            about_to: sample.avail_idx != told,
            ..Asked::new(now.seq, *sample)
        };
        let asked = self.asked.entry(sample.q).or_insert_with(begin);
        if asked.same(sample) {
            asked.passed |= asked.unwanted(sample, &now.s.dev);
        } else {
            *asked = begin();
        }
    }
}

impl Asked {
    fn new(since: u64, sample: RingSample) -> Self {
        Self {
            since,
            sample,
            about_to: false,
            passed: false,
        }
    }

    /// Whether the device asks for the same still.
    fn same(&self, sample: &RingSample) -> bool {
        let asks = |s: &RingSample| (s.used_flags & NO_NOTIFY, s.avail_event);
        asks(&self.sample) == asks(sample)
    }

    /// Whether there are new buffers, and none of them is one that the device wants to be told of.
    fn unwanted(&self, sample: &RingSample, device: &Device) -> bool {
        let new = sample.avail_idx.wrapping_sub(self.sample.avail_idx);
        let wanted = if device.accepted >> EVENT_IDX & 1 != 0 {
            let behind = sample.avail_idx.wrapping_sub(sample.avail_event);
            behind.wrapping_sub(1) < new
        } else {
            sample.used_flags & NO_NOTIFY == 0
        };
        self.same(sample) && (1..0x8000).contains(&new) && !wanted
    }
}

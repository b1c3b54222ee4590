//! Which device each line of a guest's log is about.

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::trace::{Event, What};

use super::{MachineLine, Said};

/// Everything that the guest says in a trace, and which device each line is about.
///
/// A driver's line names no device. It belongs to the device whose `started` or `failed` line, or
/// whose answer to a command, comes next; with one device in the trace, to that one.
#[derive(Clone, Debug, Default)]
pub struct Speech {
    said: BTreeMap<u64, (Option<u8>, Said)>,
}

impl Speech {
    /// Reads all log lines of a trace.
    pub fn of(events: &[Event]) -> Self {
        let mut devices = BTreeSet::new();
        let mut said = BTreeMap::new();
        let mut open: Vec<u64> = Vec::new();
        for event in events {
            let line = match &event.what {
                What::Hello(hello) => {
                    devices.insert(hello.dev);
                    continue;
                }
                What::Log { line } => line,
                _ => continue,
            };
            let Some(words) = Said::of(line) else {
                continue;
            };
            let names = words.names();
            if let (Some(dev), false) = (
                names,
                matches!(words, Said::Machine(MachineLine::Device { .. })),
            ) {
                for seq in open.drain(..) {
                    said.entry(seq).and_modify(|(of, _)| *of = Some(dev));
                }
            } else if names.is_none() && words.is_drivers() {
                open.push(event.seq);
            }
            said.insert(event.seq, (names, words));
        }
        if let (1, Some(only)) = (devices.len(), devices.first()) {
            for seq in open {
                said.entry(seq).and_modify(|(of, _)| *of = Some(*only));
            }
        }
        Self { said }
    }

    /// What the line at `seq` says, if it is about device `dev` or about the guest as a whole.
    pub fn said(&self, seq: u64, dev: u8) -> Option<&Said> {
        let (of, said) = self.said.get(&seq)?;
        let concerns = match of {
            Some(of) => *of == dev,
            None => !said.is_drivers(),
        };
        concerns.then_some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drivers_line_belongs_to_the_device_that_starts_next() {
        let mut trace = crate::rules::testing::trace();
        for dev in 0..2 {
            trace = trace.hello_dev(dev, misfire_device::shape::Kind::Block);
        }
        let events = trace
            .log("VIRTIO: queue 0 uses vector 1")
            .log("MISFIRE: dev 0 started mode=msix granted=3 used=3 queues=2")
            .log("VIRTIO: queue 0 uses vector 2")
            .log("MISFIRE: dev 1 started mode=msix granted=3 used=3 queues=2")
            .log("MISFIRE: exit")
            .events();
        let speech = Speech::of(&events);
        let seqs: Vec<_> = events
            .iter()
            .filter(|e| matches!(e.what, What::Log { .. }))
            .map(|e| e.seq)
            .collect();
        let uses = |line: usize, dev| match speech.said(seqs[line], dev) {
            Some(Said::QueueUses { vector, .. }) => Some(*vector),
            _ => None,
        };
        assert_eq!((uses(0, 0), uses(0, 1)), (Some(1), None));
        assert_eq!((uses(2, 0), uses(2, 1)), (None, Some(2)));
        assert!(speech.said(seqs[4], 0).is_some() && speech.said(seqs[4], 1).is_some());
    }
}

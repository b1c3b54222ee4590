//! What a Linux kernel says of itself when a driver does not get on.

use std::collections::BTreeMap;

use misfire_device::trace::{Event, What};

use super::{log_lines, phase};
use crate::log::KernelTrouble;

/// The kinds of trouble that the kernel's log tells of, each with its first line. Where a step ran out of time and it
/// tells of no hang, that is said too: who waits there does so as the kernel has it.
pub(super) fn notes(events: &[Event]) -> Vec<String> {
    let mut first: BTreeMap<KernelTrouble, (&str, usize)> = BTreeMap::new();
    for line in log_lines(events) {
        if let Some(trouble) = KernelTrouble::of(line) {
            first.entry(trouble).or_insert((line, 0)).1 += 1;
        }
    }
    let mut notes: Vec<String> = first
        .iter()
        .map(|(trouble, (line, times))| match times {
            1 => format!("{}: {line}", trouble.name()),
            _ => format!("{}, {times} times: {line}", trouble.name()),
        })
        .collect();
    let ran_out = events.iter().any(|event| {
        matches!(&event.what, What::Mark { step: Some(_), phase, .. } if phase == phase::TIMEOUT)
    });
    if ran_out && !first.keys().any(|trouble| trouble.is_hang()) {
        notes.push(
            "silence: the kernel's log tells of no lockup, no hung task and no stall".to_owned(),
        );
    }
    notes
}

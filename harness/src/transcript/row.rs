//! What came of a cell of a matrix, in one line.

use misfire_device::trace::{Event, What};

use crate::log::{MachineLine, Said};
use crate::scenario::Outcome;
use crate::verdict::Observed;

/// The outcome, how each driver is told and what it was granted, and how the loads ended.
pub fn row(events: &[Event], observed: &Observed) -> String {
    let mut parts = vec![observed.outcome.unwrap_or(Outcome::Wedged).to_string()];
    for event in events {
        let What::Log { line } = &event.what else {
            continue;
        };
        match Said::of(line) {
            Some(Said::Machine(MachineLine::Started(s))) => parts.push(format!(
                "{} granted={} used={} queues={}",
                s.mode, s.granted, s.used, s.queues
            )),
            Some(Said::Machine(MachineLine::Failed { name, .. })) => parts.push(name),
            _ => {}
        }
    }
    if let Some(io) = observed.io {
        parts.push(format!("io {io}"));
    }
    parts.dedup();
    parts.join("; ")
}

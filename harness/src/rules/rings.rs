//! ROB: what a driver survives when a used ring is not as it should be.

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule, Sight};
use crate::log::{Done, Said};

const BASE: Rule = Rule {
    level: Level::Derived,
    robust: true,
    sight: Sight::Anything,
    ..Rule::BASE
};

const BREAKS: &str = "after such a fault the guest crashes, or a load never ends";

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "ROB-001",
        sentence: "A used element whose id is out of range, not outstanding or there twice is survived: no request ends twice, and the device may be reset or given up.",
        source: "B72, P15, SC-12; virtio 1.3, 2.7.8",
        breaks: BREAKS,
        watch: Watch::With(|| after(&["used.id", "used.dup"])),
        ..BASE
    },
    Rule {
        id: "ROB-002",
        sentence: "A used length beyond the buffer is survived: nothing is read behind the buffer.",
        source: "B72, SC-12; virtio 1.3, 2.7.8.2 and 2.7.8.3",
        breaks: BREAKS,
        watch: Watch::With(|| after(&["used.len"])),
        ..BASE
    },
    Rule {
        id: "ROB-003",
        sentence: "A used index that jumps beyond what is outstanding is survived.",
        source: "B72, SC-12; virtio 1.3, 2.7.8",
        breaks: BREAKS,
        watch: Watch::With(|| after(&["used.jump", "ring.keep"])),
        ..BASE
    },
    Rule {
        id: "ROB-009",
        sentence: "A device that does not ask to be notified, and so sees no requests, or never says that it is done, does not hang the driver.",
        source: "B55; virtio 1.3, 2.7.10",
        breaks: BREAKS,
        watch: Watch::With(|| after(&["used.flags", "avail_event.lie", "used.skip"])),
        ..BASE
    },
    Rule {
        id: "ROB-010",
        sentence: "A completion from before a reset that comes after it is survived.",
        source: "B63, B32, SC-11; virtio 1.3, 2.4",
        breaks: BREAKS,
        watch: Watch::With(|| after(&["late.completion"])),
        ..BASE
    },
    Rule {
        id: "ROB-012",
        sentence: "Two messages at once on two processors lose no event and break no list.",
        source: "B03, B48",
        breaks: "an event is lost, or the guest crashes, when both handlers run at the same time",
        virtio: false,
        unobservable: Some(
            "a trace does not tell on which processor a handler ran, and the reference guest has one; of a miniport's own image WIN-SPT-021 says it, on the guest `nt` with `--processors`",
        ),
        ..BASE
    },
];

/// Waits for what comes of faults.
struct After {
    faults: &'static [&'static str],
    fired: Option<u64>,
}

fn after(faults: &'static [&'static str]) -> Box<dyn Machine> {
    Box::new(After {
        faults,
        fired: None,
    })
}

impl Machine for After {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let At::Fault(fired) = now.at {
            if self.faults.contains(&fired.fault.as_str()) {
                self.fired.get_or_insert(now.seq);
            }
            return;
        }
        let Some(fired) = self.fired else { return };
        let ended = |done: &Done| done.verb == "load";
        let evidence = [fired, now.seq];
        if now.said().is_some_and(Said::is_crash) {
            self.fired = None;
            let text = format!("the guest crashes after {}", self.faults.join(" or "));
            say.broken(Object::Device, &evidence, text);
        } else if matches!(now.at, At::Mark("timeout")) {
            self.fired = None;
            let text = format!("a request never ends after {}", self.faults.join(" or "));
            say.broken(Object::Device, &evidence, text);
        } else if now.said().and_then(Said::done).is_some_and(ended) {
            say.held(Object::Device);
        }
    }
}

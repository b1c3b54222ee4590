//! ROB: what a driver survives when the device misbehaves. Judged under every fault.

use misfire_device::spec::CommonCfg as C;
use misfire_device::trace::Legality;

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule, Sight};
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "ROB-006",
        level: Level::Derived,
        sentence: "A device whose status never reads 0 after a reset does not hang the driver: it gives up, and reports the device as failed.",
        source: "B26, P12",
        breaks: "the driver still polls device_status when the trace or the step's time ends",
        proof: "The driver is seen to give up when the guest says that the device or the request failed, or when it does something else with the device.",
        robust: true,
        watch: Watch::with::<Endless>(),
        ..Rule::BASE
    },
    Rule {
        id: "ROB-011",
        level: Level::Derived,
        sentence: "Interrupts that are spurious, doubled, late or sent to another entry are survived; of those that a device may show, no request suffers.",
        source: "virtio 1.3, 2.7.7.1 (spurious notifications are handled); B16, B60",
        breaks: "after such a fault the guest crashes, or, if the fault is a legal one, requests fail",
        robust: true,
        virtio: false,
        sight: Sight::Anything,
        watch: Watch::with::<Odd>(),
        ..Rule::BASE
    },
    Rule {
        id: "ROB-014",
        level: Level::Derived,
        sentence: "When one interrupt is lost the driver gets going again: with the next one, a time limit, or a reset.",
        source: "B33, B54, B68",
        breaks: "an interrupt is dropped, or the guest misses one that was misrouted or lost its vector, and the guest crashes, or a request of the guest fails or hangs",
        robust: true,
        virtio: false,
        sight: Sight::Anything,
        watch: Watch::with::<Lost>(),
        ..Rule::BASE
    },
];

/// Waits for a reset that takes long, or for ever.
#[derive(Default)]
pub struct Endless {
    polls: Option<(u64, u64)>,
}

impl Machine for Endless {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.s.dev.gone {
            // What is there no more is WIN-PNP-001's.
            self.polls = None;
            return;
        }
        let epoch = &now.s.epoch;
        let waiting = epoch.began.is_some() && !epoch.zero_read && epoch.written == 0;
        if let Some(status) = now.read(C::DeviceStatus).filter(|_| waiting) {
            match self.polls {
                Some(_) if status == 0 => {
                    self.polls = None;
                    say.held(Object::Status);
                }
                Some((first, _)) => self.polls = Some((first, now.seq)),
                None if status != 0 => self.polls = Some((now.seq, now.seq)),
                None => {}
            }
            return;
        }
        let Some((first, last)) = self.polls else {
            return;
        };
        if now.said().is_some_and(Said::is_crash) {
            self.polls = None;
            say.broken(
                Object::Status,
                &[first, last, now.seq],
                "the guest crashes while the device does not come back from a reset",
            );
        } else if matches!(now.at, At::End | At::Mark("timeout")) {
            self.polls = None;
            say.broken(
                Object::Status,
                &[first, last],
                "device_status never reads 0 after the reset, and the driver polls it without an end",
            );
        } else if now.written().is_some()
            || now
                .said()
                .is_some_and(|s| s.is_start_failure() || s.done().is_some() || s.is_exit())
        {
            self.polls = None;
            say.held(Object::Status);
        }
    }
}

/// Waits for what comes of interrupts that are not as they should be.
#[derive(Default)]
struct Odd {
    /// The first one: when, and whether a device may do that.
    fired: Option<(u64, bool)>,
    name: String,
}

impl Machine for Odd {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let At::Fault(fired) = now.at
            && matches!(
                fired.fault.as_str(),
                "irq.spurious"
                    | "irq.dup"
                    | "irq.delay"
                    | "irq.misroute"
                    | "irq.coalesce"
                    | "irq.simul"
                    | "irq.early"
                    | "msix.stale_route"
            )
        {
            let legal = fired.class != Legality::Illegal;
            if self.fired.is_none() {
                self.name.clone_from(&fired.fault);
            }
            let (seq, before) = self.fired.unwrap_or((now.seq, true));
            self.fired = Some((seq, before && legal));
            return;
        }
        let Some((seq, legal)) = self.fired else {
            return;
        };
        let name = &self.name;
        if now.said().is_some_and(Said::is_crash) {
            say.broken(
                Object::Device,
                &[seq, now.seq],
                format!("the guest crashes after {name}"),
            );
        } else if now.failure() && legal {
            say.broken(
                Object::Device,
                &[seq, now.seq],
                format!("requests fail after {name}"),
            );
        } else if now.success() || now.said().is_some_and(Said::is_exit) {
            say.held(Object::Device);
        }
    }
}

/// Faults with which an interrupt does not come.
const DROPS: &[&str] = &["irq.drop", "intx.drop", "irq.early", "msix.pend_lose"];
/// Faults with which one may not come where it should.
const ASTRAY: &[&str] = &[
    "irq.misroute",
    "vector.clear",
    "isr.override",
    "msix.stale_route",
    "msix.ignore_edit",
    "msix_table.clear",
    "reg.override",
    "reset.partial",
];

/// Waits for a driver to get going after an interrupt was lost.
#[derive(Default)]
struct Lost {
    dropped: Option<u64>,
    /// A fault with which an interrupt does not come where it should; the driver may notice.
    astray: Option<u64>,
    how: Option<&'static str>,
}

impl Machine for Lost {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let is_one = |faults: &[&str]| matches!(now.at, At::Fault(fired) if faults.contains(&fired.fault.as_str()));
        if is_one(DROPS) {
            self.dropped.get_or_insert(now.seq);
            return;
        }
        if is_one(ASTRAY) {
            self.astray.get_or_insert(now.seq);
            return;
        }
        if matches!(now.said(), Some(Said::Lost { .. })) {
            self.dropped = self.dropped.or(self.astray);
        }
        let Some(dropped) = self.dropped else { return };
        if now.failure() {
            say.broken(
                Object::Device,
                &[dropped, now.seq],
                "an interrupt was lost, and a request never ends",
            );
        } else if matches!(now.said(), Some(Said::Lost { .. } | Said::TimedOut { .. })) {
            self.how = Some("the driver's time limit");
        } else if now.resets() {
            self.how.get_or_insert("a reset");
        } else if now.success() || now.said().is_some_and(Said::is_exit) {
            let how = self.how.unwrap_or("the next interrupt or notification");
            say.note(format!("progress resumed with {how}"));
            say.held(Object::Device);
        }
    }
}

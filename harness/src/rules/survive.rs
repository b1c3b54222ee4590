//! ROB: what a driver survives when registers, the line or the link misbehave. Judged under every fault.

use misfire_device::spec::CommonCfg as C;
use misfire_device::trace::Cause;

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule, Sight};
use crate::log::{Done, MachineLine, Said};

const BASE: Rule = Rule {
    level: Level::Derived,
    robust: true,
    virtio: false,
    sight: Sight::Anything,
    ..Rule::BASE
};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "ROB-004",
        sentence: "Registers that read as nonsense (a queue of no elements or of 65535, no queue or 65535 of them, a notification outside its window, odd device configuration) or do not take what is written are survived: the driver makes do, or fails to start in good order.",
        source: "virtio 1.3, 4.1.4.3; B51, B72",
        breaks: "after a register was overridden, had a wrong default or ignored a write, the guest crashes or hangs",
        watch: Watch::with::<Survives<REGISTERS>>(),
        ..BASE
    },
    Rule {
        id: "ROB-005",
        sentence: "A config_generation that changes with every read does not keep the driver for ever.",
        source: "B59, P13",
        breaks: "while it changes the guest crashes or hangs, or the configuration is read more than a hundred times in a row",
        watch: Watch::with::<Churns>(),
        ..BASE
    },
    Rule {
        id: "ROB-007",
        sentence: "When every read gets all ones since the link is dead, and nobody tells of an unplug, no loop goes on for ever and the guest lives.",
        source: "B26, B42",
        breaks: "after the link died the guest crashes, or does not get further",
        follows: &["ROB-006"],
        watch: Watch::with::<Survives<DEAD_LINK>>(),
        ..BASE
    },
    Rule {
        id: "ROB-008",
        sentence: "Reserved bits of ISR status, an ISR status of 0 with the line up, and a line that stays up or stays down are survived.",
        source: "virtio 1.3, 4.1.4.5; B64",
        breaks: "after such a fault the guest crashes or hangs; that the system takes a line that is stuck for a storm (0xF2) is the device's doing, and only noted",
        watch: Watch::with::<Survives<LINE>>(),
        ..BASE
    },
    Rule {
        id: "ROB-013",
        sentence: "A storm of messages for nothing is survived, and the device works when it is over.",
        source: "virtio 1.3, 2.7.7.1; B15, B16",
        breaks: "after three hundred messages that nothing caused the guest crashes or hangs, or its driver gives up, or its requests fail",
        watch: Watch::with::<Storm>(),
        ..BASE
    },
];

/// Faults that a driver has to survive, and what they come to, in words.
struct Trial {
    faults: &'static [&'static str],
    what: &'static str,
}

const REGISTERS: usize = 0;
const DEAD_LINK: usize = 1;
const LINE: usize = 2;
const TRIALS: [Trial; 3] = [
    Trial {
        faults: &["reg.override", "reg.default", "reg.ignore_write"],
        what: "a register misbehaved",
    },
    Trial {
        faults: &["allones"],
        what: "the link died",
    },
    Trial {
        faults: &[
            "isr.add",
            "isr.override",
            "isr.stale",
            "intx.drop",
            "intx.stuck",
            "intx.peer",
        ],
        what: "the line or ISR status misbehaved",
    },
];
/// HARDWARE_INTERRUPT_STORM.
const STORM_CODE: u32 = 0xf2;

/// Whether the guest has got on, or has said in good order that it can't.
fn gets_on(now: &Now<'_>) -> bool {
    now.said().is_some_and(|said| {
        said.done().is_some()
            || said.is_start_failure()
            || said.is_exit()
            || matches!(said, Said::Machine(MachineLine::Started(_)))
    })
}

fn crash_code(now: &Now<'_>) -> Option<u32> {
    match now.said() {
        Some(Said::Machine(MachineLine::Crash(crash))) => Some(crash.code.0),
        _ => None,
    }
}

/// Waits for what comes of the faults of a trial.
#[derive(Default)]
struct Survives<const TRIAL: usize> {
    since: Option<u64>,
}

impl<const TRIAL: usize> Machine for Survives<TRIAL> {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let trial = &TRIALS[TRIAL];
        if let At::Fault(fired) = now.at {
            if trial.faults.contains(&fired.fault.as_str()) {
                self.since.get_or_insert(now.seq);
            }
            return;
        }
        let Some(since) = self.since else { return };
        let what = trial.what;
        if let Some(code) = crash_code(now) {
            self.since = None;
            let text = format!("the guest crashes after {what}: {code:#X}");
            if TRIAL == LINE && code == STORM_CODE {
                say.info(Object::Device, &[since, now.seq], text);
            } else {
                say.broken(Object::Device, &[since, now.seq], text);
            }
        } else if matches!(now.at, At::Mark("timeout")) {
            self.since = None;
            let text = format!("the guest does not get further after {what}");
            say.broken(Object::Device, &[since, now.seq], text);
        } else if gets_on(now) {
            say.held(Object::Device);
            // Who waits for a driver that has declined waits in vain.
            if now.said().is_some_and(Said::is_start_failure) {
                self.since = None;
            }
        }
    }
}

/// Waits for the end of reading a configuration whose generation always changes.
#[derive(Default)]
struct Churns {
    since: Option<u64>,
    last: Option<u64>,
    changes: u32,
}

impl Machine for Churns {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        const MOST: u32 = 100;
        if let At::Fault(fired) = now.at {
            if fired.fault == "gen.churn" {
                self.since.get_or_insert(now.seq);
            }
            return;
        }
        let Some(since) = self.since else { return };
        if let Some(generation) = now.read(C::ConfigGeneration) {
            let changed = self.last.is_some_and(|last| last != generation);
            self.changes = if changed { self.changes + 1 } else { 0 };
            self.last = Some(generation);
            if self.changes == MOST {
                say.broken(
                    Object::Config,
                    &[since, now.seq],
                    "config_generation changes with every read, and the driver reads again without an end",
                );
            }
        } else if now.written().is_some() {
            (self.last, self.changes) = (None, 0);
        }
        if crash_code(now).is_some() || matches!(now.at, At::Mark("timeout")) {
            self.since = None;
            say.broken(
                Object::Config,
                &[since, now.seq],
                "the guest does not get further while config_generation changes",
            );
        } else if gets_on(now) {
            say.held(Object::Config);
        }
    }
}

/// Counts messages for nothing, and waits for what comes of many.
#[derive(Default)]
struct Storm {
    messages: u32,
    first: Option<u64>,
    over: bool,
}

impl Machine for Storm {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        const STORM: u32 = 300;
        for message in now.messages() {
            if message.cause == Cause::None {
                self.messages = self.messages.saturating_add(1);
                self.first.get_or_insert(now.seq);
            }
        }
        let Some(first) = self.first.filter(|_| self.messages >= STORM && !self.over) else {
            return;
        };
        let refused = now
            .said()
            .and_then(Said::done)
            .is_some_and(|done| !done.ok && done.reason() != Some("errors"));
        let text = if crash_code(now).is_some() {
            "the guest crashes after a storm of messages"
        } else if matches!(now.at, At::Mark("timeout")) {
            "the guest does not get further after a storm of messages"
        } else if refused || now.said().is_some_and(Said::is_start_failure) {
            "after a storm of messages the device does not work any more"
        } else {
            let worked = |done: &Done| done.verb == "load" && done.ok;
            if now.said().and_then(Said::done).is_some_and(worked) {
                say.held(Object::Device);
            }
            return;
        };
        self.over = true;
        say.broken(Object::Device, &[first, now.seq], text);
    }
}

//! WIN-MSI: messages while the device works; and WIN-SYS: the system as a whole.

use misfire_device::spec::Status;
use misfire_device::trace::{Cause, Effect, IrqKind, Mode};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule, Sight};
use super::track::Owed;
use crate::log::{MachineLine, Said};

const BASE: Rule = Rule {
    level: Level::Vendor,
    robust: true,
    virtio: false,
    sight: Sight::Anything,
    ..Rule::BASE
};

/// The rules about messages.
pub const RULES: &[Rule] = &[
    Rule {
        id: "WIN-MSI-007",
        sentence: "A driver's interrupts are connected before its device may send any; what is raised in between is not lost.",
        source: "wdf/enabling-and-disabling-interrupts; B34, B61, B68",
        breaks: "something is raised between the first vector and DRIVER_OK, that write included, and the guest crashes, or the configuration change that it tells of is never looked at",
        proof: "A configuration change counts as looked at when the configuration or device_status is read after its message was sent.",
        virtio: true,
        sight: Sight::Registers,
        watch: Watch::with::<Early>(),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-014",
        sentence: "A message is the driver's alone: its handler takes each of the messages that were granted, whether an event is mapped to it or not.",
        source: "network/MiniportMessageInterrupt, storport/HwMSInterruptRoutine; B15, B16, B20",
        breaks: "messages that nothing caused come on any of the entries, and the guest crashes",
        watch: Watch::with::<Claims>(),
        ..BASE
    },
];

/// The rules about the system.
pub const SYSTEM: &[Rule] = &[Rule {
    id: "WIN-SYS-001",
    sentence: "Whatever the device does, the system neither stops with a bug check nor hangs.",
    source: "Bug Check Code Reference (0x7E, 0x9F, 0xC4, 0xD1, 0xF2, 0x133 and others); B04, B15, B25",
    breaks: "the guest prints a stop code, or does not answer any more",
    proof: "It holds when the guest leaves in good order.",
    follows: &[
        "ROB-004",
        "ROB-005",
        "ROB-006",
        "ROB-007",
        "ROB-008",
        "ROB-011",
        "ROB-013",
        "ROB-014",
        "VIO-CFG-007",
        "VIO-ISR-001",
        "VIO-RST-005",
        "WIN-MSI-007",
        "WIN-MSI-014",
        "WIN-PNP-001",
        "WIN-STOR-001",
    ],
    watch: Watch::with::<Lives>(),
    ..BASE
}];

/// Watches messages that come before the driver is at work.
#[derive(Default)]
struct Early {
    /// The driver has written a vector in this epoch.
    mapped: bool,
    /// A change of the configuration was raised early, and its message waits.
    waits: bool,
    owed: Owed,
    /// A message that tells of nothing.
    idle: Option<u64>,
}

impl Machine for Early {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        for _ in self.owed.settle(now) {
            say.held(Object::Config);
        }
        self.mapped |= now.maps().is_some();
        let early = !now.s.dev.status.has(Status::DRIVER_OK);
        let window = self.mapped && early && now.s.mode() == Mode::Msix;
        for effect in now.shown() {
            match effect {
                Effect::Pended(m) if window && m.cause == Cause::Config => self.waits = true,
                Effect::Message(m)
                    if m.kind == IrqKind::Msix
                        && m.cause == Cause::Config
                        && (window || std::mem::take(&mut self.waits)) =>
                {
                    self.owed.raise(Object::Config, now.seq);
                }
                Effect::Message(m)
                    if window && m.kind == IrqKind::Msix && m.cause != Cause::Config =>
                {
                    self.idle.get_or_insert(now.seq);
                }
                _ => {}
            }
        }
        for (object, since) in self.owed.missed(now) {
            say.broken(
                object,
                &[since, now.seq],
                "a configuration change was told before the driver was at work, and it is never looked at",
            );
        }
        if let Some(since) = self.idle {
            if now.said().is_some_and(Said::is_crash) {
                self.idle = None;
                say.broken(
                    Object::Device,
                    &[since, now.seq],
                    "a message came before the driver was at work, and the guest crashes",
                );
            } else if now.notifies().is_some() || now.said().is_some_and(Said::is_exit) {
                self.idle = None;
                say.held(Object::Device);
            }
        }
        if now.resets() {
            (self.mapped, self.waits) = (false, false);
        }
    }
}

/// Waits for what comes of messages that nothing caused.
#[derive(Default)]
struct Claims {
    since: Option<u64>,
}

impl Machine for Claims {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.messages().any(|m| m.cause == Cause::None) {
            self.since.get_or_insert(now.seq);
        }
        let Some(since) = self.since else { return };
        if now.said().is_some_and(Said::is_crash) {
            self.since = None;
            say.broken(
                Object::Device,
                &[since, now.seq],
                "the guest crashes after a message that nothing caused",
            );
        } else if now.success() || now.said().is_some_and(Said::is_exit) {
            say.held(Object::Device);
        }
    }
}

/// Whether the guest lives.
#[derive(Default)]
struct Lives {
    /// A step ran out of time, and the guest has not said anything since.
    silent: Option<u64>,
    over: bool,
}

impl Machine for Lives {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if self.over {
            return;
        }
        match now.at {
            At::Said(Said::Machine(MachineLine::Crash(crash))) => {
                self.over = true;
                say.broken(
                    Object::Device,
                    &[],
                    match crash.code.0 {
                        0 => "the system stops without a stop code".to_owned(),
                        code => format!("the system stops with {code:#X}"),
                    },
                );
            }
            At::Said(Said::Machine(MachineLine::Exit)) => {
                self.over = true;
                say.held(Object::Device);
            }
            At::Said(said) if said.done().is_some() => self.silent = None,
            At::Mark("timeout" | "stayed") => self.silent = Some(now.seq),
            At::End => {
                if let Some(since) = self.silent {
                    say.broken(
                        Object::Device,
                        &[since],
                        "the system does not answer any more",
                    );
                }
            }
            _ => {}
        }
    }
}

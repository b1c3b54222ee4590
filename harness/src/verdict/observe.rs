//! What the driver did, as a trace shows it.

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::shape::Attach;
use misfire_device::spec::NO_VECTOR;
use misfire_device::trace::{Event, Mode, What, World};

use crate::log::{Crash, MachineLine, Said, Started};
use crate::scenario::{Interrupts, Io, Outcome};

/// What can be seen from outside of what the driver did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What it did; `None` before anything was seen of it.
    pub outcome: Option<Outcome>,
    /// How it is told, for each device.
    pub interrupts: Vec<Interrupts>,
    /// How the loads ended.
    pub io: Option<Io>,
    /// The code of the bugcheck or panic.
    pub bugcheck: Option<u32>,
    /// What a kernel debugger was told of the crash: code, name and parameters.
    pub stop: Option<String>,
    /// The steps that ran out of time, in words, except loads.
    pub timeouts: Vec<String>,
    /// How often each fault fired, by device and id.
    pub fired: BTreeMap<(u8, String), u64>,
}

/// Phases of a step's mark, as the runner records them.
pub mod phase {
    /// The step begins.
    pub const BEGIN: &str = "begin";
    /// It ended as it should.
    pub const END: &str = "end";
    /// The guest said that it failed.
    pub const FAILED: &str = "failed";
    /// It ran out of time.
    pub const TIMEOUT: &str = "timeout";
    /// It was not begun: the guest was gone.
    pub const SKIPPED: &str = "skipped";
    /// The guest ended the machine without being told to; no step's phase.
    pub const LEFT: &str = "left";
    /// The guest, which watches its driver, does not end when it is told to; no step's phase.
    pub const STAYED: &str = "stayed";
    /// From here on the guest is examined, and what it does is not the driver's doing; no step's phase.
    pub const EXAMINED: &str = "examined";
    /// The system crashes, and what the driver does from here on it does for the dump.
    pub const DUMPED: &str = "dumped";
    /// What was found out about a guest that was examined; no step's phase.
    pub const EVIDENCE: &str = "evidence";
}

/// The step that waits for a load in the background. The load's own mark says how it ended.
const LOADED: &str = "wait loaded";

/// Reads from a trace what the driver did with `devices` devices.
pub fn observe(events: &[Event], devices: usize) -> Observed {
    let mut modes: Vec<Option<Interrupts>> = vec![None; devices];
    let mut fewer = vec![false; devices];
    let mut seen = Observed::default();
    let mut crashed = false;
    let mut dead = false;
    let mut removed = false;
    let mut world = World::default();
    let mut examined = false;
    for event in events {
        world.apply(event);
        match &event.what {
            What::Mark {
                step: None, phase, ..
            } if phase == phase::EXAMINED => examined = true,
            // Who examines a guest may make it crash.
            What::Log { .. } | What::Qmp { .. } if examined => {}
            What::Log { line } => match Said::of(line) {
                Some(Said::Machine(MachineLine::Started(started))) => {
                    let (mode, few) = interrupts_of(&started, &world);
                    if let Some(slot) = modes.get_mut(usize::from(started.dev)) {
                        *slot = mode;
                    }
                    if let Some(slot) = fewer.get_mut(usize::from(started.dev)) {
                        *slot = few;
                    }
                }
                Some(Said::Machine(MachineLine::Failed { dev, .. })) => {
                    if let Some(slot) = modes.get_mut(usize::from(dev)) {
                        *slot = Some(Interrupts::None);
                    }
                }
                Some(Said::Machine(MachineLine::Done(done))) => {
                    removed = done.reason() == Some("removed");
                }
                Some(Said::Machine(MachineLine::Crash(Crash { code, text }))) => {
                    crashed = true;
                    seen.bugcheck = Some(code.0);
                    // The reference guest says its parameters elsewhere.
                    seen.stop = text.contains('(').then(|| match text.strip_prefix('(') {
                        Some(_) => format!("{code} {text}"),
                        None => format!("{:#X} {text}", code.0).replace("0X", "0x"),
                    });
                }
                Some(Said::Stop { code }) => {
                    crashed = true;
                    seen.bugcheck = Some(code.0);
                }
                _ => {}
            },
            What::Qmp { event, .. } if event == "GUEST_PANICKED" => crashed = true,
            What::Mark {
                step: None, phase, ..
            } if phase == phase::LEFT => crashed = true,
            What::Mark {
                step: None, phase, ..
            } if phase == phase::STAYED => dead = true,
            What::Fault(fired) => {
                seen.fired
                    .insert((fired.dev, fired.id.clone()), fired.count);
            }
            What::Mark {
                step: Some(_),
                phase,
                text,
            } => {
                let load = text.starts_with("load ");
                let bad = phase == phase::TIMEOUT || phase == phase::FAILED;
                if load && bad {
                    seen.io = Some(Io::Failed);
                    // Of a load whose device was pulled out nothing more can be asked.
                    dead |= !(removed && phase == phase::FAILED);
                } else if load && phase == phase::END {
                    seen.io = seen.io.or(Some(Io::Complete));
                } else if phase == phase::TIMEOUT && text != LOADED {
                    seen.timeouts.push(text.clone());
                }
            }
            _ => {}
        }
    }
    seen.io = seen.io.or(Some(Io::None));
    seen.outcome = Some(if crashed {
        Outcome::Crashed
    } else {
        modes
            .iter()
            .zip(&fewer)
            .map(|(mode, fewer)| outcome(*mode, *fewer, dead))
            .max()
            .unwrap_or(Outcome::Wedged)
    });
    seen.interrupts = modes
        .into_iter()
        .map(|mode| mode.unwrap_or(Interrupts::None))
        .collect();
    seen
}

/// How a driver is told of what its device does, and whether it uses fewer messages than it could. A
/// driver that is an image does not say so: what it has written into the device does.
fn interrupts_of(started: &Started, world: &World) -> (Option<Interrupts>, bool) {
    if started.mode != "messages" {
        let few = started.used < started.queues;
        return (Interrupts::named(&started.mode), few);
    }
    let Some(device) = world.devices.get(&started.dev) else {
        return (Some(Interrupts::Msix), false);
    };
    if device.shape.attach == Attach::VhostUser {
        // What stands in the registers there is seen by QEMU alone.
        let own = started.granted > device.shape.queues.into();
        let mode = if own {
            Interrupts::Msix
        } else {
            Interrupts::MsixShared
        };
        return (Some(mode), false);
    }
    match device.mode() {
        // A virtio device sends all its interrupts as one message then.
        Mode::Msi => return (Some(Interrupts::Msi), true),
        Mode::Intx => return (Some(Interrupts::Intx), false),
        Mode::Msix => {}
    }
    let queues = || device.queues.iter().filter(|queue| queue.enabled);
    let used: BTreeSet<u16> = queues().map(|queue| queue.vector).collect();
    let own = used.len() == queues().count() && !used.contains(&device.config_vector);
    let mode = match () {
        () if used.iter().all(|vector| *vector == NO_VECTOR) => Interrupts::Polled,
        () if own => Interrupts::Msix,
        () => Interrupts::MsixShared,
    };
    (Some(mode), false)
}

/// `fewer`: the device has more queues or ports than messages are in use.
fn outcome(mode: Option<Interrupts>, fewer: bool, dead: bool) -> Outcome {
    match mode {
        None => Outcome::Wedged,
        Some(Interrupts::None) => Outcome::Refused,
        Some(_) if dead => Outcome::Wedged,
        Some(Interrupts::Msix | Interrupts::Msi) if !fewer => Outcome::Started,
        Some(_) => Outcome::Degraded,
    }
}

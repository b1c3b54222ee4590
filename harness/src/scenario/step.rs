//! The steps of a scenario.

mod background;
mod counted;
mod host;
mod load;
mod plug;

use std::time::Duration;

use misfire_device::fault::{FaultFile, Name, Predicate};
use misfire_device::shape::{Attach, Shape};
use misfire_device::trace::Host;

use super::file::StepFile;
use super::problem::{nearest, one_of, suggest};
pub(super) use background::order;
pub use counted::Counted;
use host::host;
pub(super) use host::{released_by, waited_for};
use load::load;
pub use load::{Load, Ports};
pub use plug::Plug;

/// The longest a step may take when it says nothing.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// One step: what is done, and how long it may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// How long it may take.
    pub timeout: Duration,
    /// A load whose end a later step waits for.
    pub background: bool,
    /// The step in words, as marks and reports show it.
    pub text: String,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Wait for something, about one device or (`None`) about all.
    Wait(Wait, Option<u8>),
    /// The guest uses a device.
    Load(Load, u8),
    /// A command of the host to a device.
    Host(Host, u8),
    /// A device comes or goes.
    Plug(Plug, u8),
    /// A command to the guest, as its console takes it.
    Guest(String),
}

/// What can be waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
    /// The guest takes commands: every driver has started or failed.
    Ready,
    /// The driver says that it has started.
    Started,
    /// DRIVER_OK is set, and neither NEEDS_RESET nor FAILED.
    Live,
    /// The guest has let the device go: its slot is empty.
    Removed,
    /// The load in the background has ended.
    Loaded,
    /// A predicate over what is known of the device.
    Until(Predicate),
}

const VERBS: &[&str] = &["wait", "load", "host", "guest"];
const GUEST_COMMANDS: &[&str] = &[
    "device restart",
    "device stop",
    "device start",
    "device sleep",
    "device wake",
    "device suspend",
    "device resume",
    "device rebalance all|one|none",
    "queue reset q=<number>",
    "wait-config",
    "idle <time>",
    "state",
];

/// What is wrong with a step: the key at fault, the message, and advice.
pub(super) type Wrong = (&'static str, String, Option<String>);

fn wrong<T>(key: &'static str, message: impl Into<String>) -> Result<T, Wrong> {
    Err((key, message.into(), None))
}

impl Step {
    /// The step of a scenario that has none.
    pub(super) fn ready() -> Self {
        Self {
            action: Action::Wait(Wait::Ready, None),
            timeout: STEP_TIMEOUT,
            background: false,
            text: "wait ready".into(),
        }
    }

    /// Makes out what was written.
    pub(super) fn try_from_file(
        file: &StepFile,
        shapes: &[Shape],
        faults: &[FaultFile],
    ) -> Result<Self, Wrong> {
        let devices = shapes.len();
        let verbs: Vec<&str> = [
            file.wait.as_ref().map(|_| "wait"),
            file.load.as_ref().map(|_| "load"),
            file.host.as_ref().map(|_| "host"),
            file.guest.as_ref().map(|_| "guest"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if verbs.len() != 1 {
            let found = if verbs.is_empty() {
                "none".into()
            } else {
                one_of(verbs.iter().copied()).replace(" or ", " and ")
            };
            return wrong(
                "",
                format!(
                    "a step has exactly one of {}, this one has {found}",
                    one_of(VERBS.iter().copied())
                ),
            );
        }
        if let Some(device) = file.device.filter(|d| usize::from(*d) >= devices) {
            return wrong(
                "device",
                format!("device = {device}: this scenario has {devices}, counted from 0"),
            );
        }
        if file.background.is_some() && file.load.is_none() {
            let message = format!("`background` means nothing to a `{}` step", verbs[0]);
            return wrong("background", message);
        }
        let device = file.device.unwrap_or(0);
        let (action, text) = if let Some(what) = &file.wait {
            keys(file, "wait", &[])?;
            let wait = wait(what)?;
            if wait == Wait::Loaded && file.device.is_some() {
                return wrong("device", "`device` means nothing to `wait = \"loaded\"`");
            }
            wait.check(file.device, shapes)?;
            (Action::Wait(wait, file.device), format!("wait {what}"))
        } else if let Some(kind) = &file.load {
            let load = load(kind, file)?;
            if let Some(shape) = shapes.get(usize::from(device)) {
                load.check(device, shape)?;
            }
            let text = load.command(device);
            (Action::Load(load, device), text)
        } else if let Some(command) = &file.host
            && let Some(plug) = Plug::of_command(command)
        {
            keys(file, "host", &[])?;
            if let Some(shape) = shapes.get(usize::from(device)) {
                plug.check(shape)?;
            }
            (Action::Plug(plug, device), format!("host {command}"))
        } else if let Some(command) = &file.host {
            keys(file, "host", &["args"])?;
            let host = host(command, file)?;
            if let Some(shape) = shapes.get(usize::from(device)) {
                host::check(&host, file, device, shape, faults)?;
            }
            (Action::Host(host, device), format!("host {command}"))
        } else {
            keys(file, "guest", &[])?;
            let command = guest(file.guest.as_deref().unwrap_or_default(), device)?;
            (Action::Guest(command.clone()), command)
        };
        let timeout = match &file.timeout {
            None => STEP_TIMEOUT,
            Some(text) => parse_duration(text).or_else(|m| wrong("timeout", m))?,
        };
        let text = match action {
            Action::Wait(_, Some(device)) | Action::Host(_, device) | Action::Plug(_, device)
                if devices > 1 =>
            {
                format!("{text} dev={device}")
            }
            _ => text,
        };
        Ok(Self {
            action,
            timeout,
            background: file.background == Some(true),
            text,
        })
    }

    /// The line that the guest's console takes for this step, if it takes one.
    pub fn command(&self) -> Option<String> {
        match &self.action {
            Action::Load(load, device) => Some(load.command(*device)),
            Action::Guest(command) => Some(command.clone()),
            Action::Wait(..) | Action::Host(..) | Action::Plug(..) => None,
        }
    }
}

/// Refuses keys that mean nothing to this verb.
fn keys(file: &StepFile, verb: &'static str, allowed: &[&str]) -> Result<(), Wrong> {
    let present = [
        ("blocks", file.blocks.is_some()),
        ("size", file.size.is_some()),
        ("lba", file.lba.is_some()),
        ("queues", file.queues.is_some()),
        ("frames", file.frames.is_some()),
        ("commands", file.commands.is_some()),
        ("lines", file.lines.is_some()),
        ("bytes", file.bytes.is_some()),
        ("events", file.events.is_some()),
        ("ports", file.ports.is_some()),
        ("args", !file.args.is_empty()),
    ];
    for (key, there) in present {
        if there && !allowed.contains(&key) {
            return wrong(key, format!("`{key}` means nothing to a `{verb}` step"));
        }
    }
    Ok(())
}

fn wait(what: &str) -> Result<Wait, Wrong> {
    Ok(match what {
        "ready" => Wait::Ready,
        "started" => Wait::Started,
        "live" => Wait::Live,
        "removed" => Wait::Removed,
        "loaded" => Wait::Loaded,
        other => Wait::Until(predicate(other)?),
    })
}

impl Wait {
    /// Refuses what can't come on any of the devices that are meant.
    fn check(&self, device: Option<u8>, shapes: &[Shape]) -> Result<(), Wrong> {
        let registers = match self {
            Self::Ready | Self::Started | Self::Removed | Self::Loaded => false,
            Self::Live => true,
            Self::Until(predicate) => predicate.used().transport.is_some(),
        };
        let blind = shapes.iter().enumerate().find(|(n, shape)| {
            shape.attach == Attach::VhostUser && device.is_none_or(|d| usize::from(d) == *n)
        });
        match blind.filter(|_| registers) {
            Some((n, _)) => wrong(
                "wait",
                format!(
                    "this can't come on device {n}: no status is seen behind QEMU's own transport; use `ready` or `started`"
                ),
            ),
            None => Ok(()),
        }
    }
}

/// Names whose value does not depend on an access or an interrupt of the moment.
const LASTING: &[Name] = &[Name::Status, Name::Epoch, Name::Inflight, Name::Granted];

fn predicate(text: &str) -> Result<Predicate, Wrong> {
    let words = ["ready", "started", "live", "removed", "loaded"];
    let predicate = Predicate::parse(text).map_err(|error| {
        let near = nearest(text, words).map(|near| format!("did you mean `{near}`?"));
        let message = format!(
            "`{text}` is neither `ready`, `started`, `live`, `removed` or `loaded` nor a predicate: {}",
            error.message
        );
        ("wait", message, near.or(error.help))
    })?;
    match predicate
        .used()
        .names
        .iter()
        .find(|(name, _)| !LASTING.contains(name))
    {
        Some((name, _)) => wrong(
            "wait",
            format!(
                "`{}` has a value only when a fault's trigger matches: a wait can use `status`, `epoch`, `inflight`, `granted`, `mode`, `live` and `fired(…)`",
                name.text()
            ),
        ),
        None => Ok(predicate),
    }
}

fn guest(command: &str, device: u8) -> Result<String, Wrong> {
    let words: Vec<&str> = command.split_whitespace().collect();
    Ok(match words.as_slice() {
        [
            "device",
            what @ ("restart" | "stop" | "start" | "sleep" | "wake" | "suspend" | "resume"),
        ] => {
            format!("device dev={device} {what}")
        }
        ["device", "rebalance", grant]
            if matches!(*grant, "all" | "one" | "none") || super::guest::is_count(grant) =>
        {
            format!("device dev={device} rebalance grant={grant}")
        }
        ["queue", "reset", queue]
            if queue
                .strip_prefix("q=")
                .is_some_and(|n| n.parse::<u16>().is_ok()) =>
        {
            format!("queue dev={device} reset {queue}")
        }
        ["wait-config"] => format!("wait-config dev={device}"),
        ["state"] => format!("state dev={device}"),
        ["idle", time] => {
            let time = parse_duration(time).or_else(|m| wrong("guest", m))?;
            format!("idle ms={}", time.as_millis())
        }
        _ => {
            let help = suggest(command, GUEST_COMMANDS.iter().copied());
            return Err((
                "guest",
                format!("unknown command to the guest `{command}`"),
                Some(help),
            ));
        }
    })
}

/// Reads `20ms`, `1.5s`, `2m` or `300us`.
///
/// # Errors
/// Says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || {
        format!("`{text}` is not a time: expected a number and us, ms, s or m, such as \"500ms\"")
    };
    let unit = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(expected)?;
    let (number, unit) = text.split_at(unit);
    let number: f64 = number.trim().parse().map_err(|_| expected())?;
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(expected()),
    };
    Duration::try_from_secs_f64(number * scale).map_err(|_| expected())
}

#[cfg(test)]
mod tests;

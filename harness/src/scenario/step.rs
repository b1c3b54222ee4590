//! The steps of a scenario.

use std::time::Duration;

use misfire_device::fault::{Name, Predicate};
use misfire_device::shape::{Kind, Shape};
use misfire_device::trace::Host;

use super::file::StepFile;
use super::problem::{nearest, one_of, suggest};

/// The longest a step may take when it says nothing.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// One step: what is done, and how long it may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// How long it may take.
    pub timeout: Duration,
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
    /// A predicate over what is known of the device.
    Until(Predicate),
}

/// What the guest does with a device.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// Requests to a disk.
    Block {
        /// `read`, `write`, `verify`, `flush`, `discard` or `mixed`.
        kind: &'static str,
        /// Number of requests.
        blocks: u32,
        /// Bytes of each, if not the guest's default.
        size: Option<u32>,
        /// First sector.
        lba: Option<u64>,
        /// The one queue that is used; `None`: all of them in turn.
        queue: Option<u16>,
    },
    /// Events of a port-card.
    Port {
        /// Events of each port.
        events: u32,
        /// Which ports.
        ports: Ports,
    },
}

/// Ports of a port-card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// One after the other.
    All,
    /// Two at the same time.
    Both,
    /// This one.
    One(u8),
}

const VERBS: &[&str] = &["wait", "load", "host", "guest"];
const BLOCK_LOADS: &[&str] = &["read", "write", "verify", "flush", "discard", "mixed"];
const GUEST_COMMANDS: &[&str] = &[
    "device restart",
    "device stop",
    "device start",
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
            text: "wait ready".into(),
        }
    }

    /// Makes out what was written.
    pub(super) fn try_from_file(file: &StepFile, shapes: &[Shape]) -> Result<Self, Wrong> {
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
        let device = file.device.unwrap_or(0);
        let (action, text) = if let Some(what) = &file.wait {
            keys(file, "wait", &[])?;
            (
                Action::Wait(wait(what)?, file.device),
                format!("wait {what}"),
            )
        } else if let Some(kind) = &file.load {
            let load = load(kind, file)?;
            if let Some(shape) = shapes.get(usize::from(device)) {
                load.check(device, shape)?;
            }
            let text = load.command(device);
            (Action::Load(load, device), text)
        } else if let Some(command) = &file.host {
            keys(file, "host", &["args"])?;
            let host = host(command, &file.args)?;
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
            Action::Wait(_, Some(device)) | Action::Host(_, device) if devices > 1 => {
                format!("{text} dev={device}")
            }
            _ => text,
        };
        Ok(Self {
            action,
            timeout,
            text,
        })
    }

    /// The line that the guest's console takes for this step, if it takes one.
    pub fn command(&self) -> Option<String> {
        match &self.action {
            Action::Load(load, device) => Some(load.command(*device)),
            Action::Guest(command) => Some(command.clone()),
            Action::Wait(..) | Action::Host(..) => None,
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
        other => Wait::Until(predicate(other)?),
    })
}

/// Names whose value does not depend on an access or an interrupt of the moment.
const LASTING: &[Name] = &[Name::Status, Name::Epoch, Name::Inflight, Name::Granted];

fn predicate(text: &str) -> Result<Predicate, Wrong> {
    let words = ["ready", "started", "live"];
    let predicate = Predicate::parse(text).map_err(|error| {
        let near = nearest(text, words).map(|near| format!("did you mean `{near}`?"));
        let message = format!(
            "`{text}` is neither `ready`, `started` or `live` nor a predicate: {}",
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

fn load(kind: &str, file: &StepFile) -> Result<Load, Wrong> {
    if kind == "port" {
        keys(file, "load = \"port\"", &["events", "ports"])?;
        let ports = match &file.ports {
            None => Ports::All,
            Some(toml::Value::String(s)) if s == "all" => Ports::All,
            Some(toml::Value::String(s)) if s == "both" => Ports::Both,
            Some(toml::Value::Integer(n @ 0..=30)) => Ports::One(*n as u8),
            Some(other) => {
                return wrong(
                    "ports",
                    format!("ports = {other}: expected \"all\", \"both\" or a port from 0 to 30"),
                );
            }
        };
        return match file.events.unwrap_or(1) {
            0 => wrong("events", "events = 0: expected at least 1"),
            events => Ok(Load::Port { events, ports }),
        };
    }
    let Some(kind) = BLOCK_LOADS.iter().copied().find(|k| *k == kind) else {
        let known = BLOCK_LOADS.iter().copied().chain(["port"]);
        return Err((
            "load",
            format!("unknown load `{kind}`"),
            Some(suggest(kind, known)),
        ));
    };
    keys(file, "block load", &["blocks", "size", "lba", "queues"])?;
    let queue = match &file.queues {
        None => None,
        Some(toml::Value::String(s)) if s == "all" => None,
        Some(toml::Value::Integer(n @ 0..=1023)) => Some(*n as u16),
        Some(other) => {
            return wrong(
                "queues",
                format!("queues = {other}: expected \"all\" or the number of one queue, from 0"),
            );
        }
    };
    if let Some(size) = file.size.filter(|s| *s == 0 || s % 512 != 0) {
        return wrong(
            "size",
            format!("size = {size}: expected a multiple of 512 bytes"),
        );
    }
    match file.blocks.unwrap_or(1) {
        0 => wrong("blocks", "blocks = 0: expected at least 1"),
        blocks => Ok(Load::Block {
            kind,
            blocks,
            size: file.size,
            lba: file.lba,
            queue,
        }),
    }
}

impl Load {
    /// Refuses what a device of this shape can't be used for.
    fn check(&self, device: u8, shape: &Shape) -> Result<(), Wrong> {
        match (self, shape.kind) {
            (
                Self::Block {
                    queue: Some(queue), ..
                },
                Kind::Block,
            ) if *queue >= shape.queues => wrong(
                "queues",
                format!(
                    "queues = {queue}: device {device} has {}, counted from 0",
                    shape.queues
                ),
            ),
            (Self::Block { kind, .. }, Kind::PortCard) => wrong(
                "load",
                format!("load = \"{kind}\" is for a disk, and device {device} is a port-card"),
            ),
            (Self::Port { .. }, Kind::Block) => wrong(
                "load",
                format!("load = \"port\" is for a port-card, and device {device} is a disk"),
            ),
            (
                Self::Port {
                    ports: Ports::One(port),
                    ..
                },
                Kind::PortCard,
            ) if u16::from(*port) >= shape.ports => wrong(
                "ports",
                format!(
                    "ports = {port}: device {device} has {}, counted from 0",
                    shape.ports
                ),
            ),
            _ => Ok(()),
        }
    }

    /// The line that the guest's console takes.
    pub fn command(&self, device: u8) -> String {
        match self {
            Self::Block {
                kind,
                blocks,
                size,
                lba,
                queue,
            } => {
                let mut line = format!("load {kind} dev={device} blocks={blocks}");
                if let Some(size) = size {
                    line += &format!(" size={size}");
                }
                if let Some(lba) = lba {
                    line += &format!(" lba={lba}");
                }
                if let Some(queue) = queue {
                    line += &format!(" queues={queue}");
                }
                line
            }
            Self::Port { events, ports } => {
                let ports = match ports {
                    Ports::All => "all".into(),
                    Ports::Both => "both".into(),
                    Ports::One(port) => port.to_string(),
                };
                format!("load port dev={device} events={events} ports={ports}")
            }
        }
    }
}

/// `name key=value …`, with the values of `args` besides.
fn host(command: &str, args: &toml::Table) -> Result<Host, Wrong> {
    let mut words = command.split_whitespace();
    let Some(name) = words.next() else {
        return wrong(
            "host",
            "a host step names its command, such as \"cfg.change capacity=4096\"",
        );
    };
    let mut host = Host {
        command: name.to_owned(),
        ..Host::default()
    };
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            return wrong("host", format!("`{word}`: expected key=value"));
        };
        host.args.insert(key.to_owned(), scalar(value));
    }
    host.args.extend(args.clone());
    Ok(host)
}

fn scalar(text: &str) -> toml::Value {
    let hex = text
        .strip_prefix("0x")
        .and_then(|h| i64::from_str_radix(h, 16).ok());
    match (hex.or_else(|| text.parse().ok()), text.parse()) {
        (Some(n), _) => toml::Value::Integer(n),
        (None, Ok(b)) => toml::Value::Boolean(b),
        _ => toml::Value::String(text.to_owned()),
    }
}

fn guest(command: &str, device: u8) -> Result<String, Wrong> {
    let words: Vec<&str> = command.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["device", what @ ("restart" | "stop" | "start")] => format!("device dev={device} {what}"),
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

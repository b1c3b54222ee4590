//! What the guest does with a device.

use misfire_device::shape::{Kind, Shape};

use super::super::file::StepFile;
use super::super::problem::suggest;
use super::counted::{self, Counted};
use super::{Wrong, keys, wrong};

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
    /// Frames, commands, lines or entropy.
    Counted(Counted),
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

/// What the reference guest takes: bytes of one request, and their default.
const LARGEST: u32 = 1 << 20;
const DEFAULT_SIZE: u32 = 512;

const BLOCK_LOADS: &[&str] = &["read", "write", "verify", "flush", "discard", "mixed"];

pub(super) fn load(kind: &str, file: &StepFile) -> Result<Load, Wrong> {
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
    if let Some(load) = counted::counted(kind, file) {
        return load.map(Load::Counted);
    }
    let Some(kind) = BLOCK_LOADS.iter().copied().find(|k| *k == kind) else {
        let known = BLOCK_LOADS.iter().copied().chain(counted::names());
        let known = known.chain(["port"]);
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
    if let Some(size) = file
        .size
        .filter(|s| *s == 0 || s % 512 != 0 || *s > LARGEST)
    {
        return wrong(
            "size",
            format!("size = {size}: expected a multiple of 512 bytes, up to {LARGEST}"),
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

/// Queues that take a disk's requests: all but a SCSI host's control and event queue.
fn request_queues(kind: Kind, shape: &Shape) -> u16 {
    match kind {
        Kind::Scsi => shape.queues.saturating_sub(2),
        _ => shape.queues,
    }
}

impl Load {
    /// Refuses what a device of this shape can't be used for.
    pub(super) fn check(&self, device: u8, shape: &Shape) -> Result<(), Wrong> {
        match (self, shape.kind) {
            (Self::Counted(load), _) => load.check(device, shape),
            (
                Self::Block {
                    queue: Some(queue), ..
                },
                kind @ (Kind::Block | Kind::Scsi),
            ) if *queue >= request_queues(kind, shape) => wrong(
                "queues",
                format!(
                    "queues = {queue}: device {device} has {}, counted from 0",
                    request_queues(kind, shape)
                ),
            ),
            (Self::Block { kind, .. }, other) if !other.has_disk() => wrong(
                "load",
                format!(
                    "load = \"{kind}\" is for a disk, and device {device} is a {}",
                    other.word()
                ),
            ),
            (Self::Port { .. }, other) if other != Kind::PortCard => wrong(
                "load",
                format!(
                    "load = \"port\" is for a port-card, and device {device} is a {}",
                    other.word()
                ),
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

    /// Refuses a load none of whose requests fits into `sectors`. The guest begins again at `lba`
    /// when it comes to the end of the disk, so any number of requests fits if one does.
    pub(in super::super) fn fits(&self, sectors: u64) -> Result<(), Wrong> {
        let Self::Block { size, lba, .. } = self else {
            return Ok(());
        };
        let each = u64::from(size.unwrap_or(DEFAULT_SIZE) / 512);
        let first = lba.unwrap_or(0);
        let last = first.saturating_add(each - 1);
        if last < sectors {
            return Ok(());
        }
        let key = if lba.is_some() { "lba" } else { "size" };
        wrong(
            key,
            format!(
                "the first request ends with sector {last}: the disk has {sectors}, counted from 0"
            ),
        )
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
            Self::Counted(load) => load.command(device),
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

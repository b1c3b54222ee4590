//! Commands of the host.

use misfire_device::fault::{FaultFile, config_words};
use misfire_device::shape::{Attach, Kind, Shape};
use misfire_device::spec::DeviceType;
use misfire_device::trace::Host;

use super::super::file::StepFile;
use super::super::problem::suggest;
use super::{Wrong, wrong};

/// Commands that mean something to a device without any fault.
const COMMANDS: &[&str] = &[
    "cfg.change",
    "needs-reset",
    "disk.plug",
    "disk.unplug",
    "unplug",
    "unplug surprise",
    "replug",
];

/// The name in `on = "host:<name>"`, with or without a delay, and the device of the fault.
pub fn waited_for(fault: &FaultFile) -> Option<(u8, &str)> {
    let name = fault.on.get_ref().trim().strip_prefix("host:")?;
    let name = match name.rsplit_once('+') {
        Some((name, delay)) if delay.starts_with(|c: char| c.is_ascii_digit()) => name,
        _ => name,
    };
    Some((fault.device.as_ref().map_or(0, |d| *d.get_ref()), name))
}

/// The command in `args = { host = "<name>" }` that lets go what the fault holds, and its device.
pub fn released_by(fault: &FaultFile) -> Option<(u8, &str)> {
    let (_, value) = fault.args.iter().find(|(key, _)| key.get_ref() == "host")?;
    let device = fault.device.as_ref().map_or(0, |d| *d.get_ref());
    Some((device, value.get_ref().as_str()?))
}

/// `name key=value …`, with the values of `args` besides.
pub(super) fn host(command: &str, file: &StepFile) -> Result<Host, Wrong> {
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
    host.args.extend(file.args.clone());
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

/// Refuses a command that means nothing to the device, and that no fault of it waits for.
pub(super) fn check(
    host: &Host,
    file: &StepFile,
    device: u8,
    shape: &Shape,
    faults: &[FaultFile],
) -> Result<(), Wrong> {
    let name = host.command.as_str();
    let released = faults.iter().filter_map(released_by);
    let waited: Vec<(u8, &str)> = faults
        .iter()
        .filter_map(waited_for)
        .chain(released)
        .collect();
    let own = waited.contains(&(device, name));
    match name {
        "cfg.change" | "needs-reset" if !shape.kind.is_virtio() && !own => {
            return wrong(
                "host",
                format!("`{name}` is for a virtio device, and device {device} is a port-card"),
            );
        }
        "needs-reset" if shape.attach == Attach::VhostUser && !own => {
            return wrong(
                "host",
                "`needs-reset` is impossible with attach = \"vhost-user\": QEMU owns the status there",
            );
        }
        "disk.plug" | "disk.unplug" if shape.kind != Kind::Scsi && !own => {
            return wrong(
                "host",
                format!(
                    "`{name}` is for a SCSI host, and device {device} is a {}",
                    shape.kind.word()
                ),
            );
        }
        "cfg.change" => return change(host, file, shape.kind),
        "needs-reset" | "disk.plug" | "disk.unplug" => {}
        _ if own => {}
        _ => {
            let help = match waited.iter().find(|(_, other)| *other == name) {
                Some((n, _)) => {
                    format!("the fault that waits for it is on device {n}: add `device = {n}`")
                }
                None => {
                    let here = waited.iter().filter(|(n, _)| *n == device);
                    let known = COMMANDS.iter().copied().chain(here.map(|(_, name)| *name));
                    suggest(name, known)
                }
            };
            let message = format!(
                "unknown command of the host `{name}`: no fault of device {device} waits for `host:{name}`"
            );
            return Err(("host", message, Some(help)));
        }
    }
    match host.args.keys().next() {
        Some(key) => wrong(
            place(file, key),
            format!("unknown argument `{key}`: `{name}` has none"),
        ),
        None => Ok(()),
    }
}

/// The key of the step in which the argument `key` stands.
fn place(file: &StepFile, key: &str) -> &'static str {
    if file.args.contains_key(key) {
        "args"
    } else {
        "host"
    }
}

/// The arguments of `cfg.change`: `field` and `val`, or one word in their place.
fn change(host: &Host, file: &StepFile, kind: Kind) -> Result<(), Wrong> {
    let words = config_words(kind);
    let known: Vec<_> = words.iter().copied().chain(["field", "val"]).collect();
    if let Some(key) = host.args.keys().find(|k| !known.contains(&k.as_str())) {
        let message = format!("unknown argument `{key}` of `cfg.change`");
        let suggestion = suggest(key, known.iter().copied());
        return Err((place(file, key), message, Some(suggestion)));
    }
    let device = kind.device_type().unwrap_or(&DeviceType::BLOCK);
    let said: Vec<_> = words
        .iter()
        .filter(|word| host.args.contains_key(**word))
        .collect();
    let (value, val) = (host.args.get("field"), host.args.contains_key("val"));
    match (said.first(), value) {
        (Some(word), Some(_)) => wrong(
            "host",
            format!("`cfg.change` takes either `{word}`, or `field` and `val`"),
        ),
        (Some(word), None) if val => wrong(
            "host",
            format!("`cfg.change` takes either `{word}`, or `field` and `val`"),
        ),
        (Some(_), None) if kind == Kind::Net => link(host, file),
        (Some(word), None) => number(host, file, word, CAPACITY_MOST),
        (None, None) if val => wrong(
            place(file, "val"),
            "`val` is the value of a `field`: which one is missing",
        ),
        (None, None) => wrong(
            "host",
            match words.first() {
                Some(&"capacity") => {
                    "`cfg.change` needs `capacity`, such as \"cfg.change capacity=4096\""
                }
                Some(_) => "`cfg.change` needs `link`, such as \"cfg.change link=down\"",
                None => "`cfg.change` needs `field` and `val`",
            },
        ),
        (None, Some(value)) => {
            let name = value.as_str().unwrap_or_default();
            match device.config_named(name) {
                // 5.1.4.1
                Some(_) if kind == Kind::Net && name == "mtu" => wrong(
                    place(file, "field"),
                    "a device never changes its `mtu`; the fault `cfg.change` can",
                ),
                Some(field) => number(host, file, "val", field.most()),
                None => Err((
                    place(file, "field"),
                    format!("field = {value}: not a field of {}", device.structure),
                    Some(suggest(name, device.config.iter().map(|f| f.name))),
                )),
            }
        }
    }
}

/// The most sectors that a disk can be told to have: the field has 64 bits.
const CAPACITY_MOST: u64 = u64::MAX;

/// The argument `key`: a number.
fn number(host: &Host, file: &StepFile, key: &str, most: u64) -> Result<(), Wrong> {
    let Some(value) = host.args.get(key) else {
        return wrong("host", format!("`cfg.change` needs `{key}`"));
    };
    match value.as_integer().map(u64::try_from) {
        Some(Ok(number)) if number <= most => Ok(()),
        _ => wrong(
            place(file, key),
            format!("{key} = {value}: expected a number from 0 to {most:#x}"),
        ),
    }
}

/// The arguments of a network device: `link`, `announce`.
fn link(host: &Host, file: &StepFile) -> Result<(), Wrong> {
    let link = host.args.get("link").map(toml::Value::as_str);
    if !matches!(link, None | Some(Some("up" | "down"))) {
        let message = "link: expected \"up\" or \"down\"";
        return wrong(place(file, "link"), message);
    }
    match host.args.get("announce") {
        None => Ok(()),
        Some(toml::Value::Boolean(true)) if link != Some(Some("down")) => Ok(()),
        Some(_) => wrong(
            place(file, "announce"),
            "announce: expected true, and a link that is up",
        ),
    }
}

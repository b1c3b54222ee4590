//! Commands of the host.

use misfire_device::fault::FaultFile;
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
    let waited: Vec<(u8, &str)> = faults.iter().filter_map(waited_for).collect();
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
        "cfg.change" => return change(host, file, shape.kind),
        "needs-reset" => {}
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

/// The arguments of `cfg.change`: `capacity`, or `field` and `val`.
fn change(host: &Host, file: &StepFile, kind: Kind) -> Result<(), Wrong> {
    const KNOWN: [&str; 3] = ["capacity", "field", "val"];
    if let Some(key) = host.args.keys().find(|k| !KNOWN.contains(&k.as_str())) {
        let message = format!("unknown argument `{key}` of `cfg.change`");
        return Err((place(file, key), message, Some(suggest(key, KNOWN))));
    }
    let device = kind.device_type().unwrap_or(&DeviceType::BLOCK);
    let known = |name: &str| device.config_named(name);
    let both = host.args.contains_key("capacity")
        && (host.args.contains_key("field") || host.args.contains_key("val"));
    let (field, key) = match host.args.get("field") {
        _ if both => {
            return wrong(
                "host",
                "`cfg.change` takes either `capacity`, or `field` and `val`",
            );
        }
        None if host.args.contains_key("val") => {
            return wrong(
                place(file, "val"),
                "`val` is the value of a `field`: which one is missing",
            );
        }
        None => (known("capacity"), "capacity"),
        Some(value) => (known(value.as_str().unwrap_or_default()), "val"),
    };
    let Some(field) = field else {
        let name = host.args.get("field");
        let name = name.and_then(|v| v.as_str()).unwrap_or("capacity");
        return Err((
            place(file, "field"),
            format!("field = \"{name}\": not a field of {}", device.structure),
            Some(suggest(name, device.config.iter().map(|f| f.name))),
        ));
    };
    let Some(value) = host.args.get(key) else {
        return wrong(
            "host",
            format!("`cfg.change` needs `{key}`, such as \"cfg.change capacity=4096\""),
        );
    };
    let most = field.most();
    match value.as_integer().map(u64::try_from) {
        Some(Ok(number)) if number <= most => Ok(()),
        _ => wrong(
            place(file, key),
            format!("{key} = {value}: expected a number from 0 to {most:#x}"),
        ),
    }
}

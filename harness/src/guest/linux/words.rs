//! What the steps of a scenario mean on Linux.

use std::collections::BTreeMap;

use crate::guest::Slot;

/// Bytes of a request when nothing is said.
const SIZE: u64 = 4096;
/// A request that is to reach the device as it is, past the kernel's cache, is of whole sectors.
const SECTOR: u64 = 512;

/// What a guest has to know of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its queues.
    pub queues: u16,
    /// How many requests of a load are on their way at the same time.
    pub depth: u16,
}

/// What the program in the guest is told for a command such as `load read dev=0 blocks=16`; `None`: it means
/// nothing there.
pub(super) fn told(command: &str, devices: &[Device]) -> Option<String> {
    let mut words = command.split_ascii_whitespace();
    let verb = words.next()?;
    let rest: Vec<&str> = words.collect();
    let values: BTreeMap<&str, &str> = rest
        .iter()
        .filter_map(|word| word.split_once('='))
        .collect();
    let number =
        |key: &str, default: u64| values.get(key).map_or(Some(default), |v| v.parse().ok());
    let dev = number("dev", 0)?;
    let of_dev = devices.get(usize::try_from(dev).ok()?);
    let (count, depth) = of_dev.map_or((1, 1), |device| (device.queues, device.depth));
    // A processor has its queue.
    let processor = || {
        let queue = values.get("queues").filter(|queue| **queue != "all");
        queue.map_or_else(String::new, |queue| format!(" {queue}"))
    };
    let what = rest.iter().find(|word| !word.contains('='));
    Some(match (verb, what.copied()) {
        ("load", Some(kind @ ("read" | "write" | "verify" | "flush" | "discard" | "mixed"))) => {
            let (blocks, first) = (number("blocks", 1)?, number("lba", 0)?);
            let size = number("size", SIZE)?.next_multiple_of(SECTOR);
            format!(
                "disk {kind} {dev} {blocks} {size} {first} {depth}{}",
                processor()
            )
        }
        ("load", Some("entropy")) => {
            let (bytes, size) = (number("bytes", 64)?, number("size", 64)?);
            format!("entropy {dev} {bytes} {size}")
        }
        ("load", Some("frames")) => {
            let (frames, size) = (number("frames", 1)?, number("size", 64)?);
            format!("frames {dev} {frames} {size}{}", processor())
        }
        ("load", Some("control")) => format!("control {dev} {}", number("commands", 1)?),
        ("load", Some("echo")) => {
            let (lines, size) = (number("lines", 1)?, number("size", 32)?);
            format!("echo {dev} {lines} {size}")
        }
        ("device", Some(what @ ("restart" | "stop" | "start"))) => {
            format!("device {what} {dev} {count}")
        }
        ("wait-config", _) => format!("wait-config {dev}"),
        ("idle", None) => {
            let time = values.get("ms")?.parse::<u64>().ok()?;
            format!("idle {}", time.checked_mul(1_000)?)
        }
        ("state", _) => "say done ok state".to_owned(),
        ("exit", _) => format!("leave {}", devices.len()),
        _ => return None,
    })
}

/// What it is told to look into every slot.
pub(super) fn starts(devices: &[Device]) -> String {
    let mut lines = "say guest linux 1\n".to_owned();
    for (dev, device) in devices.iter().enumerate() {
        lines += &format!("start {dev} {}\n", device.queues);
    }
    lines + "say ready"
}

/// What it is told of what happens to the slot of a device with so many queues.
pub(super) fn slot(dev: u8, happens: Slot, queues: u16) -> String {
    match happens {
        Slot::LetGo { kept: true, .. } => format!("let-go {dev} kept"),
        Slot::LetGo { kept: false, .. } => format!("let-go {dev} off"),
        Slot::PutIn => format!("put-in {dev} {queues}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_become_what_the_program_in_the_guest_understands() {
        let devices = [(1, 1), (4, 4)].map(|(queues, depth)| Device { queues, depth });
        for (command, wanted) in [
            ("load read dev=0 blocks=16", "disk read 0 16 4096 0 1"),
            (
                "load write dev=1 blocks=2 size=4600 lba=8 queues=3",
                "disk write 1 2 4608 8 4 3",
            ),
            ("load entropy dev=0 bytes=256", "entropy 0 256 64"),
            ("load frames dev=0 frames=8 size=200", "frames 0 8 200"),
            ("load control dev=0 commands=6", "control 0 6"),
            ("load echo dev=1 lines=2", "echo 1 2 32"),
            ("device dev=1 restart", "device restart 1 4"),
            ("wait-config dev=0", "wait-config 0"),
            ("idle ms=20", "idle 20000"),
            ("exit", "leave 2"),
        ] {
            assert_eq!(
                told(command, &devices).as_deref(),
                Some(wanted),
                "{command}"
            );
        }
        for command in [
            "load port events=1",
            "device dev=0 rebalance grant=all",
            "queue dev=0 reset q=0",
            "",
            "idle ms=soon",
        ] {
            assert_eq!(told(command, &devices[..1]), None, "{command}");
        }
        assert_eq!(
            starts(&devices),
            "say guest linux 1\nstart 0 1\nstart 1 4\nsay ready"
        );
        let (kept, surprise) = (true, false);
        assert_eq!(slot(1, Slot::LetGo { kept, surprise }, 4), "let-go 1 kept");
        assert_eq!(slot(1, Slot::PutIn, 4), "put-in 1 4");
    }
}

//! What the steps of a scenario mean on Linux.

use std::collections::BTreeMap;

/// Bytes. A request that is to reach the device as it is, past the kernel's cache, is of whole pages: the
/// buffers of busybox's `dd` are aligned for no less.
const PAGE: u64 = 4096;

/// The script for a command such as `load read dev=0 blocks=16`; `None`: it means nothing there.
///
/// The functions are those of `commands.sh`. `queues` are the queues of each device.
pub(super) fn script(command: &str, queues: &[u16]) -> Option<String> {
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
    let of_dev = queues.get(usize::try_from(dev).ok()?).copied().unwrap_or(1);
    Some(match (verb, rest.first().copied()) {
        ("load", Some(kind @ ("read" | "write" | "verify" | "flush" | "discard" | "mixed"))) => {
            let (blocks, first) = (number("blocks", 1)?, number("lba", 0)?);
            let size = number("size", PAGE)?.next_multiple_of(PAGE);
            format!("load_disk {kind} {dev} {blocks} {size} {first}")
        }
        ("load", Some("entropy")) => {
            let (bytes, size) = (number("bytes", 64)?, number("size", 64)?);
            format!("load_entropy {dev} {bytes} {size}")
        }
        ("device", Some(what @ ("restart" | "stop" | "start"))) => {
            format!("device {what} {dev} {of_dev}")
        }
        ("wait-config", _) => format!("wait_config {dev}"),
        ("idle", Some(time)) => format!("usleep {}; say done ok idle", microseconds(time)?),
        ("state", _) => "say done ok state".to_owned(),
        ("exit", _) => format!("leave {}", queues.len()),
        _ => return None,
    })
}

/// The script that waits for every driver.
pub(super) fn starts(queues: &[u16]) -> String {
    let mut script = "say guest linux 1; ".to_owned();
    for (dev, queues) in queues.iter().enumerate() {
        script += &format!("start {dev} {queues}; ");
    }
    script + "say ready"
}

/// `20ms` or `2s` in microseconds.
fn microseconds(time: &str) -> Option<u64> {
    let (digits, unit) = match time.strip_suffix("ms") {
        Some(digits) => (digits, 1_000),
        None => (time.strip_suffix('s')?, 1_000_000),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_become_calls_of_the_functions_in_the_guest() {
        for (command, call) in [
            ("load read dev=0 blocks=16", "load_disk read 0 16 4096 0"),
            (
                "load write dev=1 blocks=2 size=4608 lba=8",
                "load_disk write 1 2 8192 8",
            ),
            ("load entropy dev=0 bytes=256", "load_entropy 0 256 64"),
            ("device restart dev=1", "device restart 1 4"),
            ("wait-config dev=0", "wait_config 0"),
            ("idle 20ms", "usleep 20000; say done ok idle"),
            ("exit", "leave 2"),
        ] {
            assert_eq!(script(command, &[1, 4]).as_deref(), Some(call), "{command}");
        }
        for command in [
            "load port events=1",
            "device rebalance all",
            "queue reset q=0",
            "",
            "idle soon",
        ] {
            assert_eq!(script(command, &[1]), None, "{command}");
        }
        assert_eq!(
            starts(&[1, 4]),
            "say guest linux 1; start 0 1; start 1 4; say ready"
        );
    }
}

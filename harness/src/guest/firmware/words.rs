//! What the steps of a scenario mean to the boot sector.

use std::collections::BTreeMap;

use super::sector::{MOST_BYTES, SECTOR, Service, compare, disk, leave, pattern, tell};

/// The bytes for a command such as `load read dev=0 blocks=16`. `sectors` is the size of the disk.
pub(super) fn bytes(command: &str, sectors: u64) -> Vec<u8> {
    known(command, sectors).unwrap_or_else(|| {
        let verb = command.split(' ').next().unwrap_or_default();
        let text = format!("done failed {verb} reason=unknown");
        tell(&text, &text)
    })
}

fn known(command: &str, sectors: u64) -> Option<Vec<u8>> {
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    let mut words = rest.split(' ');
    let kind = words.next().unwrap_or_default();
    let values: BTreeMap<&str, &str> = words.filter_map(|word| word.split_once('=')).collect();
    let number =
        |key: &str, default: u64| values.get(key).map_or(Some(default), |v| v.parse().ok());
    match (verb, kind) {
        ("load", "read" | "write" | "mixed" | "verify") => {
            let (count, first) = (number("blocks", 1)?, number("lba", 0)?);
            let size = number("size", 4096)?.clamp(SECTOR as u64, MOST_BYTES);
            let load = Load {
                count,
                first,
                each: size / SECTOR as u64,
            };
            let of = |service| load.requests(service, sectors);
            let mut bytes = match kind {
                "read" => of(Service::Read)?,
                "write" => of(Service::Write)?,
                "mixed" => [of(Service::Write)?, of(Service::Read)?].concat(),
                _ => load.verified(sectors)?,
            };
            let (well, bad) = (
                format!("done ok load op={kind} dev=0 blocks={count}"),
                format!("done failed load reason=io op={kind} dev=0 blocks={count}"),
            );
            // What does not fit on the disk is not asked for.
            bytes.extend(if bytes.is_empty() {
                tell(&bad, &bad)
            } else {
                tell(&well, &bad)
            });
            Some(bytes)
        }
        ("idle" | "state", _) => {
            let text = format!("done ok {verb}");
            Some(tell(&text, &text))
        }
        ("exit", _) => Some([tell("exit", "exit"), leave()].concat()),
        _ => None,
    }
}

struct Load {
    count: u64,
    /// Sector.
    first: u64,
    /// Sectors of one request.
    each: u64,
}

impl Load {
    /// Requests one after the other; behind the last sector it goes on at the first. `None`: too many.
    fn requests(&self, service: Service, sectors: u64) -> Option<Vec<u8>> {
        const MOST_ROUNDS: u64 = 4096;
        let fit = sectors.saturating_sub(self.first) / self.each;
        let fit = fit.min(u64::from(u16::MAX));
        if fit > 0 && self.count / fit > MOST_ROUNDS {
            return None;
        }
        let mut left = if fit == 0 { 0 } else { self.count };
        let mut bytes = Vec::new();
        while left > 0 {
            let now = left.min(fit);
            // Both fit: `fit` and the requests' size have bounds.
            let (count, each) = (now as u16, self.each as u16);
            bytes.extend(disk(service, count, each, self.first));
            left -= now;
        }
        Some(bytes)
    }

    /// Each request is written with a pattern of its own, read, and compared. `None`: too many.
    fn verified(&self, sectors: u64) -> Option<Vec<u8>> {
        const MOST_REQUESTS: u64 = 1 << 16;
        let fit = sectors.saturating_sub(self.first) / self.each;
        if self.count > MOST_REQUESTS {
            return None;
        }
        let count = if fit == 0 { 0 } else { self.count };
        let mut bytes = Vec::new();
        for n in 0..count {
            let (at, each) = (self.first + n % fit * self.each, self.each as u16);
            bytes.extend(pattern(n as u16));
            bytes.extend(disk(Service::Write, 1, each, at));
            bytes.extend(disk(Service::Read, 1, each, at));
            bytes.extend(compare(each));
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_goes_on_at_its_first_sector_behind_the_last() {
        let well = "done ok load op=read dev=0 blocks=5";
        let bad = "done failed load reason=io op=read dev=0 blocks=5";
        assert_eq!(
            bytes("load read dev=0 blocks=5 size=512 lba=1", 4),
            [
                disk(Service::Read, 3, 1, 1),
                disk(Service::Read, 2, 1, 1),
                tell(well, bad)
            ]
            .concat()
        );
        assert_eq!(bytes("load read dev=0 blocks=5 lba=4", 4), tell(bad, bad));
    }

    #[test]
    fn a_mixed_load_writes_and_reads() {
        let mixed = bytes("load mixed dev=0 blocks=2", 2048);
        let requests = [disk(Service::Write, 2, 8, 0), disk(Service::Read, 2, 8, 0)].concat();
        assert!(mixed.starts_with(&requests));
    }

    #[test]
    fn a_load_that_verifies_compares_each_request_with_a_pattern_of_its_own() {
        let verify = bytes("load verify dev=0 blocks=3 size=1024 lba=2", 6);
        let one = |n: u16, at| {
            let (write, read) = (
                disk(Service::Write, 1, 2, at),
                disk(Service::Read, 1, 2, at),
            );
            [pattern(n), write, read, compare(2)].concat()
        };
        assert!(verify.starts_with(&[one(0, 2), one(1, 4), one(2, 2)].concat()));
    }

    #[test]
    fn what_means_nothing_is_answered_so() {
        let text = "done failed device reason=unknown";
        assert_eq!(bytes("device stop dev=0", 8), tell(text, text));
        assert_eq!(
            bytes("load read blocks=x", 8),
            tell(
                "done failed load reason=unknown",
                "done failed load reason=unknown"
            )
        );
        assert!(bytes("exit", 8).ends_with(&leave()));
    }
}

//! The lines of `harness/guests/windows/misfire_log.h`: `MISFIRE-LOG name what key=value…`.

use super::{Format, after, keyed, text};
use crate::log::Said;

/// How each line begins.
pub(super) const PREFIX: &str = "MISFIRE-LOG ";

pub(super) const FORMAT: Format = Format {
    name: "misfire_log.h",
    about: "drivers that include misfire_log.h, and patterns of the guest file",
    examples: &[
        "MISFIRE-LOG blk resource index=1 kind=message raw count=4 vector=0x63 affinity=0x000000000000000f flags=0x3",
        "MISFIRE-LOG blk resource index=1 kind=line raw level=17 vector=0x11 flags=0x0",
        "MISFIRE-LOG blk interrupt signaled=1 number=2 vector=0x93 irql=9 affinity=0x0000000000000001",
        "MISFIRE-LOG blk connect-failed vector=0x63 status=0xc00000ef",
        "MISFIRE-LOG blk config-vector wrote=0 read=0",
        "MISFIRE-LOG blk queue-vector queue=1 wrote=2 read=2",
        "MISFIRE-LOG blk needs-reset",
        "MISFIRE-LOG blk timed-out queue=0",
        "MISFIRE-LOG blk lost queue=0",
        "MISFIRE-LOG blk count line isr=12 dpc=12 unclaimed=3 status=0x1",
    ],
    read,
};

fn read(line: &str) -> Option<Said> {
    let (_name, rest) = after(line, PREFIX)?.split_once(' ')?;
    let (what, values) = rest.split_once(' ').unwrap_or((rest, ""));
    let short = |key| keyed(values, key).and_then(|value| u16::try_from(value).ok());
    Some(match what {
        // Of the two descriptors the raw one has the count: one resource is one line to the rules.
        "resource" if values.contains(" raw ") => Said::Resource {
            messages: match text(values, "kind")? {
                "message" => Some(keyed(values, "count")?),
                "line" => None,
                _ => return None,
            },
        },
        "interrupt" => Said::Interrupt {
            message: keyed(values, "signaled")? != 0,
            number: keyed(values, "number")?,
            vector: keyed(values, "vector")?,
        },
        "connect-failed" => Said::ConnectFailed {
            vector: keyed(values, "vector")?,
            status: text(values, "status")?.to_owned(),
        },
        "config-vector" => Said::ConfigWritten {
            wrote: short("wrote")?,
            read: short("read"),
        },
        "queue-vector" => Said::QueueWritten {
            queue: short("queue")?,
            wrote: short("wrote")?,
            read: short("read"),
        },
        "config-uses" => Said::ConfigUses {
            vector: short("vector")?,
        },
        "queue-uses" => Said::QueueUses {
            queue: short("queue")?,
            vector: short("vector")?,
        },
        "needs-reset" => Said::NeedsReset,
        "lost" => Said::Lost {
            queue: short("queue")?,
        },
        "timed-out" => Said::TimedOut {
            queue: short("queue")?,
        },
        "count" if values.starts_with("line ") => Said::LineCount {
            dev: None,
            unclaimed: keyed(values, "unclaimed")?.into(),
        },
        // The rest is for people: init, translated descriptors, memory, counters of messages.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_descriptors_of_one_resource_the_raw_one_counts() {
        let message = |line| read(&format!("{PREFIX}blk resource index=1 kind=message {line}"));
        assert_eq!(
            message("raw count=16 vector=0x63 flags=0x3"),
            Some(Said::Resource { messages: Some(16) })
        );
        assert_eq!(message("translated level=6 vector=0x63"), None);
    }

    #[test]
    fn a_vector_that_does_not_fit_is_no_vector() {
        assert_eq!(
            read("MISFIRE-LOG blk queue-vector queue=0 wrote=70000 read=1"),
            None
        );
        assert_eq!(
            read("MISFIRE-LOG blk queue-vector queue=0 wrote=65535 read=70000"),
            Some(Said::QueueWritten {
                queue: 0,
                wrote: 0xffff,
                read: None
            })
        );
    }
}

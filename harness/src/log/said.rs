//! What a guest, and the driver in it, say about themselves.

use super::driver::{after, keyed, number};
use super::{Done, MachineLine, StopCode, driver};

/// One line of a guest's log, as far as it means something to the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line for the harness.
    Machine(MachineLine),
    /// `*** STOP: 0x000000D1 (…)`: Windows stopped.
    Stop {
        /// The stop code.
        code: StopCode,
    },
    /// `VIRTIO: config vector written 0 read back 0`.
    ConfigWritten {
        /// The vector written.
        wrote: u16,
        /// The vector that the driver says it read back.
        read: Option<u16>,
    },
    /// `VIRTIO: queue 1 vector written 2 read back 2`.
    QueueWritten {
        /// Queue index.
        queue: u16,
        /// The vector written.
        wrote: u16,
        /// The vector that the driver says it read back.
        read: Option<u16>,
    },
    /// `VIRTIO: config uses vector 0`, or `config vector 0`.
    ConfigUses {
        /// The vector in use.
        vector: u16,
    },
    /// `VIRTIO: queue 1 uses vector 2`.
    QueueUses {
        /// Queue index.
        queue: u16,
        /// The vector in use.
        vector: u16,
    },
    /// `VIRTIO: needs reset`: the driver noticed DEVICE_NEEDS_RESET.
    NeedsReset,
    /// `INT: MSI/MSI-X … MessageCount=N …`, `Message Interrupt level … MessageCount N` or
    /// `INT: INTx …`: one interrupt resource.
    Resource {
        /// Messages that the driver counted in it; none for a line.
        messages: Option<u32>,
    },
    /// `WDFINT: … MessageNumber=N Vector=V …`, or `Created interrupt(I): … Num(N), Vect(V)`.
    Interrupt {
        /// Whether it is a message; else a line.
        message: bool,
        /// The message number.
        number: u32,
        /// The vector that the processor sees.
        vector: u32,
    },
    /// `FxInterrupt::Connect - IoConnectInterrupt(Ex) Failed, … Vector V, … 0xc00000ef(…)`.
    ConnectFailed {
        /// The vector that the processor would have seen.
        vector: u32,
        /// The status code with its name.
        status: String,
    },
    /// `VIRTIO: queue 1: lost interrupt?`: a request was done, and no interrupt had said so.
    Lost {
        /// Queue index.
        queue: u16,
    },
    /// `VIRTIO: queue 1: request timed out …`: a request was not done in time.
    TimedOut {
        /// Queue index.
        queue: u16,
    },
    /// `PNP: resource requirements changed, …`: the device is started anew with other resources.
    Restart,
    /// `NT: check irql dev=0: …`: the model of Windows found a breach.
    Checked {
        /// Device, from 0.
        dev: u8,
        /// What is checked: `irql`, `lock`, `srb`, `address`, `dpc`, `found` or `stall`.
        what: String,
        /// What is wrong; none in `NT: kept irql dev=0`, which says that it was kept throughout.
        wrong: Option<String>,
    },
    /// `NT: lent dev=0 at=A bytes=B every=E times=T`: memory that the driver was given, T pieces of B bytes whose
    /// addresses are E bytes apart.
    Lent {
        /// Device, from 0.
        dev: u8,
        /// Physical address of the first.
        at: u64,
        /// Bytes of each.
        bytes: u64,
        /// From the beginning of one to that of the next.
        every: u64,
        /// How many there are.
        times: u64,
    },
    /// `NT: claims dev=0 claimed=C unclaimed=U asked=A`: what an interrupt routine has said of its line, to the end.
    Line {
        /// Device, from 0.
        dev: u8,
        /// How often it said that its device has interrupted.
        claimed: u64,
        /// How often it was interrupted and said that another device has.
        unclaimed: u64,
        /// How often it was called without an interrupt.
        asked: u64,
    },
    /// `AERO_VIRTIO_SELFTEST|…`: how a test in the guest ended.
    Selftest(Selftest),
    /// `CNT: line isr=I dpc=D unclaimed=U`.
    LineCount {
        /// Device, from 0; a driver that is not ours names none.
        dev: Option<u8>,
        /// Interrupts that the driver said were not its own.
        unclaimed: u64,
    },
}

/// How a test in the guest ended, and what it says of its driver's vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selftest {
    /// Its name; none for the result of all of them.
    pub test: Option<String>,
    /// `PASS`, `FAIL`, `SKIP`, `INFO`, …
    pub result: String,
    /// Whether it passed; none where it was not run, or only tells something.
    pub passed: Option<bool>,
    /// The vector in use for configuration changes.
    pub config_vector: Option<u16>,
    /// The vector in use for queue 0.
    pub queue_vector: Option<u16>,
}

impl Said {
    /// What a line says; `None` for a line that means nothing here.
    ///
    /// ```
    /// use misfire::log::Said;
    /// assert_eq!(
    ///     Said::of("VIRTIO: queue 1 vector written 2 read back 65535"),
    ///     Some(Said::QueueWritten { queue: 1, wrote: 2, read: Some(0xffff) })
    /// );
    /// ```
    pub fn of(line: &str) -> Option<Self> {
        let line = line.trim();
        if let Some(machine) = MachineLine::parse(line) {
            return Some(Self::Machine(machine));
        }
        // A log may put a time or a component before the words.
        if let Some(rest) = after(line, "VIRTIO:") {
            virtio_line(rest)
        } else if after(line, "PNP: resource requirements changed").is_some() {
            Some(Self::Restart)
        } else if let Some(rest) = after(line, "NT: check ") {
            checked(rest, true)
        } else if let Some(rest) = after(line, "NT: kept ") {
            checked(rest, false)
        } else if let Some(rest) = after(line, "NT: lent ") {
            let value = |key| value_of(rest, key);
            Some(Self::Lent {
                dev: value("dev")?.try_into().ok()?,
                at: value("at")?,
                bytes: value("bytes")?,
                every: value("every")?,
                times: value("times")?,
            })
        } else if let Some(rest) = after(line, "NT: claims ") {
            Some(Self::Line {
                dev: value_of(rest, "dev")?.try_into().ok()?,
                claimed: value_of(rest, "claimed")?,
                unclaimed: value_of(rest, "unclaimed")?,
                asked: value_of(rest, "asked")?,
            })
        } else if let Some(rest) = after(line, "CNT: line") {
            let dev = keyed(rest, "dev").and_then(|dev| u8::try_from(dev).ok());
            Some(Self::LineCount {
                dev: Some(dev.unwrap_or(0)),
                unclaimed: keyed(rest, "unclaimed")?.into(),
            })
        } else if let Some(rest) = after(line, "*** STOP: ") {
            Some(Self::Stop {
                code: StopCode(number(rest.split([' ', '(']).next()?)?),
            })
        } else {
            driver::said(line)
        }
    }

    /// The answer to a command.
    pub fn done(&self) -> Option<&Done> {
        match self {
            Self::Machine(MachineLine::Done(done)) => Some(done),
            _ => None,
        }
    }

    /// Whether the guest crashed.
    pub fn is_crash(&self) -> bool {
        matches!(
            self,
            Self::Machine(MachineLine::Crash(_)) | Self::Stop { .. }
        )
    }

    /// Whether a driver says that it did not start its device.
    pub fn is_start_failure(&self) -> bool {
        matches!(self, Self::Machine(MachineLine::Failed { .. }))
    }

    /// Whether the guest leaves in good order.
    pub fn is_exit(&self) -> bool {
        matches!(self, Self::Machine(MachineLine::Exit))
    }

    /// The device that the line itself names.
    pub(super) fn names(&self) -> Option<u8> {
        match self {
            Self::Machine(MachineLine::Started(started)) => Some(started.dev),
            Self::LineCount { dev, .. } => *dev,
            Self::Checked { dev, .. } | Self::Lent { dev, .. } | Self::Line { dev, .. } => {
                Some(*dev)
            }
            Self::Machine(
                MachineLine::Failed { dev, .. }
                | MachineLine::Device { dev, .. }
                | MachineLine::Removed { dev, .. },
            ) => Some(*dev),
            Self::Machine(MachineLine::Done(done)) => {
                done.number("dev").and_then(|d| u8::try_from(d).ok())
            }
            _ => None,
        }
    }

    /// Whether it is a driver's own line, which names no device.
    pub(super) fn is_drivers(&self) -> bool {
        !matches!(self, Self::Machine(_) | Self::Stop { .. })
    }
}

/// The number of `key=number` among words.
fn value_of(words: &str, key: &str) -> Option<u64> {
    let pairs = words
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    let mut values = pairs.filter_map(|(name, value)| (name == key).then_some(value));
    values.next()?.parse().ok()
}

/// `irql dev=0: what is wrong`, or `irql dev=0`.
fn checked(rest: &str, is_breach: bool) -> Option<Said> {
    let (place, wrong) = match rest.split_once(": ") {
        Some((place, wrong)) => (place, Some(wrong.to_owned())),
        None => (rest, None),
    };
    let (what, dev) = place.split_once(" dev=")?;
    (is_breach == wrong.is_some()).then_some(Said::Checked {
        dev: dev.trim().parse().ok()?,
        what: what.to_owned(),
        wrong,
    })
}

fn virtio_line(rest: &str) -> Option<Said> {
    let words: Vec<_> = rest.split_whitespace().collect();
    let vector = |word: &str| number(word).and_then(|v| u16::try_from(v).ok());
    Some(match words.as_slice() {
        ["config", "vector", "written", wrote, tail @ ..] => Said::ConfigWritten {
            wrote: vector(wrote)?,
            read: read_back(tail),
        },
        ["queue", queue, "vector", "written", wrote, tail @ ..] => Said::QueueWritten {
            queue: queue.parse().ok()?,
            wrote: vector(wrote)?,
            read: read_back(tail),
        },
        ["config", "uses", "vector", v] | ["config", "vector", v] => {
            Said::ConfigUses { vector: vector(v)? }
        }
        ["queue", queue, "uses", "vector", v] => Said::QueueUses {
            queue: queue.parse().ok()?,
            vector: vector(v)?,
        },
        ["needs", "reset", ..] => Said::NeedsReset,
        ["queue", queue, "lost", "interrupt?"] => Said::Lost {
            queue: queue.strip_suffix(':')?.parse().ok()?,
        },
        ["queue", queue, "request", "timed", ..] => Said::TimedOut {
            queue: queue.strip_suffix(':')?.parse().ok()?,
        },
        _ => return None,
    })
}

fn read_back(words: &[&str]) -> Option<u16> {
    match words {
        ["read", "back", value, ..] => number(value).and_then(|v| u16::try_from(v).ok()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_seeds_are_understood() {
        for (line, expected) in [
            (
                "*** STOP: 0x000000D1 (0x0, 0x2, 0x0, 0x0)",
                Some(Said::Stop {
                    code: StopCode(0xD1),
                }),
            ),
            ("Windows is starting", None),
            ("VIRTIO: queue x uses vector 2", None),
        ] {
            assert_eq!(Said::of(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_of_the_reference_guest_are_understood() {
        for (line, expected) in [
            ("MISFIRE: exit", Said::Machine(MachineLine::Exit)),
            (
                "VIRTIO: config vector written 0",
                Said::ConfigWritten {
                    wrote: 0,
                    read: None,
                },
            ),
            (
                "CNT: line isr=10 dpc=9 unclaimed=1",
                Said::LineCount {
                    dev: Some(0),
                    unclaimed: 1,
                },
            ),
            (
                "NT: lent dev=1 at=4096 bytes=96 every=8192 times=3",
                Said::Lent {
                    dev: 1,
                    at: 4096,
                    bytes: 96,
                    every: 8192,
                    times: 3,
                },
            ),
            (
                "NT: claims dev=0 claimed=2 unclaimed=0 asked=1",
                Said::Line {
                    dev: 0,
                    claimed: 2,
                    unclaimed: 0,
                    asked: 1,
                },
            ),
            ("VIRTIO: needs reset", Said::NeedsReset),
            ("VIRTIO: queue 1: lost interrupt?", Said::Lost { queue: 1 }),
            (
                "VIRTIO: queue 0: request timed out, resetting the device",
                Said::TimedOut { queue: 0 },
            ),
            (
                "PNP: resource requirements changed, starting with a line-based interrupt",
                Said::Restart,
            ),
            (
                "Message Interrupt level 0x6, Vector 0x63, MessageCount 0",
                Said::Resource { messages: Some(0) },
            ),
        ] {
            assert_eq!(Said::of(line), Some(expected), "{line}");
        }
    }
}

//! What a guest, and the driver in it, say about themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::{Done, MachineLine, StopCode};
use misfire_device::trace::{Event, What};

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
    /// `VIRTIO: queue 1: lost interrupt?` or `… request timed out …`: a request's interrupt did not
    /// come in time.
    Lost {
        /// Queue index.
        queue: u16,
    },
    /// `PNP: resource requirements changed, …`: the device is started anew with other resources.
    Restart,
    /// `CNT: line isr=I dpc=D unclaimed=U`.
    LineCount {
        /// Device, from 0.
        dev: u8,
        /// Interrupts that the driver said were not its own.
        unclaimed: u64,
    },
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
        let after = |word: &str| line.find(word).map(|at| line[at + word.len()..].trim());
        if let Some(rest) = after("VIRTIO:") {
            virtio_line(rest)
        } else if let Some(rest) = after("WDFINT:") {
            Some(Self::Interrupt {
                message: keyed(rest, "MessageSignaled")? != 0,
                number: keyed(rest, "MessageNumber")?,
                vector: keyed(rest, "Vector")?,
            })
        } else if let Some(rest) = after("INT: MSI") {
            Some(Self::Resource {
                messages: Some(keyed(rest, "MessageCount")?),
            })
        } else if let Some(rest) = after("Message Interrupt level ") {
            Some(Self::Resource {
                messages: Some(number(rest.rsplit_once("MessageCount ")?.1.trim())?),
            })
        } else if after("INT: INTx").is_some()
            || after("Legacy Interrupts Not Supported!").is_some()
        {
            Some(Self::Resource { messages: None })
        } else if after("PNP: resource requirements changed").is_some() {
            Some(Self::Restart)
        } else if let Some(rest) = after("CNT: line") {
            Some(Self::LineCount {
                dev: keyed(rest, "dev")
                    .and_then(|d| u8::try_from(d).ok())
                    .unwrap_or(0),
                unclaimed: keyed(rest, "unclaimed")?.into(),
            })
        } else if let Some(rest) = after("Created interrupt(") {
            Some(Self::Interrupt {
                message: rest.contains("Signaled(Y)"),
                number: between(rest, "Num(")?,
                vector: between(rest, "Vect(")?,
            })
        } else if let Some(rest) = after("FxInterrupt::Connect") {
            Some(Self::ConnectFailed {
                vector: number(rest.split_once(" Vector ")?.1.split([',', ' ']).next()?)?,
                status: rest.rsplit([' ', ',']).next()?.to_owned(),
            })
        } else {
            let code = after("*** STOP: ")?.split([' ', '(']).next()?;
            Some(Self::Stop {
                code: StopCode(number(code)?),
            })
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
    fn names(&self) -> Option<u8> {
        match self {
            Self::Machine(MachineLine::Started(started)) => Some(started.dev),
            Self::LineCount { dev, .. } => Some(*dev),
            Self::Machine(MachineLine::Failed { dev, .. } | MachineLine::Device { dev, .. }) => {
                Some(*dev)
            }
            Self::Machine(MachineLine::Done(done)) => {
                done.number("dev").and_then(|d| u8::try_from(d).ok())
            }
            _ => None,
        }
    }

    /// Whether it is a driver's own line, which names no device.
    fn is_drivers(&self) -> bool {
        !matches!(self, Self::Machine(_) | Self::Stop { .. })
    }
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
        ["queue", queue, "lost", "interrupt?"] | ["queue", queue, "request", "timed", ..] => {
            Said::Lost {
                queue: queue.strip_suffix(':')?.parse().ok()?,
            }
        }
        _ => return None,
    })
}

fn read_back(words: &[&str]) -> Option<u16> {
    match words {
        ["read", "back", value, ..] => number(value).and_then(|v| u16::try_from(v).ok()),
        _ => None,
    }
}

/// A number in decimal, or in hexadecimal after `0x`.
fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

/// The word after `key=`.
fn text<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn keyed(line: &str, key: &str) -> Option<u32> {
    number(text(line, key)?)
}

/// The number between `open` and the next closing parenthesis.
fn between(line: &str, open: &str) -> Option<u32> {
    number(line.split_once(open)?.1.split_once(')')?.0)
}

/// Everything that the guest says in a trace, and which device each line is about.
///
/// A driver's line names no device. It belongs to the device whose `started` or `failed` line, or
/// whose answer to a command, comes next; with one device in the trace, to that one.
#[derive(Clone, Debug, Default)]
pub struct Speech {
    said: BTreeMap<u64, (Option<u8>, Said)>,
}

impl Speech {
    /// Reads all log lines of a trace.
    pub fn of(events: &[Event]) -> Self {
        let mut devices = BTreeSet::new();
        let mut said = BTreeMap::new();
        let mut open: Vec<u64> = Vec::new();
        for event in events {
            let line = match &event.what {
                What::Hello(hello) => {
                    devices.insert(hello.dev);
                    continue;
                }
                What::Log { line } => line,
                _ => continue,
            };
            let Some(words) = Said::of(line) else {
                continue;
            };
            let names = words.names();
            if let (Some(dev), false) = (
                names,
                matches!(words, Said::Machine(MachineLine::Device { .. })),
            ) {
                for seq in open.drain(..) {
                    said.entry(seq).and_modify(|(of, _)| *of = Some(dev));
                }
            } else if names.is_none() && words.is_drivers() {
                open.push(event.seq);
            }
            said.insert(event.seq, (names, words));
        }
        if let (1, Some(only)) = (devices.len(), devices.first()) {
            for seq in open {
                said.entry(seq).and_modify(|(of, _)| *of = Some(*only));
            }
        }
        Self { said }
    }

    /// What the line at `seq` says, if it is about device `dev` or about the guest as a whole.
    pub fn said(&self, seq: u64, dev: u8) -> Option<&Said> {
        let (of, said) = self.said.get(&seq)?;
        let concerns = match of {
            Some(of) => *of == dev,
            None => !said.is_drivers(),
        };
        concerns.then_some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_seeds_are_understood() {
        let interrupt = |number, vector| {
            Some(Said::Interrupt {
                message: true,
                number,
                vector,
            })
        };
        for (line, expected) in [
            (
                "WDFINT: MessageSignaled=1 MessageNumber=2 Vector=0x93 Irql=9 Affinity=0x1",
                interrupt(2, 0x93),
            ),
            (
                "Created interrupt(3): Signaled(Y), Num(3), Vect(0x63)",
                interrupt(3, 0x63),
            ),
            (
                "INT: MSI/MSI-X Level=4 Vector=64 Affinity=0x1 MessageCount=8 Flags=0x3",
                Some(Said::Resource { messages: Some(8) }),
            ),
            (
                "INT: INTx Level=17 Vector=177 Affinity=0x1 Flags=0x0",
                Some(Said::Resource { messages: None }),
            ),
            (
                "52: FxInterrupt::Connect - IoConnectInterrupt(Ex) Failed, SpinLock 0xFFFF830C55DD6AD0, Vector 0x93, IRQL 0x9, FloatingSave False, 0xc00000ef(STATUS_INVALID_PARAMETER_1)",
                Some(Said::ConnectFailed {
                    vector: 0x93,
                    status: "0xc00000ef(STATUS_INVALID_PARAMETER_1)".into(),
                }),
            ),
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
                    dev: 0,
                    unclaimed: 1,
                },
            ),
            ("VIRTIO: needs reset", Said::NeedsReset),
            ("VIRTIO: queue 1: lost interrupt?", Said::Lost { queue: 1 }),
            (
                "VIRTIO: queue 0: request timed out, resetting the device",
                Said::Lost { queue: 0 },
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

    #[test]
    fn a_drivers_line_belongs_to_the_device_that_starts_next() {
        let mut trace = crate::rules::testing::trace();
        for dev in 0..2 {
            trace = trace.hello_dev(dev, misfire_device::shape::Kind::Block);
        }
        let events = trace
            .log("VIRTIO: queue 0 uses vector 1")
            .log("MISFIRE: dev 0 started mode=msix granted=3 used=3 queues=2")
            .log("VIRTIO: queue 0 uses vector 2")
            .log("MISFIRE: dev 1 started mode=msix granted=3 used=3 queues=2")
            .log("MISFIRE: exit")
            .events();
        let speech = Speech::of(&events);
        let seqs: Vec<_> = events
            .iter()
            .filter(|e| matches!(e.what, What::Log { .. }))
            .map(|e| e.seq)
            .collect();
        let uses = |line: usize, dev| match speech.said(seqs[line], dev) {
            Some(Said::QueueUses { vector, .. }) => Some(*vector),
            _ => None,
        };
        assert_eq!((uses(0, 0), uses(0, 1)), (Some(1), None));
        assert_eq!((uses(2, 0), uses(2, 1)), (None, Some(2)));
        assert!(speech.said(seqs[4], 0).is_some() && speech.said(seqs[4], 1).is_some());
    }
}

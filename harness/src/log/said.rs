//! What a guest, and the driver in it, say about themselves.

use super::{Done, MachineLine, StopCode};

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
        } else if let Some(rest) = after("NT: check ") {
            checked(rest, true)
        } else if let Some(rest) = after("NT: kept ") {
            checked(rest, false)
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
    pub(super) fn names(&self) -> Option<u8> {
        match self {
            Self::Machine(MachineLine::Started(started)) => Some(started.dev),
            Self::LineCount { dev, .. } | Self::Checked { dev, .. } => Some(*dev),
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

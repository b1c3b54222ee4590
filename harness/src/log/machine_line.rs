//! Lines that the reference guest prints for the harness: those that begin with `MISFIRE: `.

use std::collections::BTreeMap;

use super::StopCode;

const PREFIX: &str = "MISFIRE: ";

/// A line that the guest printed for the harness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineLine {
    /// The guest is there: `guest reference 1`.
    Guest {
        /// Its name.
        name: String,
        /// Version of the lines that it prints.
        version: u32,
    },
    /// A device was found: `dev 0 00:10.0 1af4:1042 block`.
    Device {
        /// Device, from 0.
        dev: u8,
        /// Bus, device and function as printed.
        bdf: String,
        /// `vendor:device` in hexadecimal, as printed.
        id: String,
        /// The driver's kind: `block`, `port-card` or `unknown`.
        kind: String,
    },
    /// A driver started its device.
    Started(Started),
    /// A driver did not start its device.
    Failed {
        /// Device, from 0.
        dev: u8,
        /// The NTSTATUS.
        status: u32,
        /// Its name, as printed.
        name: String,
        /// Windows' problem code of the device, if there is one.
        problem: Option<u32>,
    },
    /// A device was let go, and its slot switched off: `dev 0 removed surprise`.
    Removed {
        /// Device, from 0.
        dev: u8,
        /// The bus found it gone; else it was asked for.
        surprise: bool,
    },
    /// Drivers have started or failed; commands are read now.
    Ready,
    /// The answer to a command.
    Done(Done),
    /// The guest stopped as Windows does on a bug check.
    Crash(Crash),
    /// The guest is about to leave.
    Exit,
    /// The guest can't do what its parameters say.
    Error(String),
    /// A machine line of a form that is not known here.
    Unknown(String),
}

/// A driver started its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Device, from 0.
    pub dev: u8,
    /// `msix`, `msix-shared`, `msi`, `intx` or `polled`.
    pub mode: String,
    /// Messages that the system granted.
    pub granted: u32,
    /// Distinct messages in use.
    pub used: u32,
    /// Queues in use.
    pub queues: u32,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Whether it was done.
    pub ok: bool,
    /// The command's first word.
    pub verb: String,
    /// The `key=value` words after it; `reason` is there when it failed.
    pub values: BTreeMap<String, String>,
}

impl Done {
    /// Why it failed, if it did and says so.
    pub fn reason(&self) -> Option<&str> {
        self.values.get("reason").map(String::as_str)
    }

    /// A value that is a number, decimal or `0x…`.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.values.get(key).and_then(|v| number(v))
    }
}

/// The guest stopped as Windows does on a bug check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The stop code.
    pub code: StopCode,
    /// The rest of the line: name and parameters, as printed.
    pub text: String,
}

impl MachineLine {
    /// Reads a line of the guest; `None` for a line that is not for the harness.
    pub fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix(PREFIX)?;
        Some(Self::known(rest).unwrap_or_else(|| Self::Unknown(rest.to_owned())))
    }

    fn known(rest: &str) -> Option<Self> {
        let (verb, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut words = tail.split_ascii_whitespace();
        let mut word = || words.next();
        let line = match verb {
            "guest" => Self::Guest {
                name: word()?.to_owned(),
                version: word()?.parse().ok()?,
            },
            "dev" => {
                let dev = word()?.parse().ok()?;
                match word()? {
                    "started" => {
                        let values = pairs(words);
                        let count = |key| u32::try_from(number(values.get(key)?).unwrap_or(0)).ok();
                        Self::Started(Started {
                            dev,
                            mode: values.get("mode")?.clone(),
                            granted: count("granted")?,
                            used: count("used")?,
                            queues: count("queues")?,
                        })
                    }
                    "removed" => Self::Removed {
                        dev,
                        surprise: word()? == "surprise",
                    },
                    "failed" => {
                        let status = number(word()?.strip_prefix("status=")?)?;
                        let name = word()?.to_owned();
                        let problem = pairs(words).get("problem").and_then(|p| p.parse().ok());
                        Self::Failed {
                            dev,
                            status: u32::try_from(status).ok()?,
                            name,
                            problem,
                        }
                    }
                    bdf => Self::Device {
                        dev,
                        bdf: bdf.to_owned(),
                        id: word()?.to_owned(),
                        kind: word()?.to_owned(),
                    },
                }
            }
            "ready" => Self::Ready,
            "done" => Self::Done(Done {
                ok: match word()? {
                    "ok" => true,
                    "failed" => false,
                    _ => return None,
                },
                verb: word()?.to_owned(),
                values: pairs(words),
            }),
            "crash" => Self::Crash(Crash {
                code: StopCode(u32::try_from(number(word()?)?).ok()?),
                text: words.collect::<Vec<_>>().join(" "),
            }),
            "exit" => Self::Exit,
            "error" => Self::Error(tail.to_owned()),
            _ => return None,
        };
        Some(line)
    }
}

fn pairs<'a>(words: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    words
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> MachineLine {
        MachineLine::parse(line).unwrap()
    }

    #[test]
    fn driver_log_is_no_machine_line() {
        assert_eq!(MachineLine::parse("VIRTIO: status 0x0f"), None);
        assert_eq!(MachineLine::parse("MISFIRE is a word in a log"), None);
    }

    #[test]
    fn the_start_of_a_device_is_read() {
        assert_eq!(
            parse("MISFIRE: dev 1 00:11.0 1234:4d46 port-card"),
            MachineLine::Device {
                dev: 1,
                bdf: "00:11.0".into(),
                id: "1234:4d46".into(),
                kind: "port-card".into()
            }
        );
        assert_eq!(
            parse("MISFIRE: dev 0 started mode=msix-shared granted=3 used=2 queues=2"),
            MachineLine::Started(Started {
                dev: 0,
                mode: "msix-shared".into(),
                granted: 3,
                used: 2,
                queues: 2
            })
        );
        assert_eq!(
            parse("MISFIRE: dev 1 failed status=0xC0000493 STATUS_DEVICE_POWER_FAILURE problem=10"),
            MachineLine::Failed {
                dev: 1,
                status: 0xC000_0493,
                name: "STATUS_DEVICE_POWER_FAILURE".into(),
                problem: Some(10)
            }
        );
    }

    #[test]
    fn the_answer_to_a_command_has_its_values() {
        let MachineLine::Done(done) =
            parse("MISFIRE: done failed load reason=timeout blocks=12 at=0x40")
        else {
            panic!("not an answer");
        };
        assert!(!done.ok);
        assert_eq!(done.verb, "load");
        assert_eq!(done.reason(), Some("timeout"));
        assert_eq!(done.number("blocks"), Some(12));
        assert_eq!(done.number("at"), Some(0x40));
        assert_eq!(done.number("reason"), None);
    }

    #[test]
    fn a_crash_has_its_code_and_its_text() {
        assert_eq!(
            parse("MISFIRE: crash 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0x0,0x2)"),
            MachineLine::Crash(Crash {
                code: StopCode(0xD1),
                text: "DRIVER_IRQL_NOT_LESS_OR_EQUAL (0x0,0x2)".into()
            })
        );
    }

    #[test]
    fn a_machine_line_that_is_not_understood_is_kept() {
        for line in [
            "MISFIRE: dev x",
            "MISFIRE: done maybe load",
            "MISFIRE: crash zero",
            "MISFIRE: ",
            "MISFIRE: dev 0 started mode=msix",
        ] {
            assert!(matches!(parse(line), MachineLine::Unknown(_)), "{line}");
        }
    }
}

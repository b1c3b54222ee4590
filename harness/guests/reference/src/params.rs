//! The kernel's parameters: `key=value`, and `devN.key=value` for one device.

use crate::driver::mistake::Mistakes;
use crate::driver::{Interface, Settings, Style, args};
use crate::hal::processor;
use crate::hal::root_port::Power;
use crate::nt::dispatch::MOST_DEVICES;
use crate::nt::pnp::Policy;
use crate::nt::policy::{Grant, Os};
use crate::nt::storport::registry::Value;
use alloc::string::String;
use alloc::vec::Vec;

/// Queues and depth that can be asked for.
const MOST_QUEUES: u64 = 16;
const MOST_DESCRIPTORS: u64 = 32768;
const MOST_DEPTH: u64 = 64;
/// Longest time limit, in milliseconds.
const LONGEST_MS: u64 = 600_000;

/// The parameters of a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceParams {
    /// For the model.
    pub policy: Policy,
    /// For the driver.
    pub settings: Settings,
    /// How its slot is switched off when it is let go.
    pub eject: Power,
}

/// The parameters of all devices.
pub struct Params {
    /// By number of the device.
    pub devices: [DeviceParams; MOST_DEVICES],
    /// The driver is the image that was handed over.
    pub image: bool,
    /// What the registry has for it as `DriverParameter`.
    pub argument: String,
    /// What the INF has put into the registry for it besides.
    pub registry: Vec<Value>,
    /// At the end the system crashes, and the image writes the dump.
    pub dump: bool,
    /// How many processors are to run.
    pub processors: usize,
}

/// What is wrong with a parameter.
#[derive(Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// The key is not known, or it is not `key=value`.
    Key(&'a str),
    /// The value is not one that the key can have.
    Value(&'a str),
}

impl Params {
    /// Reads a command line. `devN.` goes before what is said for all, wherever it stands.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn parse(line: &str) -> Result<Self, Error<'_>> {
        let mut params = Self {
            devices: [DeviceParams::default(); MOST_DEVICES],
            image: false,
            argument: String::new(),
            registry: Vec::new(),
            dump: false,
            processors: 1,
        };
        for part in line.split_ascii_whitespace() {
            if let Some(value) = part.strip_prefix("argument=") {
                params.argument = value.into();
            } else if let Some(value) = part.strip_prefix("registry=") {
                let value = Value::parse(value).ok_or(Error::Value(part))?;
                params.registry.push(value);
            } else if let Some(value) = part.strip_prefix("dump=") {
                params.dump = match value {
                    "0" => false,
                    "1" => true,
                    _ => return Err(Error::Value(part)),
                };
            } else if let Some(value) = part.strip_prefix("processors=") {
                let number =
                    args::number(value).filter(|n| (1..=processor::MOST as u64).contains(n));
                params.processors = number.ok_or(Error::Value(part))? as usize;
            } else if let Some(value) = part.strip_prefix("driver=") {
                params.image = match value {
                    "own" => false,
                    "image" => true,
                    _ => return Err(Error::Value(part)),
                };
            } else if device_of(part)?.is_none() {
                for device in &mut params.devices {
                    device.set(part, part)?;
                }
            }
        }
        for part in line.split_ascii_whitespace() {
            if let Some((n, rest)) = device_of(part)? {
                params.devices[n].set(rest, part)?;
            }
        }
        Ok(params)
    }
}

/// `devN.rest`.
fn device_of(part: &str) -> Result<Option<(usize, &str)>, Error<'_>> {
    let Some(rest) = part.strip_prefix("dev") else {
        return Ok(None);
    };
    let (number, rest) = rest.split_once('.').ok_or(Error::Key(part))?;
    match number.parse() {
        Ok(n) if n < MOST_DEVICES => Ok(Some((n, rest))),
        _ => Err(Error::Key(part)),
    }
}

impl DeviceParams {
    fn set<'a>(&mut self, text: &str, whole: &'a str) -> Result<(), Error<'a>> {
        let wrong = || Error::Value(whole);
        let (key, value) = text.split_once('=').ok_or(Error::Key(whole))?;
        let number = |most: u64| {
            args::number(value)
                .filter(|&n| (1..=most).contains(&n))
                .ok_or(Error::Value(whole))
        };
        match key {
            "os" => {
                self.policy.os = match value {
                    "win7" => Os::Win7,
                    "win8" => Os::Win8,
                    "win10" => Os::Win10,
                    _ => return Err(wrong()),
                }
            }
            "msi_supported" => {
                self.policy.inf.msi_supported = match value {
                    "0" => false,
                    "1" => true,
                    _ => return Err(wrong()),
                }
            }
            "message_limit" => {
                self.policy.inf.message_number_limit = Some(number(u32::MAX.into())? as u32);
            }
            "grant" => {
                self.policy.grant = Grant::parse(value).ok_or_else(wrong)?;
            }
            "style" => {
                self.settings.style = match value {
                    "prepare" => Style::Prepare,
                    "add" => Style::Add,
                    _ => return Err(wrong()),
                }
            }
            "mistake" => {
                self.settings.mistakes = Mistakes::parse(value).map_err(|_| wrong())?;
            }
            "timeout_ms" => self.settings.timeout_ms = number(LONGEST_MS)?,
            "queues" => self.settings.queues = number(MOST_QUEUES)? as u16,
            "access" => {
                self.settings.window = match value {
                    "bar" => false,
                    "window" => true,
                    _ => return Err(wrong()),
                }
            }
            "interface" => {
                self.settings.interface = match value {
                    "modern" => Some(Interface::Modern),
                    "legacy" => Some(Interface::Legacy),
                    _ => return Err(wrong()),
                }
            }
            "eject" => {
                self.eject = match value {
                    "off" => Power::Off,
                    "lit" => Power::OffLit,
                    _ => return Err(wrong()),
                }
            }
            "poll" => {
                self.settings.poll = match value {
                    "0" => false,
                    "1" => true,
                    _ => return Err(wrong()),
                }
            }
            "descriptors" => self.settings.descriptors = number(MOST_DESCRIPTORS)? as u16,
            "depth" => self.settings.depth = number(MOST_DEPTH)? as u16,
            _ => return Err(Error::Key(whole)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::mistake::Mistake;

    #[test]
    fn what_is_said_for_one_device_goes_before_what_is_said_for_all() {
        let params = Params::parse("dev1.grant=one grant=none dev1.mistake=no-read-back").unwrap();
        assert_eq!(params.devices[0].policy.grant, Grant::None);
        assert_eq!(params.devices[1].policy.grant, Grant::One);
        let made = |n: usize| {
            params.devices[n]
                .settings
                .mistakes
                .has(Mistake::NO_READ_BACK)
        };
        assert!(!made(0) && made(1));
    }

    #[test]
    fn unknown_keys_and_values_are_named() {
        for key in [
            "nonsense=1",
            "quiet",
            "dev16.os=win7",
            "devx.os=win7",
            "dev1=2",
        ] {
            assert_eq!(Params::parse(key).err(), Some(Error::Key(key)), "{key}");
        }
        for value in [
            "os=win11",
            "depth=0",
            "queues=17",
            "grant=",
            "mistake=x",
            "registry=all",
        ] {
            assert_eq!(Params::parse(value).err(), Some(Error::Value(value)));
        }
    }
}

//! What the reference guest is told: policies of its Windows, the driver's mistakes, its workload.

use std::fmt::Write as _;

use super::check::Checker;
use super::document::At;
use super::file::GuestFile;
use super::{MOST_MISTAKES, mistakes};

/// What the reference guest's kernel takes: queues, requests in flight, a time limit in milliseconds.
const MOST_QUEUES: u32 = 16;
const MOST_DEPTH: u32 = 64;
const LONGEST_MS: u32 = 600_000;
/// The most processors that a scenario can ask for, and that the model of Windows has.
pub const MOST_PROCESSORS: u16 = 8;

/// Parameters of the reference guest; what is `None` is left to the guest's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuestParameters {
    /// Parameters for every device.
    pub all: Parameters,
    /// Parameters of one device, by position.
    pub devices: Vec<Parameters>,
}

/// One set of parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// `win7`, `win8` or `win10`.
    pub os: Option<String>,
    /// The INF's MSISupported.
    pub msi_supported: Option<bool>,
    /// The INF's MessageNumberLimit.
    pub message_limit: Option<u32>,
    /// `all`, `one` or `none`.
    pub grant: Option<String>,
    /// `prepare` or `add`.
    pub style: Option<String>,
    /// Names of [`mistakes`](super::mistakes).
    pub mistakes: Vec<String>,
    /// The driver's time limit for a request, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// The most descriptors of a queue that the driver uses.
    pub descriptors: Option<u16>,
    /// The most queues that the driver uses.
    pub queues: Option<u16>,
    /// Requests in flight for each queue.
    pub depth: Option<u16>,
    /// Whether the driver gives its queues no vector, and polls them.
    pub poll: Option<bool>,
    /// `bar` or `window`.
    pub access: Option<String>,
    /// `modern` or `legacy`.
    pub interface: Option<String>,
    /// Processors of the machine; only in the set for every device.
    pub processors: Option<u16>,
}

impl GuestParameters {
    /// The kernel's command line: `key=value` pairs, `dev<N>.key=value` for one device.
    ///
    /// ```
    /// use misfire::scenario::GuestParameters;
    /// let mut guest = GuestParameters::default();
    /// guest.all.mistakes = vec!["no-read-back".into(), "program-once".into()];
    /// guest.devices.resize_with(2, Default::default);
    /// guest.devices[1].grant = Some("one".into());
    /// assert_eq!(guest.command_line(), "mistake=no-read-back,program-once dev1.grant=one");
    /// ```
    pub fn command_line(&self) -> String {
        let mut line = String::new();
        self.all.write(&mut line, "");
        for (n, device) in self.devices.iter().enumerate() {
            device.write(&mut line, &format!("dev{n}."));
        }
        line
    }

    /// Whether the driver makes a mistake on purpose: such a scenario is for the reference guest only.
    pub fn has_mistake(&self) -> bool {
        std::iter::once(&self.all)
            .chain(&self.devices)
            .any(|p| !p.mistakes.is_empty())
    }
}

/// Whether a grant is a number of messages.
pub(super) fn is_count(grant: &str) -> bool {
    grant
        .parse::<u16>()
        .is_ok_and(|count| (1..=2048).contains(&count))
}

impl Parameters {
    fn write(&self, line: &mut String, prefix: &str) {
        let pairs = [
            ("os", self.os.clone()),
            (
                "msi_supported",
                self.msi_supported.map(|v| u8::from(v).to_string()),
            ),
            ("message_limit", self.message_limit.map(|v| v.to_string())),
            ("grant", self.grant.clone()),
            ("style", self.style.clone()),
            (
                "mistake",
                (!self.mistakes.is_empty()).then(|| self.mistakes.join(",")),
            ),
            ("timeout_ms", self.timeout_ms.map(|v| v.to_string())),
            ("descriptors", self.descriptors.map(|v| v.to_string())),
            ("queues", self.queues.map(|v| v.to_string())),
            ("depth", self.depth.map(|v| v.to_string())),
            ("poll", self.poll.map(|v| u8::from(v).to_string())),
            ("access", self.access.clone()),
            ("interface", self.interface.clone()),
        ];
        for (key, value) in pairs {
            if let Some(value) = value {
                let space = if line.is_empty() { "" } else { " " };
                let _ = write!(line, "{space}{prefix}{key}={value}");
            }
        }
    }
}

impl Checker<'_> {
    pub(super) fn guest(&mut self, file: &GuestFile, devices: usize) -> GuestParameters {
        let all = self.parameters(&["guest".into()], file);
        if file.device.len() > devices {
            let message = format!(
                "parameters for {} devices: this scenario has {devices}",
                file.device.len()
            );
            self.fail(&["guest".into(), "device".into()], message, None);
        }
        let mut each = Vec::new();
        for (index, entry) in file.device.iter().enumerate() {
            let path = ["guest".into(), "device".into(), index.into()];
            if entry.processors.is_some() {
                let message = "processors are the machine's, not one device's";
                self.fail(&path, message, None);
            }
            if !entry.device.is_empty() {
                self.fail(
                    &path,
                    "parameters of one device can't hold those of others",
                    None,
                );
            }
            each.push(self.parameters(&path, entry));
        }
        GuestParameters { all, devices: each }
    }

    fn parameters(&mut self, path: &[At<'_>], file: &GuestFile) -> Parameters {
        let at = |key: &'static str| -> Vec<At<'_>> {
            path.iter().copied().chain([key.into()]).collect()
        };
        for (key, value, known) in [
            ("os", &file.os, &["win7", "win8", "win10"][..]),
            (
                "grant",
                &file.grant.clone().filter(|grant| !is_count(grant)),
                &["all", "one", "none"],
            ),
            ("style", &file.style, &["prepare", "add"]),
            ("access", &file.access, &["bar", "window"]),
            ("interface", &file.interface, &["modern", "legacy"]),
        ] {
            if let Some(value) = value {
                self.known(&at(key), key, value, known);
            }
        }
        let names: Vec<&str> = mistakes().map(|m| m.name).collect();
        for (index, name) in file.mistake.iter().enumerate() {
            let mut place = at("mistake");
            place.push(index.into());
            self.known(&place, "mistake", name, &names);
        }
        let made = file.mistake.len();
        if made > MOST_MISTAKES {
            let message = format!("{made} mistakes: {MOST_MISTAKES} at most");
            self.fail(&at("mistake"), message, None);
        }
        for (key, value, most) in [
            ("message-limit", file.message_limit, u32::MAX),
            ("timeout-ms", file.timeout_ms, LONGEST_MS),
            ("descriptors", file.descriptors.map(u32::from), 32768),
            ("queues", file.queues.map(u32::from), MOST_QUEUES),
            ("depth", file.depth.map(u32::from), MOST_DEPTH),
            (
                "processors",
                file.processors.map(u32::from),
                MOST_PROCESSORS.into(),
            ),
        ] {
            if let Some(value) = value.filter(|v| !(1..=most).contains(v)) {
                let message = format!("{key} = {value}: expected 1 to {most}");
                self.fail(&at(key), message, None);
            }
        }
        Parameters {
            os: file.os.clone(),
            msi_supported: file.msi_supported,
            message_limit: file.message_limit,
            grant: file.grant.clone(),
            style: file.style.clone(),
            mistakes: file.mistake.clone(),
            timeout_ms: file.timeout_ms,
            descriptors: file.descriptors,
            queues: file.queues,
            depth: file.depth,
            poll: file.poll,
            access: file.access.clone(),
            interface: file.interface.clone(),
            processors: file.processors,
        }
    }
}

//! What the section says, and what is wrong with it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::jobs::FLAGS;
use crate::guest::file::{Place, Section, UefiFile};
use crate::log::driver::{Pattern, Patterns};
use crate::machine::Hotplug;

/// The least and the most memory in MiB, processors, and pace.
const MEMORY: std::ops::RangeInclusive<u32> = 16..=1 << 20;
const PROCESSORS: std::ops::RangeInclusive<u8> = 1..=64;
const PACE: std::ops::RangeInclusive<u32> = 1..=100;
/// The least and the longest limit of a stage in seconds.
const SECONDS: std::ops::RangeInclusive<f64> = 0.01..=86_400.0;
const FORMATS: &[&str] = &["qcow2", "raw", "vhdx", "vmdk"];

/// A Windows that is installed on a disk image, and what is done in it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsFile {
    /// The image of its disk, which is never written to.
    pub image: Option<PathBuf>,
    /// The image's format; default: by its name, `qcow2` or `raw`.
    pub format: Option<String>,
    /// A UEFI firmware; default: SeaBIOS.
    pub firmware: Option<UefiFile>,
    /// The socket of a software TPM that runs.
    pub tpm: Option<PathBuf>,
    /// Memory in MiB.
    pub memory: Option<u32>,
    /// Processors.
    pub processors: Option<u8>,
    /// What QEMU is told of the processor beside its name, such as `hv-time`.
    #[serde(default)]
    pub cpu: Vec<String>,
    /// Who tells the system that a device comes: `acpi` or `native`.
    #[serde(default)]
    pub hotplug: Hotplug,
    /// The folder of the driver package: INF, SYS, CAT, and the certificate.
    pub package: Option<PathBuf>,
    /// The driver and its revision as `expect.known` names it; default: name and revision of the guest.
    pub driver: Option<String>,
    /// A program and its arguments that use the device in place of raw reads and writes.
    #[serde(default)]
    pub workload: Vec<String>,
    /// Driver Verifier's flags, by name.
    #[serde(default)]
    pub verifier: Vec<String>,
    /// The drivers that Driver Verifier is to check; default: the SYS files of the package.
    #[serde(default)]
    pub verified: Vec<String>,
    /// Whether Windows is told to use no messages at all (`bcdedit /set msi forcedisable`).
    #[serde(default)]
    pub msi_forcedisable: bool,
    /// The most messages that the device is to be given.
    pub message_number_limit: Option<u32>,
    /// Whether the memory of a crash is kept in any case: as ELF where it can't be a Windows dump.
    #[serde(default)]
    pub dump: bool,
    /// How much longer than its time each step of a scenario may take.
    pub pace: Option<u32>,
    /// How long each stage may take.
    #[serde(default)]
    pub limits: LimitsFile,
    /// What lines of the driver's own log mean.
    #[serde(default)]
    pub log: Vec<LogFile>,
}

/// Lines of a driver's own log, and what they mean.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// A regular expression with named groups.
    pub line: String,
    /// What a line that matches it means.
    pub means: String,
}

/// How long each stage of a Windows may take, in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsFile {
    /// Until the kernel speaks to its debugger.
    pub boot: Option<f64>,
    /// Until the agent answers after that.
    pub ready: Option<f64>,
    /// Each program of an installation.
    pub install: Option<f64>,
    /// To start again.
    pub restart: Option<f64>,
    /// Until a driver has started a device, or has not.
    pub device: Option<f64>,
    /// Each command of a scenario.
    pub work: Option<f64>,
    /// Until a driver is to give up a request that does not end.
    pub request: Option<f64>,
}

impl LimitsFile {
    /// Each with its key and its default in seconds.
    pub(super) fn all(&self) -> [(&'static str, Option<f64>, u64); 7] {
        [
            ("boot", self.boot, 180),
            ("ready", self.ready, 300),
            ("install", self.install, 180),
            ("restart", self.restart, 300),
            ("device", self.device, 120),
            ("work", self.work, 120),
            ("request", self.request, 65),
        ]
    }
}

impl WindowsFile {
    /// The patterns of the driver's log, which were checked.
    pub(super) fn patterns(&self) -> Patterns {
        let each = self.log.iter();
        let known = each.filter_map(|entry| Pattern::new(&entry.line, &entry.means).ok());
        Patterns::new(known.collect())
    }
}

impl Section for WindowsFile {
    fn check(&mut self, place: &mut Place<'_>) {
        match &mut self.image {
            Some(image) => place.file("image", image),
            None => place.problem("image", "a Windows needs the image of its disk"),
        }
        if let Some(firmware) = &mut self.firmware {
            place.uefi("firmware", firmware);
        }
        if let Some(tpm) = &mut self.tpm {
            place.socket("tpm", tpm);
        }
        if let Some(package) = &mut self.package {
            place.folder("package", package);
        }
        if let Some(format) = self.format.as_deref().filter(|f| !FORMATS.contains(f)) {
            let message = format!("`{format}`: expected {}", FORMATS.join(", "));
            place.problem("format", message);
        }
        numbers(place, "memory", self.memory, &MEMORY);
        numbers(place, "processors", self.processors, &PROCESSORS);
        numbers(place, "pace", self.pace, &PACE);
        for (key, limit, _) in self.limits.all() {
            if let Some(seconds) = limit.filter(|seconds| !SECONDS.contains(seconds)) {
                let (least, most) = SECONDS.into_inner();
                let message = format!("{key} = {seconds}: expected {least} to {most} seconds");
                place.problem("limits", message);
            }
        }
        if let Some(driver) = &self.driver
            && !driver
                .split_once('@')
                .is_some_and(|(d, r)| !d.is_empty() && !r.is_empty())
        {
            place.problem(
                "driver",
                format!("`{driver}`: expected \"driver@revision\""),
            );
        }
        if self.cpu.iter().any(|flag| flag.contains([',', ' '])) {
            place.problem("cpu", "one flag in each string");
        }
        for LogFile { line, means } in &self.log {
            if let Err(error) = Pattern::new(line, means) {
                place.problem("log", error.to_string());
            }
        }
        for name in &self.verifier {
            if !FLAGS.iter().any(|(known, _)| known == name) {
                let all: Vec<&str> = FLAGS.iter().map(|(name, _)| *name).collect();
                let message = format!("`{name}` is no flag of Driver Verifier: {}", all.join(", "));
                place.problem("verifier", message);
            }
        }
        if !self.verifier.is_empty() && self.verified.is_empty() && self.package.is_none() {
            place.problem(
                "verifier",
                "Driver Verifier needs the name of a driver: verified",
            );
        }
    }
}

fn numbers<T: PartialOrd + std::fmt::Display>(
    place: &mut Place<'_>,
    key: &str,
    value: Option<T>,
    range: &std::ops::RangeInclusive<T>,
) {
    if let Some(value) = value.filter(|value| !range.contains(value)) {
        let (least, most) = (range.start(), range.end());
        place.problem(key, format!("{key} = {value}: expected {least} to {most}"));
    }
}

//! `[windows]` of a guest file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::course::{Job, Limits, Order};
use super::{FOLDER, SCRIPT, SCRIPT_AT};
use crate::guest::file::{Place, Section};
use crate::log::driver::{Pattern, Patterns};
use crate::machine::{Firmware, Hotplug, Installed};

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

/// A UEFI firmware in flash memory.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UefiFile {
    /// The code, such as `OVMF_CODE.fd`.
    pub code: PathBuf,
    /// The variables that it begins with, such as `OVMF_VARS.fd`.
    pub variables: Option<PathBuf>,
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
    fn all(&self) -> [(&'static str, Option<f64>, u64); 7] {
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

/// The driver package can't be read.
#[derive(Debug, thiserror::Error)]
pub enum WindowsFileError {
    /// The system refuses.
    #[error("{} can't be read", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no package.
    #[error("{}: {why}", path.display())]
    Package {
        /// The folder.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// Driver Verifier's flags.
const FLAGS: &[(&str, u32)] = &[
    ("special-pool", 0x1),
    ("force-irql", 0x2),
    ("low-resources", 0x4),
    ("pool-tracking", 0x8),
    ("io", 0x10),
    ("deadlock", 0x20),
    ("dma", 0x80),
    ("security", 0x100),
    ("force-pending", 0x200),
    ("irp-logging", 0x400),
    ("misc", 0x800),
    ("ddi-compliance", 0x2_0000),
    ("standard", 0x2_09bb),
];

/// The least and the most memory in MiB, processors, and pace.
const MEMORY: std::ops::RangeInclusive<u32> = 16..=1 << 20;
const PROCESSORS: std::ops::RangeInclusive<u8> = 1..=64;
const PACE: std::ops::RangeInclusive<u32> = 1..=100;
/// The least and the longest limit of a stage in seconds.
const SECONDS: std::ops::RangeInclusive<f64> = 0.01..=86_400.0;
const FORMATS: &[&str] = &["qcow2", "raw", "vhdx", "vmdk"];
/// The largest file of a package in bytes: it goes over a serial port.
const MOST_FILE: u64 = 64 << 20;
/// The most files of a package.
const MOST_FILES: usize = 200;

/// A Windows that can be booted.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// Its name in reports.
    pub name: String,
    /// The machine.
    pub installed: Installed,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub processors: u8,
    /// The driver and its revision.
    pub driver: String,
    /// Rules that its driver is known to break, and why.
    pub known: BTreeMap<String, String>,
    /// What is done in it before the devices come.
    pub jobs: Vec<Job>,
    /// A driver package is among that.
    pub installs: bool,
    /// The user's program that uses the device.
    pub workload: Vec<String>,
    /// What lines of the driver's own log mean.
    pub patterns: Arc<Patterns>,
    /// The most messages of a device.
    pub message_number_limit: Option<u32>,
    /// Whether memory is kept of a crash in any case.
    pub dump: bool,
    /// How much longer than its time each step may take.
    pub pace: u32,
    /// How long each stage may take.
    pub limits: Limits,
    /// Until a driver is to give up a request that does not end.
    pub request: Duration,
}

impl Section for WindowsFile {
    fn check(&mut self, place: &mut Place<'_>) {
        match &mut self.image {
            Some(image) => place.file("image", image),
            None => place.problem("image", "a Windows needs the image of its disk"),
        }
        if let Some(firmware) = &mut self.firmware {
            place.file("firmware", &mut firmware.code);
            if let Some(variables) = &mut firmware.variables {
                place.file("firmware", variables);
            }
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

impl Windows {
    /// The Windows that a section describes, which was checked. `driver` is what it is called when the
    /// section does not say.
    ///
    /// # Errors
    /// When the driver package can't be read, or is none.
    pub fn own(name: &str, driver: &str, file: &WindowsFile) -> Result<Self, WindowsFileError> {
        let disk = file.image.clone().unwrap_or_default();
        let by_name = match disk.extension().and_then(|end| end.to_str()) {
            Some("qcow2") => "qcow2",
            _ => "raw",
        };
        let seconds = file.limits.all().map(|(_, limit, default)| {
            limit.map_or(Duration::from_secs(default), Duration::from_secs_f64)
        });
        let [boot, ready, install, restart, device, work, request] = seconds;
        Ok(Self {
            name: name.to_owned(),
            installed: Installed {
                disk,
                format: file.format.clone().unwrap_or_else(|| by_name.to_owned()),
                keeps: false,
                firmware: file.firmware.as_ref().map(|firmware| Firmware {
                    code: firmware.code.clone(),
                    variables: firmware.variables.clone(),
                }),
                tpm: file.tpm.clone(),
                cpu_flags: file.cpu.clone(),
                hotplug: file.hotplug,
                viewer: false,
            },
            memory_mib: file.memory.unwrap_or(4096),
            processors: file.processors.unwrap_or(2),
            driver: file.driver.clone().unwrap_or_else(|| driver.to_owned()),
            known: BTreeMap::new(),
            jobs: file.jobs()?,
            installs: file.package.is_some(),
            workload: file.workload.clone(),
            patterns: Arc::new(file.patterns()),
            message_number_limit: file.message_number_limit,
            dump: file.dump,
            pace: file.pace.unwrap_or(6),
            request,
            limits: Limits {
                boot,
                ready,
                install,
                restart,
                device,
                work,
            },
        })
    }
}

impl Windows {
    /// The same system, told to hand out no messages at all.
    pub fn without_messages(&self) -> Self {
        let mut without = self.clone();
        let job = forbidding_messages();
        if !without.jobs.contains(&job) {
            without.jobs.push(job);
        }
        without
    }
}

/// Windows uses no messages when it was started again.
fn forbidding_messages() -> Job {
    let args = ["/set", "msi", "forcedisable"];
    let mut job = run("forbidding messages", "bcdedit.exe", &args);
    job.restarts = true;
    job
}

impl WindowsFile {
    /// The patterns of the driver's log, which were checked.
    fn patterns(&self) -> Patterns {
        let each = self.log.iter();
        let known = each.filter_map(|entry| Pattern::new(&entry.line, &entry.means).ok());
        Patterns::new(known.collect())
    }

    /// What is done in the guest before the devices come.
    fn jobs(&self) -> Result<Vec<Job>, WindowsFileError> {
        let mut jobs = vec![
            run(
                "making a folder",
                "cmd.exe",
                &["/c", &format!("if not exist {FOLDER} mkdir {FOLDER}")],
            ),
            Job {
                what: "copying the harness's script".to_owned(),
                order: Order::Write {
                    path: SCRIPT_AT.to_owned(),
                    bytes: SCRIPT.as_bytes().to_vec(),
                },
                restarts: false,
            },
        ];
        let mut verified = self.verified.clone();
        if let Some(package) = &self.package {
            let files = package_files(package)?;
            let ends = |name: &str, end: &str| name.to_ascii_lowercase().ends_with(end);
            if !files.iter().any(|(name, _)| ends(name, ".inf")) {
                return Err(WindowsFileError::Package {
                    path: package.clone(),
                    why: "there is no INF in it".to_owned(),
                });
            }
            for (name, bytes) in &files {
                jobs.push(Job {
                    what: format!("copying {name}"),
                    order: Order::Write {
                        path: format!("{FOLDER}\\{name}"),
                        bytes: bytes.clone(),
                    },
                    restarts: false,
                });
            }
            let named = |end| {
                files
                    .iter()
                    .map(|(name, _)| name)
                    .filter(move |name| ends(name, end))
            };
            for certificate in named(".cer") {
                let path = format!("{FOLDER}\\{certificate}");
                for store in ["Root", "TrustedPublisher"] {
                    let what = format!("trusting {certificate} as {store}");
                    jobs.push(run(
                        &what,
                        "certutil.exe",
                        &["-addstore", "-f", store, &path],
                    ));
                }
            }
            for inf in named(".inf") {
                let path = format!("{FOLDER}\\{inf}");
                let what = format!("installing {inf}");
                jobs.push(run(
                    &what,
                    "pnputil.exe",
                    &["/add-driver", &path, "/install"],
                ));
            }
            if verified.is_empty() {
                verified = named(".sys").cloned().collect();
            }
        }
        if self.msi_forcedisable {
            jobs.push(forbidding_messages());
        }
        jobs.extend(self.verifier_job(&verified));
        Ok(jobs)
    }

    fn verifier_job(&self, verified: &[String]) -> Option<Job> {
        if self.verifier.is_empty() {
            return None;
        }
        let named = FLAGS
            .iter()
            .filter(|(name, _)| self.verifier.iter().any(|n| n == name));
        let flags = named.fold(0, |all, (_, flag)| all | flag);
        let flags = format!("{flags:#x}");
        let mut args = vec!["/flags", &flags, "/driver"];
        args.extend(verified.iter().map(String::as_str));
        let mut job = run("setting Driver Verifier", "verifier.exe", &args);
        job.restarts = true;
        Some(job)
    }
}

fn run(what: &str, program: &str, args: &[&str]) -> Job {
    Job {
        what: what.to_owned(),
        order: Order::Run {
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        },
        restarts: false,
    }
}

/// Names and contents of the files of a package, in the order of their names.
fn package_files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, WindowsFileError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| WindowsFileError::Read { path, source }
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read(folder))? {
        let entry = entry.map_err(read(folder))?;
        let path = entry.path();
        let data = entry.metadata().map_err(read(&path))?;
        if !data.is_file() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if data.len() > MOST_FILE || files.len() >= MOST_FILES {
            return Err(WindowsFileError::Package {
                path: folder.to_owned(),
                why: format!("{name}: a package is of {MOST_FILES} files of 64 MiB at most"),
            });
        }
        let bytes = std::fs::read(&path).map_err(read(&path))?;
        files.push((name, bytes));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::GuestFile;
    use crate::guest::file::What;
    use crate::scenario::Problems;

    /// A folder with an image and a package.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("package")).unwrap();
        for name in [
            "win11.qcow2",
            "package/dut.sys",
            "package/dut.inf",
            "package/test.cer",
        ] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        dir
    }

    fn read(dir: &Path, text: &str) -> Result<WindowsFile, Problems> {
        let text = format!("name = \"win11\"\nkind = \"windows\"\n[windows]\n{text}");
        let file = GuestFile::read(&dir.join("win11.toml"), &text)?;
        match file.what {
            What::Windows(windows) => Ok(*windows),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_package_is_copied_trusted_and_installed_in_this_order() {
        let dir = folder();
        let text = "image = \"win11.qcow2\"\npackage = \"package\"\nverifier = [\"dma\", \"io\"]\n\
                    msi-forcedisable = true";
        let file = read(dir.path(), text).unwrap();
        let windows = Windows::own("win11", "dut@1", &file).unwrap();
        assert_eq!(windows.installed.format, "qcow2");
        assert_eq!(windows.driver, "dut@1");
        let what: Vec<&str> = windows.jobs.iter().map(|job| job.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "making a folder",
                "copying the harness's script",
                "copying dut.inf",
                "copying dut.sys",
                "copying test.cer",
                "trusting test.cer as Root",
                "trusting test.cer as TrustedPublisher",
                "installing dut.inf",
                "forbidding messages",
                "setting Driver Verifier",
            ]
        );
        let last = windows.jobs.last().unwrap();
        let Order::Run { args, .. } = &last.order else {
            panic!("not a program");
        };
        assert_eq!(args, &["/flags", "0x90", "/driver", "dut.sys"]);
        assert!(last.restarts);
        assert_eq!(windows.without_messages(), windows);
        let file = read(dir.path(), "image = \"win11.qcow2\"").unwrap();
        let windows = Windows::own("win11", "dut@1", &file).unwrap();
        let without = windows.without_messages();
        assert_eq!(without.jobs.last().unwrap().what, "forbidding messages");
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_key() {
        let dir = folder();
        for (text, message) in [
            ("format = \"iso\"", "`iso`: expected qcow2, raw, vhdx, vmdk"),
            ("memory = 1", "memory = 1: expected 16 to 1048576"),
            (
                "driver = \"viostor\"",
                "`viostor`: expected \"driver@revision\"",
            ),
            (
                "limits = { boot = 0.0 }",
                "boot = 0: expected 0.01 to 86400 seconds",
            ),
            (
                "verifier = [\"dma\"]",
                "Driver Verifier needs the name of a driver: verified",
            ),
            (
                "log = [{ line = \"(\", means = \"line\" }]",
                "not a regular expression",
            ),
            (
                "log = [{ line = \"q(?<queue>.)\", means = \"queue-vector\" }]",
                "a line that means `queue-vector` needs the group (?<wrote>…)",
            ),
        ] {
            let Problems(all) =
                read(dir.path(), &format!("image = \"win11.qcow2\"\n{text}")).expect_err(text);
            assert_eq!(all.len(), 1, "{all:?}");
            assert!(all[0].message.contains(message), "{}", all[0].message);
        }
        let Problems(all) = read(dir.path(), "").expect_err("an image is needed");
        assert_eq!(all[0].message, "a Windows needs the image of its disk");
    }

    #[test]
    fn a_package_without_an_inf_is_none() {
        let dir = folder();
        std::fs::remove_file(dir.path().join("package/dut.inf")).unwrap();
        let text = "image = \"win11.qcow2\"\npackage = \"package\"";
        let file = read(dir.path(), text).unwrap();
        let error = Windows::own("win11", "dut@1", &file).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("package: there is no INF in it"),
            "{error}"
        );
    }
}

//! The machine that a section describes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::jobs::{WindowsFileError, forbidding_messages};
use super::section::WindowsFile;
use crate::guest::windows::course::{Job, Limits};
use crate::log::driver::Patterns;
use crate::machine::{Firmware, Installed};

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

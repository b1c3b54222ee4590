//! What is under test: the guest that `--guest` names.

mod on_linux;
mod on_windows;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use misfire_device::fault::Fault;
use misfire_device::shape::Kind;
use misfire_device::trace::Event;

use crate::guest::file::What;
use crate::guest::linux::{Image, Start};
use crate::guest::windows;
use crate::guest::{FirmwareImage, GuestFile, NT, NtDriver, OVMF, SEABIOS};
use crate::machine::cache_folder;
use crate::prepare::{PrepareError, Store};
use crate::scenario::{Action, GuestParameters, Load, Problems, Scenario, Step};
pub use on_windows::WindowsSubject;

/// The kind of the guest that is built in.
pub const REFERENCE: &str = "reference";
/// Its driver and the revision, as `expect.known` names it.
const REFERENCE_DRIVER: &str = "reference@1";
const LINUX: &str = "linux";
const FIRMWARE: &str = "firmware";
const WINDOWS: &str = "windows";

/// What is booted, and what it is called.
#[derive(Clone, Debug, Default)]
pub enum Subject {
    /// The reference guest and its driver.
    #[default]
    Reference,
    /// A driver's own image on the reference guest's model of Windows.
    Nt(Box<NtDriver>),
    /// A Linux, of a distribution or with parts of the user's own.
    Linux(Box<Image>),
    /// A firmware with a driver of its own.
    Firmware(FirmwareImage),
    /// A Windows.
    Windows(Box<WindowsSubject>),
}

/// `--guest` names none that there is.
#[derive(Debug, thiserror::Error)]
pub enum NoGuest {
    /// There is no such kind.
    #[error("no guest is called `{0}`")]
    Unknown(String),
    /// There is none of that kind yet.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The guest file is wrong.
    #[error(transparent)]
    File(#[from] Problems),
    /// What it names can't be used.
    #[error(transparent)]
    Windows(#[from] windows::WindowsFileError),
}

impl NoGuest {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some(format!(
                "the guests that are built in are called `{REFERENCE}`, `{NT}`, `{SEABIOS}` and `{OVMF}`; `misfire \
                 prepare` makes others, and a guest file, NAME.toml, describes one of your own"
            )),
            Self::File(_) | Self::Windows(_) => None,
            Self::Prepare(error) => error.help(),
        }
    }
}

impl Subject {
    /// The guest of that name: `reference`, `seabios`, `linux` with the beginning of a kernel's release, or
    /// the one that a guest file describes. A `cold` guest is booted each time.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str, cold: bool) -> Result<Self, NoGuest> {
        if name == REFERENCE {
            return Ok(Self::Reference);
        }
        if name == SEABIOS {
            return Ok(Self::Firmware(FirmwareImage::seabios()));
        }
        if name == OVMF {
            return Ok(Self::Firmware(FirmwareImage::ovmf()));
        }
        if name.ends_with(".toml") || name.contains('/') {
            return Self::own(GuestFile::load(Path::new(name))?, cold);
        }
        if name != LINUX && !name.starts_with("linux-") {
            return Err(NoGuest::Unknown(name.to_owned()));
        }
        let prepared = Store::of_user()?.find(name)?;
        Ok(Self::Linux(Box::new(Image::prepared(
            &prepared,
            start(cold)?,
        ))))
    }

    /// The guest that a file describes.
    fn own(file: GuestFile, cold: bool) -> Result<Self, NoGuest> {
        let mut subject = Self::of_file(&file, cold)?;
        match &mut subject {
            Self::Reference | Self::Nt(_) => {}
            Self::Linux(image) => image.known = file.known,
            Self::Firmware(image) => image.known = file.known,
            Self::Windows(subject) => subject.image.known = file.known,
        }
        Ok(subject)
    }

    fn of_file(file: &GuestFile, cold: bool) -> Result<Self, NoGuest> {
        let name = &file.name;
        let driver = match &file.revision {
            Some(revision) => format!("{name}@{revision}"),
            None => name.clone(),
        };
        Ok(match &file.what {
            What::Linux(linux) => {
                let image = Image::own(name, &driver, linux, &Store::of_user()?, start(cold)?)?;
                Self::Linux(Box::new(image))
            }
            What::Firmware(firmware) => {
                let image = FirmwareImage::own(name, &driver, firmware);
                Self::Firmware(image.map_err(|source| PrepareError::Os {
                    path: firmware.file.clone().unwrap_or_default(),
                    doing: "read",
                    source,
                })?)
            }
            What::Windows(windows) => {
                let image = windows::Image::own(name, &driver, windows)?;
                let states = match start(cold)? {
                    Start::Cold => None,
                    Start::Warm(folder) => Some(folder),
                };
                Self::Windows(Box::new(WindowsSubject { image, states }))
            }
        })
    }

    /// The same guest, booted each time.
    pub(super) fn booted(&self) -> Self {
        let mut subject = self.clone();
        match &mut subject {
            Self::Reference | Self::Nt(_) | Self::Firmware(_) => {}
            Self::Linux(image) => image.start = Start::Cold,
            Self::Windows(subject) => subject.states = None,
        }
        subject
    }

    /// What it is made of, in words, and what of that does not fit together.
    pub fn made_of(&self) -> (&[String], &[String]) {
        match self {
            Self::Reference | Self::Nt(_) | Self::Firmware(_) | Self::Windows(_) => (&[], &[]),
            Self::Linux(image) => (&image.made_of, &image.doubts),
        }
    }

    /// How many guests there can be at a time: a software TPM has one.
    pub(super) fn at_once(&self) -> usize {
        match self {
            Self::Windows(subject) if subject.image.installed.tpm.is_some() => 1,
            _ => usize::MAX,
        }
    }

    /// How much longer than its time each step may take.
    pub(super) fn pace(&self) -> u32 {
        match self {
            Self::Reference | Self::Nt(_) | Self::Linux(_) | Self::Firmware(_) => 1,
            Self::Windows(subject) => subject.image.pace,
        }
    }

    /// How much longer each step of a scenario may take in which a driver has to give requests up: the system
    /// says when.
    pub(super) fn gives_up(&self, scenario: &Scenario) -> Duration {
        let parameters = scenario.guest.devices.iter().chain([&scenario.guest.all]);
        let mut timeouts = parameters.map(|parameters| parameters.timeout_ms);
        match self {
            Self::Windows(subject) if timeouts.any(|time| time.is_some()) => subject.image.request,
            _ => Duration::ZERO,
        }
    }

    /// Its kind, as `expect` names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Reference => REFERENCE,
            Self::Nt(_) => NT,
            Self::Linux(_) => LINUX,
            Self::Firmware(_) => FIRMWARE,
            Self::Windows(_) => WINDOWS,
        }
    }

    /// Its name in reports and of its snapshots.
    pub fn name(&self) -> String {
        match self {
            Self::Reference => REFERENCE.to_owned(),
            Self::Nt(_) => NT.to_owned(),
            Self::Linux(image) => image.name.clone(),
            Self::Firmware(image) => image.name.clone(),
            Self::Windows(subject) => subject.image.name.clone(),
        }
    }

    /// Its driver and the revision of it, as `expect.known` names it. Some guests say in a run's `events` which it is.
    pub fn driver(&self, events: &[Event]) -> Option<String> {
        match self {
            Self::Reference => Some(REFERENCE_DRIVER.to_owned()),
            Self::Nt(_) => None,
            Self::Linux(image) => Some(image.driver.clone()),
            Self::Firmware(image) => Some(image.driver(events)),
            Self::Windows(subject) => Some(subject.image.driver.clone()),
        }
    }

    /// Rules that its driver is known to break wherever it can, and why.
    pub fn known(&self) -> BTreeMap<String, String> {
        match self {
            Self::Reference | Self::Nt(_) => BTreeMap::new(),
            Self::Linux(image) => image.known.clone(),
            Self::Firmware(image) => image.known.clone(),
            Self::Windows(subject) => subject.image.known.clone(),
        }
    }

    /// Why a scenario is not meant for this guest, if it isn't.
    pub fn skips(&self, scenario: &Scenario) -> Option<String> {
        if let Some(reason) = &scenario.expect.of(self.kind()).skip {
            return Some(reason.clone());
        }
        match self {
            Self::Reference => None,
            Self::Nt(driver) => driver.unsuited(scenario),
            Self::Linux(_) => on_linux::skips(scenario).map(str::to_owned),
            Self::Firmware(image) if image.is_uefi() => uefi_skips(scenario).map(str::to_owned),
            Self::Firmware(_) => bios_skips(scenario).map(str::to_owned),
            Self::Windows(subject) => {
                on_windows::skips(scenario, !subject.image.workload.is_empty()).map(str::to_owned)
            }
        }
    }

    /// The table that its snapshots are in together with those of other guests, if they are: kernels of a distribution,
    /// and revisions of a firmware, are there to be compared.
    pub(super) fn shares_snapshots(&self) -> Option<&'static str> {
        match self {
            Self::Linux(image) if image.is_series => Some("linux.snap"),
            Self::Nt(_) => Some("nt.snap"),
            Self::Firmware(image) if image.is_seabios() => Some("firmware.snap"),
            _ => None,
        }
    }

    /// What its lines in such a table are called.
    pub(super) fn snapshot_name(&self, events: &[Event]) -> String {
        match self {
            Self::Nt(driver) => driver.snapshots().unwrap_or(NT).to_owned(),
            Self::Firmware(image) => image.driver(events).replace('@', "-"),
            _ => self.name(),
        }
    }

    /// Whether what has no snapshot is right all the same: a driver that has come from anywhere.
    pub(super) fn may_lack_snapshots(&self) -> bool {
        matches!(self, Self::Nt(_))
    }

    /// Whether the snapshots beside the scenarios are of runs of this guest.
    pub fn has_snapshots(&self) -> bool {
        match self {
            Self::Windows(_) => false,
            Self::Nt(driver) => driver.snapshots().is_some(),
            // Which revision a machine has is its distribution's choice.
            Self::Firmware(image) => image.name != OVMF,
            Self::Reference | Self::Linux(_) => true,
        }
    }

    /// The guest's command line for a scenario.
    pub(super) fn command_line(&self, scenario: &Scenario) -> String {
        match self {
            Self::Reference => scenario.guest.command_line(),
            Self::Nt(driver) => driver.command_line(scenario),
            Self::Linux(_) | Self::Firmware(_) | Self::Windows(_) => String::new(),
        }
    }

    /// A driver's image for the guest.
    pub(super) fn image(&self) -> Option<Arc<[u8]>> {
        match self {
            Self::Reference | Self::Linux(_) | Self::Firmware(_) | Self::Windows(_) => None,
            Self::Nt(driver) => Some(driver.image()),
        }
    }
}

/// How a Linux gets to where it can be used.
fn start(cold: bool) -> Result<Start, PrepareError> {
    let folder = cache_folder().ok_or(PrepareError::NoFolder)?.join("states");
    Ok(if cold {
        Start::Cold
    } else {
        Start::Warm(folder)
    })
}

/// A cylinder of the smallest geometry that a firmware makes up: 16 heads of 63 sectors.
const LEAST_SECTORS: u64 = 16 * 63;

/// What no firmware has.
fn firmware_skips(scenario: &Scenario) -> Option<&'static str> {
    if scenario.guest.has_mistake() {
        return Some("a mistake is made by the reference guest's driver only");
    }
    if scenario.guest != GuestParameters::default() {
        return Some("its guest parameters are the reference guest's own");
    }
    let is_plug = |step: &Step| matches!(step.action, Action::Plug(..));
    if !scenario.slots().is_empty() || scenario.steps.iter().any(is_plug) {
        return Some("a firmware knows no devices that come and go");
    }
    let [device] = scenario.devices.as_slice() else {
        return Some("a firmware has one device");
    };
    let interrupts = ["irq.delay", "irq.drop", "irq.dup", "vector.", "msix."];
    let is_about = |fault: &Fault| interrupts.iter().any(|verb| fault.name().starts_with(verb));
    if device.faults.iter().any(is_about) {
        return Some("it is about interrupts, and a firmware polls");
    }
    let is_beyond_first = |step: &Step| {
        matches!(
            step.action,
            Action::Load(
                Load::Block {
                    queue: Some(1..),
                    ..
                },
                _
            )
        )
    };
    if scenario.steps.iter().any(is_beyond_first) {
        return Some("a firmware uses the first queue alone");
    }
    None
}

/// What a UEFI firmware or our application on it can't do.
fn uefi_skips(scenario: &Scenario) -> Option<&'static str> {
    if let Some(reason) = firmware_skips(scenario) {
        return Some(reason);
    }
    let kind = scenario.devices.first().map(|device| device.shape.kind);
    if !matches!(kind, Some(Kind::Block | Kind::Scsi | Kind::Net | Kind::Rng)) {
        return Some("the firmware has no driver for this kind of device");
    }
    scenario.steps.iter().find_map(|step| {
        let text = step.command()?;
        let known: &[&str] = match step.action {
            Action::Load(..) => &[
                "load read",
                "load write",
                "load mixed",
                "load verify",
                "load flush",
                "load entropy",
                "load frames",
            ],
            Action::Guest(_) => &["idle", "state"],
            _ => return None,
        };
        let is_known = known.iter().any(|known| text.starts_with(known));
        (!is_known).then_some("the firmware's protocols have nothing for this step")
    })
}

/// What a BIOS or our boot sector can't do.
fn bios_skips(scenario: &Scenario) -> Option<&'static str> {
    if let Some(reason) = firmware_skips(scenario) {
        return Some(reason);
    }
    let [device] = scenario.devices.as_slice() else {
        return None;
    };
    if device.shape.kind != Kind::Block {
        return Some("a BIOS boots from a block device");
    }
    if device.shape.file.is_some() || device.shape.backend.is_some() {
        return Some("the boot sector would have to be written to a disk that is not ours");
    }
    if device.shape.capacity < LEAST_SECTORS {
        return Some("the disk is smaller than the cylinder that a boot sector is read from");
    }
    scenario.steps.iter().find_map(|step| match &step.action {
        Action::Guest(command) => {
            let is_known = command.starts_with("idle") || command.starts_with("state");
            (!is_known).then_some("this command means nothing to a firmware")
        }
        Action::Load(Load::Block { .. }, _) => {
            let text = step.command().unwrap_or_default();
            let is_known = ["load read", "load write", "load mixed", "load verify"]
                .iter()
                .any(|known| text.starts_with(known));
            (!is_known).then_some("a firmware's disk service reads and writes, and no more")
        }
        _ => None,
    })
}

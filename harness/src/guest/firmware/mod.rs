//! A firmware whose own driver is under test: a BIOS boots our boot sector from the device, a UEFI firmware runs
//! our application, which uses the device through its protocols.
//!
//! What it prints on its debug port is the console; the boot sector and the application print there too, and take
//! their commands from a serial port.

mod application;
mod file;
mod sector;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use misfire_device::port::{Attachment, Journal};
use misfire_device::trace::{Event, What};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

pub use file::FirmwareFile;

use super::direct::memory_file;
use crate::machine::{
    self, Accel, Boot, Inherited, Machine, MachineError, MachineSpec, Next, Plugged, Qemu, Rom,
};

/// The name of QEMU's own.
pub const SEABIOS: &str = "seabios";
/// What SeaBIOS prints first, and its version behind it: `1.17.0-debian-1.17.0-1`, `rel-1.16.3-0-ga6ed6b701f0a`.
const SEABIOS_SAYS: &str = "SeaBIOS (version ";
/// The name of the UEFI firmware that this machine has.
pub const OVMF: &str = "ovmf";
/// Guest memory in MiB, of a BIOS and of a UEFI firmware.
const MEMORY_MIB: u32 = 64;
const UEFI_MEMORY_MIB: u32 = 128;
/// How long a UEFI firmware may take to the application.
const UEFI_LIMIT: Duration = Duration::from_secs(60);
/// What the application says first.
const GREETING: &str = "guest firmware";
/// What SeaBIOS prints when it has found nothing to boot.
const NOTHING_TO_BOOT: &str = "No bootable device";

/// What SeaBIOS 1.17 breaks wherever it can. Each was looked at in its source, `src/hw/virtio-pci.c` and
/// `virtio-blk.c`.
const SEABIOS_KNOWN: &[(&str, &str)] = &[
    (
        "VIO-RST-001",
        "vp_reset writes 0 and reads nothing before the next status is written",
    ),
    ("VIO-ISR-002", "the ISR status is read only to clear it"),
    (
        "VIO-CFG-004",
        "the configuration is read once, when the drive is found",
    ),
];

/// What OVMF breaks wherever it can, as edk2's `OvmfPkg/Virtio10Dxe` and `VirtioBlkDxe` have it, and traces of the
/// drivers for other devices.
const OVMF_KNOWN: &[(&str, &str)] = &[
    (
        "VIO-RST-001",
        "each driver writes 0 to device_status and reads nothing before it writes the next status",
    ),
    (
        "VIO-ISR-001",
        "no driver reads the ISR status: they poll, and the firmware leaves the line masked",
    ),
    (
        "VIO-ISR-005",
        "no driver reads the ISR status: they poll, and the firmware leaves the line masked",
    ),
];

/// Where a firmware comes from.
#[derive(Clone, Debug)]
enum Source {
    /// QEMU's SeaBIOS.
    SeaBios,
    /// A BIOS.
    Bios(Arc<OwnedFd>),
    /// The UEFI firmware that this machine has.
    Ovmf,
    /// A UEFI firmware: its code, and the variables that it begins with.
    Uefi(Arc<OwnedFd>, Option<Arc<OwnedFd>>),
}

/// A firmware.
#[derive(Clone, Debug)]
pub struct FirmwareImage {
    /// Its name in reports and of its snapshots.
    pub name: String,
    /// Its driver, as `expect.known` has it.
    pub driver: String,
    /// Rules that its driver is known to break, and why.
    pub known: BTreeMap<String, String>,
    nothing_to_boot: String,
    source: Source,
}

/// The revision of a SeaBIOS that begins with this line.
fn seabios(line: &str) -> Option<String> {
    let version = line.strip_prefix(SEABIOS_SAYS)?;
    let version = version.strip_prefix("rel-").unwrap_or(version);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    let (major, minor) = (numbers.next()?, numbers.next()?);
    (!major.is_empty() && !minor.is_empty()).then(|| format!("{SEABIOS}@{major}.{minor}"))
}

impl FirmwareImage {
    /// QEMU's SeaBIOS.
    pub fn seabios() -> Self {
        Self::built_in(SEABIOS, SEABIOS, SEABIOS_KNOWN, Source::SeaBios)
    }

    /// The UEFI firmware that this machine has.
    pub fn ovmf() -> Self {
        Self::built_in(OVMF, OVMF, OVMF_KNOWN, Source::Ovmf)
    }

    fn built_in(name: &str, driver: &str, known: &[(&str, &str)], source: Source) -> Self {
        let known = known.iter();
        Self {
            name: name.to_owned(),
            driver: driver.to_owned(),
            known: known
                .map(|(rule, why)| ((*rule).into(), (*why).into()))
                .collect(),
            nothing_to_boot: NOTHING_TO_BOOT.to_owned(),
            source,
        }
    }

    /// Its driver and the revision, as `expect.known` names it. QEMU's SeaBIOS says in `events` which one it is.
    pub fn driver(&self, events: &[Event]) -> String {
        let said = events.iter().find_map(|event| match &event.what {
            What::Log { line } => seabios(line),
            _ => None,
        });
        let said = said.filter(|_| self.is_seabios());
        said.unwrap_or_else(|| self.driver.clone())
    }

    /// Whether it is QEMU's own.
    pub fn is_seabios(&self) -> bool {
        self.driver == SEABIOS
    }

    /// Whether it runs an application, and boots no boot sector.
    pub fn is_uefi(&self) -> bool {
        matches!(self.source, Source::Ovmf | Source::Uefi(..))
    }

    /// One of the user's own. A file that changes after this does not change it.
    ///
    /// # Errors
    /// When its file can't be read.
    pub fn own(name: &str, driver: &str, file: &FirmwareFile) -> io::Result<Self> {
        let held = |path: &PathBuf| {
            let file = memory_file("misfire-firmware", &std::fs::read(path)?)?;
            Ok::<_, io::Error>(Arc::new(file))
        };
        let source = match (&file.uefi, &file.file) {
            (Some(uefi), _) => {
                let variables = uefi.variables.as_ref().map(held).transpose()?;
                Source::Uefi(held(&uefi.code)?, variables)
            }
            (None, Some(bios)) => Source::Bios(held(bios)?),
            (None, None) => Source::SeaBios,
        };
        let nothing = file.nothing_to_boot.as_deref().unwrap_or(NOTHING_TO_BOOT);
        Ok(Self {
            name: name.to_owned(),
            driver: driver.to_owned(),
            known: BTreeMap::new(),
            nothing_to_boot: nothing.to_owned(),
            source,
        })
    }

    /// What QEMU opens for it.
    fn files(&self, qemu: &Path) -> Result<Vec<(OwnedFd, Inherited)>, MachineError> {
        let using = || MachineError::os("using the firmware's file");
        let again = |file: &Arc<OwnedFd>| file.try_clone().map_err(using());
        let mut files = match &self.source {
            Source::SeaBios => Vec::new(),
            Source::Bios(file) => vec![(again(file)?, Inherited::Rom)],
            Source::Uefi(code, variables) => {
                let code = (again(code)?, Inherited::Rom);
                let variables = variables.as_ref().map(again).transpose()?;
                let variables = variables.map(|file| (file, Inherited::Variables));
                [code].into_iter().chain(variables).collect()
            }
            Source::Ovmf => {
                let found = machine::Firmware::find(qemu);
                let found = found.map_err(|looked| MachineError::NoUefi { looked })?;
                let open = |path: &Path| File::open(path).map(OwnedFd::from).map_err(using());
                let code = (open(&found.code)?, Inherited::Rom);
                let variables = found.variables.as_deref().map(open).transpose()?;
                let variables = variables.map(|file| (file, Inherited::Variables));
                [code].into_iter().chain(variables).collect()
            }
        };
        if self.is_uefi() {
            let image = application::image().ok_or(io::ErrorKind::InvalidData.into());
            let file = image.and_then(|image| memory_file("misfire-application", &image));
            let file = file.map_err(MachineError::os("making the application's file"))?;
            files.push((file, Inherited::Kernel));
        }
        Ok(files)
    }
}

/// A machine with a firmware in it.
pub struct Firmware {
    machine: Machine,
    journal: Arc<Journal>,
    commands: UnixStream,
    nothing_to_boot: String,
    /// It runs an application, which takes commands as they are.
    is_uefi: bool,
    /// Size of its disk in sectors.
    sectors: u64,
    /// Lines that came before somebody asked for them, or that the harness says for a guest that can't: it has
    /// nothing to boot.
    own_lines: VecDeque<String>,
    has_nothing: bool,
    left: bool,
}

impl std::fmt::Debug for Firmware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Firmware")
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

impl Firmware {
    /// What QEMU is to be told for a firmware with `devices`.
    pub fn spec(
        qemu: &Qemu,
        accel: Accel,
        image: &FirmwareImage,
        devices: Vec<Attachment>,
    ) -> MachineSpec {
        let rom = match &image.source {
            Source::SeaBios => Rom::SeaBios,
            Source::Bios(_) => Rom::Bios,
            Source::Ovmf => Rom::Uefi { variables: true },
            Source::Uefi(_, variables) => Rom::Uefi {
                variables: variables.is_some(),
            },
        };
        MachineSpec {
            qemu: qemu.program.clone(),
            accel,
            boot: Boot::Firmware(rom),
            memory_mib: if image.is_uefi() {
                UEFI_MEMORY_MIB
            } else {
                MEMORY_MIB
            },
            processors: 1,
            append: String::new(),
            devices,
            image: None,
            slots: std::collections::BTreeSet::new(),
            plugged: Plugged::AtStart,
            installed: None,
        }
    }

    /// Makes the disk that it boots from: the boot sector, and nothing behind it.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn disk(path: &Path, sectors: u64) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(&sector::sector())?;
        file.set_len(sectors.saturating_mul(sector::SECTOR as u64))
    }

    /// Starts a machine; a UEFI firmware is waited for until it runs the application. It is killed after `limit`.
    /// `sectors` is the size of its disk.
    ///
    /// # Errors
    /// When the operating system refuses, there is no such firmware, or QEMU fails.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub async fn boot(
        image: &FirmwareImage,
        spec: &MachineSpec,
        sectors: u64,
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, MachineError> {
        let is_uefi = image.is_uefi();
        let more = if is_uefi { UEFI_LIMIT } else { Duration::ZERO };
        let (files, limit) = (image.files(&spec.qemu)?, limit + more);
        let mut machine = Machine::launch(spec, files, Arc::clone(&journal), limit)?;
        let commands = machine
            .take_agent()
            .ok_or(io::ErrorKind::NotConnected.into())
            .and_then(|stream| {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)
            })
            .map_err(MachineError::os("using the serial port's socket"))?;
        let mut guest = Self {
            machine,
            journal,
            commands,
            nothing_to_boot: image.nothing_to_boot.clone(),
            is_uefi,
            sectors,
            own_lines: VecDeque::new(),
            has_nothing: false,
            left: false,
        };
        if is_uefi {
            guest.run().await?;
        }
        Ok(guest)
    }

    /// Waits for the application, and has it look at the device. Whoever hangs before that never answers.
    async fn run(&mut self) -> Result<(), MachineError> {
        let deadline = Instant::now() + UEFI_LIMIT;
        let awaited = "the firmware's application";
        while let Next::Line(line) = self.machine.next(awaited, deadline).await? {
            let is_there = line.contains(GREETING);
            self.own_lines.push_back(line);
            if is_there {
                break;
            }
        }
        self.say("look").await;
        Ok(())
    }

    /// The machine, for its control channel.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Gives the boot sector a command as the reference guest's console takes it. One that means nothing to it
    /// is answered as such.
    pub async fn say(&mut self, command: &str) {
        if self.has_nothing {
            let verb = command.split(' ').next().unwrap_or_default();
            self.left = verb == "exit";
            self.speak(&format!("done failed {verb} reason=no-device"));
            return;
        }
        let bytes = if self.is_uefi {
            format!("{command}\n").into_bytes()
        } else {
            words::bytes(command, self.sectors)
        };
        // A guest that is gone does not hear it, which `next` tells.
        let _ = self.commands.write_all(&bytes).await;
    }

    /// The next line of the guest; see [`Machine::next`].
    ///
    /// # Errors
    /// When QEMU fails.
    pub async fn next(&mut self, awaited: &str, deadline: Instant) -> Result<Next, MachineError> {
        if let Some(line) = self.own_lines.pop_front() {
            return Ok(Next::Line(line));
        }
        if self.left {
            return Ok(Next::Left(0));
        }
        let next = self.machine.next(awaited, deadline).await?;
        if let Next::Line(line) = &next
            && !self.has_nothing
            && !self.is_uefi
            && line.contains(&self.nothing_to_boot)
        {
            self.has_nothing = true;
            self.speak("guest firmware 1");
            self.speak("dev 0 failed status=0x0 nothing-to-boot");
            self.speak("ready");
        }
        Ok(next)
    }

    /// Says a line that the guest can't say for itself.
    fn speak(&mut self, text: &str) {
        let line = format!("MISFIRE: {text}");
        self.journal.record(What::Log { line: line.clone() });
        self.own_lines.push_back(line);
    }

    /// Ends the machine, by force if it is still there.
    ///
    /// # Errors
    /// When the operating system can't tell how it ended.
    pub async fn end(self) -> Result<(), MachineError> {
        self.machine.end().await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seabios_says_which_revision_it_is() {
        for (line, expected) in [
            (
                "SeaBIOS (version 1.17.0-debian-1.17.0-1~bpo13+1)",
                Some("seabios@1.17"),
            ),
            (
                "SeaBIOS (version rel-1.16.3-0-ga6ed6b701f0a-prebuilt.qemu.org)",
                Some("seabios@1.16"),
            ),
            ("SeaBIOS (version )", None),
            ("SeaBIOS (version 2)", None),
            ("Running on QEMU (q35)", None),
        ] {
            assert_eq!(seabios(line).as_deref(), expected, "{line}");
        }
    }
}

//! A firmware whose own driver is under test: it boots our boot sector from the device.
//!
//! What it prints on its debug port is the console; the boot sector prints there too, and takes its
//! commands from the first serial port.

mod file;
mod sector;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use misfire_device::port::{Attachment, Journal};
use misfire_device::trace::What;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

pub use file::FirmwareFile;

use super::direct::memory_file;
use crate::machine::{
    Accel, Boot, Inherited, Machine, MachineError, MachineSpec, Next, Plugged, Qemu,
};

/// The name of QEMU's own.
pub const SEABIOS: &str = "seabios";
/// Its driver, as `expect.known` has it.
const SEABIOS_DRIVER: &str = "seabios@1.17";
/// Guest memory in MiB.
const MEMORY_MIB: u32 = 64;
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
    /// `None`: QEMU's SeaBIOS.
    file: Option<Arc<OwnedFd>>,
}

impl FirmwareImage {
    /// QEMU's SeaBIOS.
    pub fn seabios() -> Self {
        Self {
            name: SEABIOS.to_owned(),
            driver: SEABIOS_DRIVER.to_owned(),
            known: SEABIOS_KNOWN
                .iter()
                .map(|(rule, why)| ((*rule).into(), (*why).into()))
                .collect(),
            nothing_to_boot: NOTHING_TO_BOOT.to_owned(),
            file: None,
        }
    }

    /// One of the user's own. A file that changes after this does not change it.
    ///
    /// # Errors
    /// When its file can't be read.
    pub fn own(name: &str, driver: &str, file: &FirmwareFile) -> io::Result<Self> {
        let held =
            |path: &std::path::PathBuf| memory_file("misfire-firmware", &std::fs::read(path)?);
        let nothing = file.nothing_to_boot.as_deref().unwrap_or(NOTHING_TO_BOOT);
        Ok(Self {
            name: name.to_owned(),
            driver: driver.to_owned(),
            known: BTreeMap::new(),
            nothing_to_boot: nothing.to_owned(),
            file: file.file.as_ref().map(held).transpose()?.map(Arc::new),
        })
    }
}

/// A machine with a firmware in it.
pub struct Firmware {
    machine: Machine,
    journal: Arc<Journal>,
    commands: UnixStream,
    nothing_to_boot: String,
    /// Size of its disk in sectors.
    sectors: u64,
    /// Lines that the harness says for a guest that can't: it has nothing to boot.
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
        MachineSpec {
            qemu: qemu.program.clone(),
            accel,
            boot: Boot::Firmware {
                own: image.file.is_some(),
            },
            memory_mib: MEMORY_MIB,
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

    /// Starts a machine and waits for nothing. It is killed after `limit`. `sectors` is the size of its disk.
    ///
    /// # Errors
    /// When the operating system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub fn boot(
        image: &FirmwareImage,
        spec: &MachineSpec,
        sectors: u64,
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, MachineError> {
        let open = MachineError::os("using the firmware's file");
        let file = image.file.as_ref().map(|file| file.try_clone());
        let file = file.transpose().map_err(open)?;
        let files = file
            .into_iter()
            .map(|file| (file, Inherited::Rom))
            .collect();
        let mut machine = Machine::launch(spec, files, Arc::clone(&journal), limit)?;
        let commands = machine
            .take_agent()
            .ok_or(io::ErrorKind::NotConnected.into())
            .and_then(|stream| {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)
            })
            .map_err(MachineError::os("using the serial port's socket"))?;
        Ok(Self {
            machine,
            journal,
            commands,
            nothing_to_boot: image.nothing_to_boot.clone(),
            sectors,
            own_lines: VecDeque::new(),
            has_nothing: false,
            left: false,
        })
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
        // A guest that is gone does not hear it, which `next` tells.
        let _ = self
            .commands
            .write_all(&words::bytes(command, self.sectors))
            .await;
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

//! The reference guest: a kernel that acts as Windows does where interrupts are concerned.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use misfire_device::port::{Attachment, Journal};

use super::direct::{memory_file, rom_file, start_file};
use super::heard::{Heard, Silence};
use crate::log::{Done, MachineLine};
use crate::machine::{
    Accel, Boot, Inherited, Machine, MachineError, MachineSpec, Next, Plugged, Qemu,
};

/// Guest memory in MiB.
pub const MEMORY_MIB: u32 = 64;
/// An ELF file with a PVH entry.
pub(super) const KERNEL: &[u8] = include_bytes!(env!("MISFIRE_GUEST"));

/// A machine with the reference guest in it.
#[derive(Debug)]
pub struct Reference {
    machine: Machine,
}

/// What the guest said until it was ready: its devices and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The lines for the harness, in order.
    pub lines: Vec<MachineLine>,
}

impl Reference {
    /// What QEMU is to be told for this guest with `parameters` and `devices`.
    pub fn spec(
        qemu: &Qemu,
        accel: Accel,
        devices: Vec<Attachment>,
        parameters: &str,
    ) -> MachineSpec {
        MachineSpec {
            qemu: qemu.program.clone(),
            accel,
            boot: qemu.boot(),
            memory_mib: MEMORY_MIB,
            processors: 1,
            append: parameters.to_owned(),
            devices,
            image: None,
            slots: BTreeSet::new(),
            plugged: Plugged::AtStart,
            installed: None,
        }
    }

    /// Starts a machine with this guest and waits for nothing. It is killed after `limit`.
    ///
    /// # Errors
    /// When the operating system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub fn boot(
        qemu: &Qemu,
        accel: Accel,
        devices: Vec<Attachment>,
        parameters: &str,
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, MachineError> {
        let spec = Self::spec(qemu, accel, devices, parameters);
        Self::boot_spec(&spec, journal, limit)
    }

    /// Starts the machine of `spec`, which [`Reference::spec`] made, and waits for nothing. It is killed
    /// after `limit`.
    ///
    /// # Errors
    /// When the operating system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub fn boot_spec(
        spec: &MachineSpec,
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, MachineError> {
        let files = Self::files(spec).map_err(MachineError::os("writing the kernel to memory"))?;
        let machine = Machine::launch(spec, files, journal, limit)?;
        Ok(Self { machine })
    }

    /// The files that QEMU inherits for `spec`: the kernel, and what starts it.
    ///
    /// # Errors
    /// When the operating system gives no file in memory.
    pub fn files(spec: &MachineSpec) -> io::Result<Vec<(OwnedFd, Inherited)>> {
        static KERNEL_FILE: OnceLock<OwnedFd> = OnceLock::new();
        static ROM_FILE: OnceLock<OwnedFd> = OnceLock::new();
        let kernel = shared(&KERNEL_FILE, || memory_file("misfire-guest", KERNEL))?;
        let mut files = vec![(kernel, Inherited::Kernel)];
        if spec.boot == Boot::Direct {
            files.push((shared(&ROM_FILE, rom_file)?, Inherited::Rom));
            files.push((start_file(KERNEL, &spec.append)?, Inherited::Start));
        }
        if let Some(image) = &spec.image {
            files.push((memory_file("misfire-image", image)?, Inherited::Image));
        }
        Ok(files)
    }

    /// Changes when the kernel changes.
    pub fn digest() -> u64 {
        let mut hasher = DefaultHasher::new();
        KERNEL.hash(&mut hasher);
        hasher.finish()
    }

    /// The machine, for its control channel.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Waits until the guest reads commands.
    ///
    /// # Errors
    /// When QEMU fails; see [`Machine::next`].
    pub async fn ready(&mut self, limit: Duration) -> Result<Heard<Ready>, MachineError> {
        let mut ready = Ready::default();
        let heard = self
            .until("the guest's `ready`", limit, |line| {
                let is_ready = line == MachineLine::Ready;
                ready.lines.push(line);
                is_ready.then_some(())
            })
            .await?;
        Ok(heard.map(|()| ready))
    }

    /// Gives the guest a command, such as `load read blocks=64`, and waits for its answer.
    ///
    /// # Errors
    /// When QEMU fails; see [`Machine::next`].
    pub async fn command(
        &mut self,
        command: &str,
        limit: Duration,
    ) -> Result<Heard<Done>, MachineError> {
        self.machine.say(command).await;
        self.until(
            &format!("the answer to `{command}`"),
            limit,
            |line| match line {
                MachineLine::Done(done) => Some(done),
                _ => None,
            },
        )
        .await
    }

    /// Has the guest stop its drivers and end the machine; the answer is QEMU's exit status.
    ///
    /// # Errors
    /// When QEMU fails; see [`Machine::next`].
    pub async fn exit(&mut self, limit: Duration) -> Result<Heard<i32>, MachineError> {
        self.machine.say("exit").await;
        let heard = self
            .until("the end of the machine", limit, |_| None::<i32>)
            .await?;
        Ok(match heard {
            Heard::Left(status) => Heard::Answer(status),
            other => other,
        })
    }

    /// Ends the machine, by force if it is still there.
    ///
    /// # Errors
    /// When the operating system can't tell how it ended.
    pub async fn end(self) -> Result<(), MachineError> {
        self.machine.end().await.map(|_| ())
    }

    /// Takes lines until `wanted` finds what it wants in one that is meant for the harness.
    async fn until<T>(
        &mut self,
        awaited: &str,
        limit: Duration,
        mut wanted: impl FnMut(MachineLine) -> Option<T>,
    ) -> Result<Heard<T>, MachineError> {
        let deadline = Instant::now() + limit;
        loop {
            let line = match self.machine.next(awaited, deadline).await? {
                Next::Line(line) => line,
                Next::Silent => {
                    return Ok(Heard::Silent(Silence {
                        awaited: awaited.to_owned(),
                        limit,
                        last: self.machine.last_lines(),
                    }));
                }
                Next::Left(status) => return Ok(Heard::Left(status)),
            };
            match MachineLine::parse(&line) {
                Some(MachineLine::Crash(crash)) => return Ok(Heard::Crashed(crash)),
                Some(MachineLine::Error(text)) => return Ok(Heard::Error(text)),
                Some(line) => {
                    if let Some(found) = wanted(line) {
                        return Ok(Heard::Answer(found));
                    }
                }
                None => (),
            }
        }
    }
}

/// A file that is written once.
fn shared(
    file: &OnceLock<OwnedFd>,
    make: impl FnOnce() -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    if let Some(file) = file.get() {
        return file.try_clone();
    }
    let made = make()?;
    file.get_or_init(|| made).try_clone()
}

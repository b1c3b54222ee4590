//! A Linux of a distribution: drivers that others wrote.
//!
//! QEMU's guest agent, on a serial port, gets a program of ours into the guest, starts it, and tells it what happens
//! to slots. What a scenario does is told to that program on the console, and what it answers comes as lines of
//! the kernel's log. Its devices are put in when it has booted; a guest that was booted once is restored from then on.

mod file;
mod image;
mod warm;
mod words;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use misfire_device::port::{Attachment, Journal};
use serde::{Deserialize, Serialize};
use tokio::select;
use tokio::sync::mpsc;

pub use file::LinuxFile;
pub use image::{Image, Start};
pub use words::Device;

use super::Slot;
use super::agent::{Agent, AgentError};
use super::warm::{Kept, disk};
use crate::log::MachineLine;
use crate::machine::{
    Accel, Boot, Inherited, Machine, MachineError, MachineSpec, Next, Plugged, Qemu,
};
use crate::prepare::LateModule;

/// What is done before any scenario, and where that lies in the guest.
const COMMANDS: &str = include_str!("../../../guests/linux/commands.sh");
/// The same before that in a system on a disk.
const SYSTEM: &str = include_str!("../../../guests/linux/system.sh");
const COMMANDS_AT: &str = "/run/commands.sh";
/// Where that finds the names of modules of the user's own, each with those that it needs.
const MODULES_AT: &str = "/run/modules";
/// The program that does what the guest is told.
const HAND: &[u8] = include_bytes!(env!("MISFIRE_HAND"));
const HAND_AT: &str = "/run/hand";
/// The pipe through which it is told what happens to slots, whatever it is doing.
const SLOTS_AT: &str = "/run/slots";
/// What the guest says when its agent listens.
const BOOTED: &str = "the agent listens";
/// How long a boot may take.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// The same of a whole system, on a processor that is emulated.
const SYSTEM_LIMIT: Duration = Duration::from_secs(600);
/// How long the agent may take for one call in a guest that has booted.
const AGENT_LIMIT: Duration = Duration::from_secs(60);

/// The agent's handles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pipes {
    /// Of the pipe for what happens to slots.
    slots: i64,
}

/// A machine with Linux in it.
#[derive(Debug)]
pub struct Linux {
    machine: Machine,
    /// What is told through the agent, line by line.
    slots: mpsc::UnboundedSender<String>,
    devices: Vec<Device>,
    /// What lies under its disk.
    _state: Option<Kept<PathBuf>>,
}

/// The same before it is given any device.
struct Bare {
    machine: Machine,
    agent: Agent,
}

/// A Linux guest can't be got to where it can be used.
#[derive(Debug, thiserror::Error)]
pub enum LinuxError {
    /// The machine could not.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Its agent could not.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// It did not boot.
    #[error("the guest did not boot: {0}")]
    Boot(String),
}

impl Linux {
    /// What QEMU is to be told for a guest with `devices`.
    pub fn spec(qemu: &Qemu, accel: Accel, image: &Image, devices: Vec<Attachment>) -> MachineSpec {
        MachineSpec {
            qemu: qemu.program.clone(),
            accel,
            boot: if image.boots_itself() {
                Boot::Loader
            } else {
                Boot::Agent
            },
            memory_mib: image.memory_mib,
            processors: 1,
            append: image.append.clone(),
            slots: (0..devices.len()).collect(),
            devices,
            image: None,
            plugged: match image.start {
                Start::Cold => Plugged::Later,
                Start::Warm(_) => Plugged::Restored,
            },
            installed: image.disk.clone(),
        }
    }

    /// Starts a machine, gets the guest to where its agent answers, and puts the devices in. It is killed
    /// `limit` after that.
    ///
    /// # Errors
    /// When the machine or the agent fails, or the guest does not boot.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub async fn boot(
        qemu: &Qemu,
        image: &Image,
        spec: &MachineSpec,
        devices: Vec<Device>,
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, LinuxError> {
        let limit = limit + longest(image);
        let mut below = None;
        let (bare, pipes) = match &image.start {
            Start::Cold => {
                let mut bare = Bare::launch(image, spec, journal, limit)?;
                let pipes = bare.booted(image).await?;
                bare.machine.plug(spec).await?;
                (bare, pipes)
            }
            Start::Warm(folder) if image.disk.is_some() => {
                let state = warm::on_disk(qemu, image, spec, folder).await?;
                let mut spec = spec.clone();
                if let Some(installed) = &mut spec.installed {
                    *installed = disk::laid_over(installed, &state.beside);
                }
                let mut bare = Bare::restore(image, &spec, journal, limit, &state.memory).await?;
                bare.machine.plug(&spec).await?;
                let goes_on = bare.machine.qmp().go_on().await;
                goes_on.map_err(MachineError::from)?;
                let slots = bare.agent.open_file(SLOTS_AT, BOOT_LIMIT).await?;
                below = Some(state);
                (bare, Pipes { slots })
            }
            Start::Warm(folder) => {
                let state = warm::state(qemu, image, spec, folder).await?;
                let mut bare = Bare::restore(image, spec, journal, limit, &state.memory).await?;
                bare.machine.plug(spec).await?;
                let goes_on = bare.machine.qmp().go_on().await;
                goes_on.map_err(MachineError::from)?;
                (bare, state.beside)
            }
        };
        let (slots, told) = mpsc::unbounded_channel();
        tokio::spawn(tell(bare.agent, pipes.slots, told));
        let mut linux = Self {
            machine: bare.machine,
            slots,
            devices,
            _state: below,
        };
        let starts = words::starts(&linux.devices);
        linux.machine.say(&starts).await;
        Ok(linux)
    }

    /// The machine, for its control channel.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Whether a command means something to a Linux guest.
    pub fn knows(command: &str) -> bool {
        words::told(command, &[]).is_some()
    }

    /// Gives the guest a command as the reference guest's console takes it. One that means nothing to it is
    /// answered as such.
    pub async fn say(&mut self, command: &str) {
        let line = words::told(command, &self.devices).unwrap_or_else(|| {
            let verb = command.split(' ').next().unwrap_or_default();
            format!("say done failed {verb} reason=unknown")
        });
        self.machine.say(&line).await;
    }

    /// Tells the guest what happens to a slot, whatever it is doing. One that does not obey is found out by what it
    /// does not say.
    pub fn slot(&self, dev: u8, happens: Slot) {
        let device = self.devices.get(usize::from(dev));
        let queues = device.map_or(1, |device| device.queues);
        let line = format!("{}\n", words::slot(dev, happens, queues));
        // A task that is gone tells nothing.
        let _ = self.slots.send(line);
    }

    /// The next line of the guest; see [`Machine::next`].
    ///
    /// # Errors
    /// When QEMU fails.
    pub async fn next(&mut self, awaited: &str, deadline: Instant) -> Result<Next, MachineError> {
        self.machine.next(awaited, deadline).await
    }

    /// Ends the machine, by force if it is still there.
    ///
    /// # Errors
    /// When the operating system can't tell how it ended.
    pub async fn end(self) -> Result<(), MachineError> {
        self.machine.end().await.map(|_| ())
    }
}

/// How long the way to where the guest can be used may take.
fn longest(image: &Image) -> Duration {
    match image.disk {
        Some(_) => SYSTEM_LIMIT + BOOT_LIMIT,
        None => BOOT_LIMIT,
    }
}

/// Tells the guest what happens to slots, until nothing does any more.
async fn tell(mut agent: Agent, pipe: i64, mut told: mpsc::UnboundedReceiver<String>) {
    while let Some(line) = told.recv().await {
        if let Err(error) = agent.send_to(pipe, line.as_bytes(), AGENT_LIMIT).await {
            tracing::debug!("{error}");
        }
    }
}

impl Bare {
    fn launch(
        image: &Image,
        spec: &MachineSpec,
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, LinuxError> {
        let open = |(file, which, what): (io::Result<OwnedFd>, Inherited, &str)| {
            let doing = format!("opening the {what} of {}", image.name);
            let file = file.map_err(MachineError::os(&doing))?;
            Ok((file, which))
        };
        let files = image.files().into_iter().map(open);
        let files = files.collect::<Result<_, MachineError>>()?;
        let mut machine = Machine::launch(spec, files, journal, limit)?;
        let agent = machine
            .take_agent()
            .ok_or(std::io::ErrorKind::NotConnected.into())
            .and_then(|stream| Agent::open(stream, None))
            .map_err(MachineError::os("using the agent's socket"))?;
        Ok(Self { machine, agent })
    }

    /// A machine with the guest that `memory` holds, which stands still.
    async fn restore(
        image: &Image,
        spec: &MachineSpec,
        journal: Arc<Journal>,
        limit: Duration,
        memory: &Path,
    ) -> Result<Self, LinuxError> {
        let mut bare = Self::launch(image, spec, journal, limit)?;
        bare.machine.restore(memory, BOOT_LIMIT).await?;
        bare.agent = bare.agent.restored();
        Ok(bare)
    }

    /// Waits until the agent answers, and gives the guest what it does our commands with.
    async fn booted(&mut self, image: &Image) -> Result<Pipes, LinuxError> {
        let mut commands = COMMANDS.to_owned();
        if image.disk.is_some() {
            self.answered().await?;
            self.give_modules(&image.modules).await?;
            commands.insert_str(0, SYSTEM);
        } else {
            self.until(BOOTED).await?;
            self.agent.ready(BOOT_LIMIT).await?;
        }
        let agent = &mut self.agent;
        let commands = commands.as_bytes();
        agent.write(COMMANDS_AT, commands, BOOT_LIMIT).await?;
        agent.write(HAND_AT, HAND, BOOT_LIMIT).await?;
        agent.start("/bin/sh", &[COMMANDS_AT], BOOT_LIMIT).await?;
        self.until("MISFIRE: done ok commands").await?;
        let slots = self.agent.open_file(SLOTS_AT, BOOT_LIMIT).await?;
        Ok(Pipes { slots })
    }

    /// Puts modules of the user's own into a system, to be loaded in their order.
    async fn give_modules(&mut self, modules: &[LateModule]) -> Result<(), LinuxError> {
        let mut list = String::new();
        for module in modules {
            let at = format!("/run/{}.ko", module.name);
            self.agent.write(&at, &module.bytes, AGENT_LIMIT).await?;
            list += &format!("{} {}\n", module.name, module.needs.join(" "));
        }
        if !list.is_empty() {
            let list = list.as_bytes();
            self.agent.write(MODULES_AT, list, AGENT_LIMIT).await?;
        }
        Ok(())
    }

    /// Waits until the agent of a system answers that does not say when it listens.
    async fn answered(&mut self) -> Result<(), LinuxError> {
        let deadline = Instant::now() + SYSTEM_LIMIT;
        let Self { machine, agent } = self;
        let mut ready = pin!(agent.ready(SYSTEM_LIMIT));
        loop {
            select! {
                answered = &mut ready => match answered {
                    // A QEMU that is gone has said why.
                    Err(AgentError::Channel { .. }) => {
                        machine.left("the agent's answer").await?;
                        return Err(LinuxError::Boot(machine.last_lines().join(" | ")));
                    }
                    Err(error) => {
                        let last = machine.last_lines().join(" | ");
                        return Err(LinuxError::Boot(format!("{error}; its console: {last}")));
                    }
                    Ok(()) => return Ok(()),
                },
                next = machine.next("the agent's answer", deadline) => match next? {
                    Next::Line(_) => {}
                    Next::Silent | Next::Left(_) => {
                        return Err(LinuxError::Boot(machine.last_lines().join(" | ")));
                    }
                },
            }
        }
    }

    /// Takes lines until one is `wanted`.
    async fn until(&mut self, wanted: &str) -> Result<(), LinuxError> {
        let deadline = Instant::now() + BOOT_LIMIT;
        loop {
            match self.machine.next(wanted, deadline).await? {
                Next::Line(line) if line.trim_end() == wanted => return Ok(()),
                Next::Line(line) => {
                    if let Some(MachineLine::Error(text)) = MachineLine::parse(&line) {
                        return Err(LinuxError::Boot(text));
                    }
                }
                Next::Silent | Next::Left(_) => {
                    let last = self.machine.last_lines();
                    return Err(LinuxError::Boot(last.join(" | ")));
                }
            }
        }
    }
}

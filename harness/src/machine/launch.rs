//! A running machine.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use misfire_device::port::Journal;
use misfire_device::trace::{TableEntry, What};
use tokio::time::timeout_at;

use super::argv::{argv, device_id, placed};
use super::console::Console;
use super::debugger::{Debugger, Listening};
use super::error::MachineError;
use super::line::Line;
use super::process::{Ended, Process};
use super::qmp::{Qmp, QmpError, TablePlace};
use super::spec::{Boot, Inherited, MAX_DEVICES, MachineSpec, Plugged};

/// How long a machine may take to end when its guest has left.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A QEMU with its console, its control channel and its kill timer. It is gone when this is dropped.
///
/// Console lines and what devices see have no common order: a line can be in the journal before or
/// after the register access that it tells of.
pub struct Machine {
    process: Process,
    console: Line,
    qmp: Qmp,
    journal: Arc<Journal>,
    agent: Option<UnixStream>,
    ended: Option<Ended>,
    heard: bool,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("process", &self.process)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// What comes next from a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The guest printed a line.
    Line(String),
    /// Nothing came in time.
    Silent,
    /// The guest ended the machine, with this exit status of QEMU; every line was taken.
    Left(i32),
}

impl Machine {
    /// Starts a machine and waits for nothing. It is killed after `limit`, whatever happens.
    ///
    /// `files` are what QEMU opens as [`Inherited::path`]: the kernel, and what a direct boot needs.
    ///
    /// # Errors
    /// When the operating system refuses. A QEMU that does not like its arguments is found out later,
    /// by [`Machine::next`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub fn launch(
        spec: &MachineSpec,
        files: Vec<(OwnedFd, Inherited)>,
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, MachineError> {
        Self::launch_heard(spec, files, journal, limit, &Listening::default())
    }

    /// The same, and what is to be done with what goes over its lines.
    ///
    /// # Errors
    /// As of [`Machine::launch`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub fn launch_heard(
        spec: &MachineSpec,
        files: Vec<(OwnedFd, Inherited)>,
        journal: Arc<Journal>,
        limit: Duration,
        listening: &Listening,
    ) -> Result<Self, MachineError> {
        if spec.devices.len() > MAX_DEVICES {
            return Err(MachineError::TooManyDevices(spec.devices.len()));
        }
        let pair = || UnixStream::pair().map_err(MachineError::os("making a socket"));
        let (console, its_console) = pair()?;
        let (qmp, its_qmp) = pair()?;
        let mut fds = vec![
            (its_console.into(), Inherited::Console.fd()),
            (its_qmp.into(), Inherited::Qmp.fd()),
        ];
        let agent = if spec.boot.has_agent() {
            let (agent, its_agent) = pair()?;
            fds.push((its_agent.into(), Inherited::Agent.fd()));
            Some(agent)
        } else {
            None
        };
        fds.extend(files.into_iter().map(|(file, which)| (file, which.fd())));
        let use_socket = || MachineError::os("using a socket");
        let line = if spec.boot == Boot::Disk {
            let (late, listening) = (spec.plugged == Plugged::Restored, listening.clone());
            Debugger::open(console, late, Arc::clone(&journal), listening).map(Line::Debugger)
        } else {
            Console::open(console, Arc::clone(&journal)).map(Line::Console)
        };
        let console = line.map_err(use_socket())?;
        let recording = listening.recording.clone();
        let qmp = Qmp::open_recorded(qmp, Arc::clone(&journal), recording).map_err(use_socket())?;
        let start = format!("starting `{}`", spec.qemu.display());
        let process = Process::start(&argv(spec), fds, limit).map_err(MachineError::os(&start))?;
        Ok(Self {
            process,
            console,
            qmp,
            journal,
            agent,
            ended: None,
            // A guest that is restored has printed what it had to.
            heard: spec.plugged == Plugged::Restored,
        })
    }

    /// The next line of the guest, until `deadline`; `awaited` says what for, in errors.
    ///
    /// # Errors
    /// When QEMU ended in a way that the guest did not bring about.
    pub async fn next(&mut self, awaited: &str, deadline: Instant) -> Result<Next, MachineError> {
        if self.ended.is_none() {
            match timeout_at(deadline.into(), self.console.next()).await {
                Ok(Some(line)) => {
                    self.heard = true;
                    return Ok(Next::Line(line));
                }
                Err(_) => return Ok(Next::Silent),
                // The other end is closed: QEMU is about to be gone.
                Ok(None) => (),
            }
        }
        self.left(awaited).await.map(Next::Left)
    }

    /// Waits for the end of a machine whose console is closed: QEMU's exit status.
    ///
    /// # Errors
    /// When QEMU ended in a way that the guest did not bring about.
    pub async fn left(&mut self, awaited: &str) -> Result<i32, MachineError> {
        match self.wait().await? {
            Ended::Exit(status) if self.heard => Ok(status),
            ended @ Ended::Exit(_) => Err(MachineError::Refused {
                ended,
                messages: self.process.messages(),
            }),
            ended => Err(MachineError::Died {
                ended,
                messages: self.process.messages(),
                awaited: awaited.to_owned(),
                last: self.console.last(),
            }),
        }
    }

    /// Carries the state in a file over into this machine, which was started for that.
    ///
    /// # Errors
    /// When QEMU can't; one that is gone has said why.
    pub async fn restore(&mut self, from: &Path, limit: Duration) -> Result<(), MachineError> {
        let restored = self.qmp.restore(from, limit).await;
        if let Err(QmpError::Channel { .. }) = &restored {
            self.left("its state").await?;
        }
        Ok(restored?)
    }

    /// Sends a line to the guest. A guest that is gone does not hear it, which [`Machine::next`] tells.
    pub async fn say(&mut self, line: &str) {
        self.console.say(line).await;
    }

    /// The kernel debugger at the first serial port, where the machine has one.
    pub fn debugger(&mut self) -> Option<&mut Debugger> {
        match &mut self.console {
            Line::Debugger(debugger) => Some(debugger),
            Line::Console(_) => None,
        }
    }

    /// Debugger and control channel, for whoever waits for either.
    pub fn ends(&mut self) -> (Option<&mut Debugger>, &mut Qmp) {
        match &mut self.console {
            Line::Debugger(debugger) => (Some(debugger), &mut self.qmp),
            Line::Console(_) => (None, &mut self.qmp),
        }
    }

    /// The guest was heard by who waits at [`Machine::ends`]: a QEMU that ends from here on has taken its
    /// arguments.
    pub fn was_heard(&mut self) {
        self.heard = true;
    }

    /// The last lines that were taken, oldest first.
    pub fn last_lines(&self) -> Vec<String> {
        self.console.last()
    }

    /// What QEMU wrote to its standard error, shortened in the middle.
    pub fn messages(&self) -> String {
        self.process.messages()
    }

    /// QEMU's process id.
    pub fn id(&self) -> i32 {
        self.process.id()
    }

    /// The control channel.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Reads the MSI-X table of device `dev` from outside the guest and puts it into the journal.
    ///
    /// # Errors
    /// When QEMU does not answer, or the guest gave the table no address.
    pub async fn record_msix_table(
        &mut self,
        dev: u8,
        place: TablePlace,
    ) -> Result<Vec<TableEntry>, MachineError> {
        let entries = self.qmp.msix_table(dev, place).await?;
        self.journal.record(What::MsixTable {
            dev,
            entries: entries.clone(),
        });
        Ok(entries)
    }

    /// Has the guest asked to let device `dev` go; see [`Qmp::remove_device`].
    ///
    /// # Errors
    /// When QEMU does not answer, or refuses.
    pub async fn remove_device(&mut self, dev: usize) -> Result<(), MachineError> {
        Ok(self.qmp.remove_device(device_id(dev)).await?)
    }

    /// Switches the power of a device's slot, for a guest that does not: a function without power is reset.
    ///
    /// # Errors
    /// When QEMU does not answer, or there is no slot.
    pub async fn switch_slot(&mut self, dev: u8, on: bool) -> Result<(), MachineError> {
        Ok(self.qmp.switch_slot(dev, on).await?)
    }

    /// The stream of the serial port for the guest's agent, or for commands; once.
    pub fn take_agent(&mut self) -> Option<UnixStream> {
        self.agent.take()
    }

    /// Puts every device into its slot for the first time.
    ///
    /// # Errors
    /// When QEMU does not answer, or refuses.
    pub async fn plug(&mut self, spec: &MachineSpec) -> Result<(), MachineError> {
        for (dev, attachment) in spec.devices.iter().enumerate() {
            for chardev in &attachment.chardevs {
                self.qmp.add_chardev(chardev).await?;
            }
            self.add_device(spec, dev).await?;
        }
        Ok(())
    }

    /// Puts device `dev` into its slot.
    ///
    /// # Errors
    /// When QEMU does not answer, or refuses.
    pub async fn add_device(&mut self, spec: &MachineSpec, dev: usize) -> Result<(), MachineError> {
        match spec.devices.get(dev) {
            Some(attachment) => {
                let device = placed(spec, dev, &attachment.device);
                Ok(self.qmp.add_device(device).await?)
            }
            None => Ok(()),
        }
    }

    /// Ends the machine, by force if it is still there, and waits until nothing of it is left. Lines
    /// that were not taken are in the journal then.
    ///
    /// # Errors
    /// When the operating system can't tell how it ended.
    pub async fn end(mut self) -> Result<Ended, MachineError> {
        if self.ended.is_none() {
            let ended = self.process.end().await;
            self.ended = Some(ended.map_err(MachineError::os("waiting for QEMU"))?);
        }
        while self.console.next().await.is_some() {}
        Ok(self.ended.unwrap_or(Ended::Signal(0)))
    }

    /// Waits for a process that has closed its console.
    async fn wait(&mut self) -> Result<Ended, MachineError> {
        if let Some(ended) = self.ended {
            return Ok(ended);
        }
        let waited = tokio::time::timeout(END_LIMIT, self.process.wait()).await;
        let ended = match waited {
            Ok(ended) => ended,
            Err(_) => self.process.end().await,
        }
        .map_err(MachineError::os("waiting for QEMU"))?;
        self.ended = Some(ended);
        Ok(ended)
    }
}

//! A machine that is watched while a Windows installs itself: what comes from COM1, COM2, QEMU and the screen.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use misfire_device::port::Journal;
use misfire_device::trace::What;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant as Moment;

use super::argv::{DISK, Hardware, argv};
use super::marker::Marker;
use crate::guest::agent::{Heard as Said, Prompt, Step, Talk};
use crate::log::harmless;
use crate::log::kd::{Bugcheck, Client, Event, OnBugcheck};
use crate::machine::{Ended, Inherited, MachineError, Process, Qmp, until_tpm};

/// Longer than any preparation: the end that comes whatever happens.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long QEMU may take to leave when it is asked to.
const LEAVING: Duration = Duration::from_secs(10);

/// Where QEMU has the lock that tells others of it: behind what it uses.
const LOCK: i32 = Inherited::Variables as i32 + 1;

/// What the number is made of that a PowerShell works out.
const SEED: u64 = 6;

/// What was heard of the guest.
#[derive(Debug)]
pub(super) enum Heard {
    /// The guest says how far it is.
    Marker(Marker),
    /// Its agent answered.
    Agent,
    /// Its kernel speaks to a debugger; the build, where it said so.
    Debugger(Option<u16>),
    /// It crashed.
    Crash(Box<Bugcheck>),
    /// The machine starts anew.
    Reset,
    /// The machine is gone.
    Left(Ended),
    /// Nothing for this long.
    Nothing,
}

/// A running machine.
pub(super) struct Boot {
    process: Process,
    qmp: Qmp,
    heard: mpsc::UnboundedReceiver<Heard>,
    /// Who reads the guest's ports, until they are closed and empty.
    ears: Vec<JoinHandle<()>>,
    left: Option<Ended>,
    pings: mpsc::UnboundedSender<()>,
}

impl Boot {
    /// Starts it. As long as it is there it holds `lock`, whatever becomes of us.
    pub async fn start(hardware: &Hardware, lock: Option<&File>) -> Result<Self, MachineError> {
        if let Some(tpm) = &hardware.tpm {
            until_tpm(tpm).await?;
        }
        let pair = || StdUnixStream::pair().map_err(MachineError::os("making a socket"));
        let (kd, its_kd) = pair()?;
        let (agent, its_agent) = pair()?;
        let (qmp, its_qmp) = pair()?;
        let mut fds = vec![
            (its_kd.into(), Inherited::Console.fd()),
            (its_agent.into(), Inherited::Agent.fd()),
            (its_qmp.into(), Inherited::Qmp.fd()),
        ];
        if let Some(lock) = lock {
            let lock = lock.try_clone();
            let lock = lock.map_err(MachineError::os("sharing a lock"))?;
            fds.push((lock.into(), LOCK));
        }
        let process = Process::start(&argv(hardware), fds, LONGEST)
            .map_err(MachineError::os("starting QEMU"))?;
        let (tell, heard) = mpsc::unbounded_channel();
        let events = tell.clone();
        let journal = Journal::new(Box::new(move |event| {
            if let What::Qmp { event, .. } = &event.what
                && event == "RESET"
            {
                // Nobody may listen any more.
                let _ = events.send(Heard::Reset);
            }
        }));
        let using = MachineError::os("using a socket");
        let open = || -> io::Result<_> {
            let qmp = Qmp::open(qmp, journal)?;
            for stream in [&kd, &agent] {
                stream.set_nonblocking(true)?;
            }
            let (pings, asked) = mpsc::unbounded_channel();
            let agent = listen(UnixStream::from_std(agent)?, asked, tell.clone());
            let debugger = debug(UnixStream::from_std(kd)?, tell);
            let ears = vec![tokio::spawn(agent), tokio::spawn(debugger)];
            Ok((qmp, ears, pings))
        };
        let (qmp, ears, pings) = open().map_err(using)?;
        Ok(Self {
            process,
            qmp,
            heard,
            ears,
            left: None,
            pings,
        })
    }

    /// What comes next, or nothing until `limit`. Nothing is lost when the future is dropped.
    pub async fn next(&mut self, limit: Moment) -> Heard {
        if self.left.is_none() {
            tokio::select! {
                biased;
                Some(heard) = self.heard.recv() => return heard,
                ended = self.process.wait() => {
                    self.left = Some(ended.unwrap_or(Ended::Exit(-1)));
                }
                () = tokio::time::sleep_until(limit) => return Heard::Nothing,
            }
        }
        // What it said before it left comes before that it has.
        while let Some(ear) = self.ears.last_mut() {
            let _ = tokio::time::timeout(LEAVING, ear).await;
            self.ears.pop();
        }
        let ended = self.left.unwrap_or(Ended::Exit(-1));
        self.heard.try_recv().unwrap_or(Heard::Left(ended))
    }

    /// What QEMU wrote to its standard error.
    pub fn messages(&self) -> String {
        self.process.messages()
    }

    /// Presses a key, which does nothing where nobody waits for one.
    pub async fn press(&mut self, key: &str) {
        let _ = self.qmp.monitor(format!("sendkey {key}")).await;
    }

    /// Presses the power button, which a system that listens takes for a request to shut down.
    pub async fn press_power(&mut self) {
        let _ = self.qmp.monitor("system_powerdown".into()).await;
    }

    /// The screen as a picture at `path`; false: there is none.
    pub async fn picture(&mut self, path: &Path) -> bool {
        // The monitor has no other way to say a path with blanks.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = path
            .display()
            .to_string()
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        let partial = format!("{name}.partial");
        let line = format!("screendump \"{partial}\" -f png");
        let made = self
            .qmp
            .monitor(line)
            .await
            .is_ok_and(|said| said.trim().is_empty());
        let mut from = path.as_os_str().to_owned();
        from.push(".partial");
        made && std::fs::rename(from, &path).is_ok()
    }

    /// Whether QEMU has stopped the machine because it can't write the disk any more.
    pub async fn is_full(&mut self) -> bool {
        self.qmp
            .status()
            .await
            .is_ok_and(|status| status == "io-error")
    }

    /// Whether anything was written to the disk.
    pub async fn has_written(&mut self) -> bool {
        self.qmp.written(DISK).await.is_ok_and(|bytes| bytes > 0)
    }

    /// Where a viewer finds the screen.
    pub async fn viewer(&mut self) -> Option<String> {
        let said = self.qmp.monitor("info vnc".into()).await.ok()?;
        let server = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("Server: "))?;
        server.split_whitespace().next().map(str::to_owned)
    }

    /// Asks the agent for a sign of life, and a PowerShell that can be made one: it works out a number.
    pub fn ping(&self) {
        // A machine that is gone does not answer either.
        let _ = self.pings.send(());
    }

    /// Ends the machine. QEMU writes first what it has not written of the disk.
    pub async fn end(mut self) {
        let left = async {
            let _ = self.qmp.quit().await;
            let _ = self.process.wait().await;
        };
        let _ = tokio::time::timeout(LEAVING, left).await;
        let _ = self.process.end().await;
    }
}

/// COM2: what the guest says of its installation, and the agent's answers. Everything else is nobody's.
async fn listen(
    mut port: UnixStream,
    mut pings: mpsc::UnboundedReceiver<()>,
    tell: mpsc::UnboundedSender<Heard>,
) {
    let mut talk = Talk::new();
    let mut prompt = Prompt::new(SEED);
    let mut buffer = vec![0; 4096];
    loop {
        tokio::select! {
            read = port.read(&mut buffer) => match read {
                Ok(length @ 1..) => talk.receive(&buffer[..length]),
                _ => return,
            },
            Some(()) = pings.recv() => {
                prompt = Prompt::new(SEED);
                let mut call = talk.greet();
                call.extend(prompt.begin().bytes());
                // What a port does not take is asked again.
                let _ = port.try_write(&call);
            }
        }
        while let Some(said) = talk.heard() {
            let heard = match said {
                Said::InStep | Said::Late => Some(Heard::Agent),
                Said::Other(line) => match Marker::of(&harmless(&line)) {
                    Some(marker) => Some(Heard::Marker(marker)),
                    None => (prompt.hear(&line) != Step::Wait).then_some(Heard::Agent),
                },
            };
            if let Some(heard) = heard {
                let _ = tell.send(heard);
            }
        }
    }
}

/// COM1: a debugger that answers everything, so that the guest never waits for one.
async fn debug(mut wire: UnixStream, tell: mpsc::UnboundedSender<Heard>) {
    let mut client = Client::new(false, OnBugcheck::GoOn);
    let start = Instant::now();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let wait = client
            .deadline()
            .map_or(LONGEST, |at| at.saturating_sub(start.elapsed()));
        tokio::select! {
            read = wire.read(&mut buffer) => match read {
                Ok(length @ 1..) => client.receive(start.elapsed(), &buffer[..length]),
                _ => return,
            },
            () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
        }
        client.tick(start.elapsed());
        while let Some(event) = client.next_event() {
            let heard = match event {
                Event::Booted => Heard::Debugger(None),
                Event::Kernel { build, .. } => Heard::Debugger(Some(build)),
                Event::Bugcheck(bugcheck) => Heard::Crash(Box::new(bugcheck)),
                _ => continue,
            };
            let _ = tell.send(heard);
        }
        let out = client.take_output();
        if !out.is_empty() && wire.write_all(&out).await.is_err() {
            return;
        }
    }
}

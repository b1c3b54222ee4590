//! A Windows: a driver where it is meant to run.
//!
//! Its kernel is heard through its debugger (COM1), which a task of ours answers at once; it is told what
//! to do through QEMU's guest agent (COM2). [`course`] says what comes when, here it is done. Devices
//! are put in when it is ready; a guest that was installed once is restored from then on.
//!
//! Everything here was tried with a stand-in, and with no Windows yet.

pub mod course;
mod evidence;
mod file;
mod orders;
mod warm;
pub mod words;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use misfire_device::port::{Attachment, Journal};
use misfire_device::trace::What;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use course::{Answer, Course, Do, Lane, Order, Place, Stage, StageError, Time};
use evidence::Signs;
pub use evidence::{Evidence, Examined};
pub use file::{LimitsFile, LogFile, Windows as Image, WindowsFile, WindowsFileError};
use orders::{Given, serve};

use super::Slot;
use super::agent::Agent;
use super::warm::{Kept, disk};
use crate::log::driver::Patterns;
use crate::log::kd::{Bugcheck, Event};
use crate::machine::{
    Accel, Boot, Happening, Listening, Machine, MachineError, MachineSpec, Next, Plugged, Qemu,
    Recording, hyper_v, line_of,
};

/// Where the harness's files are in the guest, and its script there.
const FOLDER: &str = "C:\\misfire";
const SCRIPT_AT: &str = "C:\\misfire\\misfire.ps1";
const SCRIPT: &str = include_str!("../../../guests/windows/misfire.ps1");
const SCRIPT_ARGS: [&str; 5] = [
    "-NoProfile",
    "-NonInteractive",
    "-ExecutionPolicy",
    "Bypass",
    "-File",
];
/// With it a Windows tells the host of its crash without a driver for that.
const HV_CRASH: &str = "hv-crash";
/// What restoring a state may take.
const RESTORE_LIMIT: Duration = Duration::from_secs(120);
/// What an error says when the task at the agent's line ended.
const DEAF: &str = "who speaks to the agent is gone";
/// How long after the first sign of a crash its stop code may come.
const CODE_LIMIT: Duration = Duration::from_secs(3);

/// How a guest gets to where it can be used, and what is kept of it.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// The folder of the states that it is restored from; none: it is booted each time.
    pub states: Option<PathBuf>,
    /// Where pictures and memory are put when something is wrong.
    pub evidence: Option<PathBuf>,
    /// What goes over its lines is kept there.
    pub recording: Option<Recording>,
    /// Whether a viewer can look at its screen.
    pub viewer: bool,
    /// Of each device what is set at its node before it is used.
    pub nodes: Vec<Option<String>>,
}

/// A Windows can't be got to where it can be used.
#[derive(Debug, thiserror::Error)]
pub enum WindowsError {
    /// The machine could not.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A stage was not got through.
    #[error("{error}{}{}", shown(last), kept(evidence))]
    Stage {
        /// Which, and why.
        error: StageError,
        /// The last lines of the kernel.
        last: Vec<String>,
        /// What was found out about it.
        evidence: Vec<String>,
    },
    /// A state can't be made or found.
    #[error("{doing} failed")]
    State {
        /// What was tried.
        doing: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn shown(last: &[String]) -> String {
    match last {
        [] => "; the kernel had said nothing".into(),
        lines => format!("; the kernel's last lines: {}", lines.join(" | ")),
    }
}

fn kept(evidence: &[String]) -> String {
    evidence.iter().map(|text| format!("; {text}")).collect()
}

/// A machine with a Windows in it.
pub struct Windows {
    machine: Machine,
    journal: Arc<Journal>,
    course: Course,
    begin: Instant,
    orders: mpsc::UnboundedSender<Given>,
    answers: mpsc::UnboundedReceiver<(Lane, Answer)>,
    lines: VecDeque<String>,
    evidence: Option<PathBuf>,
    dump: bool,
    patterns: Arc<Patterns>,
    nodes: Vec<Option<String>>,
    /// That it crashed is known.
    crashed: bool,
    /// The debugger has not told of it, and until when its stop code is waited for.
    panicked: Option<(Instant, Option<[u64; 5]>)>,
    /// How the guest itself has told the host of it.
    signs: Signs,
    /// Nobody speaks to the agent any more.
    deaf: bool,
    /// The machine is at its end.
    left: Option<i32>,
    /// What it was restored from, whose disk it uses.
    _state: Option<Kept<PathBuf>>,
}

impl std::fmt::Debug for Windows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windows")
            .field("machine", &self.machine)
            .field("course", &self.course)
            .finish_non_exhaustive()
    }
}

/// What came while waiting.
enum Came {
    Something,
    Silence,
    /// The machine is gone.
    Gone,
    /// Nobody speaks to the agent any more, so that no order is answered.
    Deaf,
}

impl Windows {
    /// What QEMU is to be told for a guest with `devices`.
    pub fn spec(
        qemu: &Qemu,
        accel: Accel,
        image: &Image,
        setting: &Setting,
        devices: Vec<Attachment>,
    ) -> MachineSpec {
        let mut installed = image.installed.clone();
        installed.viewer = setting.viewer;
        let knows_crash = |flag: &String| flag.starts_with(HV_CRASH);
        if accel == Accel::Kvm && hyper_v() && !installed.cpu_flags.iter().any(knows_crash) {
            installed.cpu_flags.push(HV_CRASH.to_owned());
        }
        MachineSpec {
            qemu: qemu.program.clone(),
            accel,
            boot: Boot::Disk,
            memory_mib: image.memory_mib,
            processors: image.processors.into(),
            append: String::new(),
            slots: (0..devices.len()).collect(),
            devices,
            image: None,
            plugged: match setting.states {
                None => Plugged::Later,
                Some(_) => Plugged::Restored,
            },
            installed: Some(installed),
        }
    }

    /// How long the way to where the guest can be used may take at most.
    pub fn longest(image: &Image) -> Duration {
        let limits = image.limits;
        let programs = u32::try_from(image.jobs.len()).unwrap_or(u32::MAX);
        limits.boot
            + 2 * limits.ready
            + limits.restart
            + limits.install.saturating_mul(programs)
            + RESTORE_LIMIT
    }

    /// Starts a machine and gets the guest to where its devices are in. It is killed `limit` after
    /// [`Windows::longest`]. `queues` are those of each device.
    ///
    /// # Errors
    /// When the machine fails, or a stage is not got through.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub async fn boot(
        qemu: &Qemu,
        image: &Image,
        setting: &Setting,
        spec: &MachineSpec,
        queues: &[u16],
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, WindowsError> {
        let limit = limit + Self::longest(image);
        let mut windows = match &setting.states {
            None => {
                let course = Course::cold(image.limits, image.jobs.clone(), image.workload.clone());
                Self::launch(image, setting, spec, course, journal, limit)?
            }
            Some(folder) => {
                let state = warm::state(qemu, image, setting, spec, folder).await?;
                let mut spec = spec.clone();
                if let Some(installed) = &mut spec.installed {
                    *installed = disk::laid_over(installed, &state.beside);
                }
                let course = Course::warm(image.limits, image.workload.clone());
                let mut windows = Self::launch(image, setting, &spec, course, journal, limit)?;
                let qmp = windows.machine.qmp();
                let restored = qmp.restore(&state.memory, RESTORE_LIMIT).await;
                restored.map_err(MachineError::from)?;
                qmp.go_on().await.map_err(MachineError::from)?;
                windows._state = Some(state);
                windows
            }
        };
        windows.to(Stage::Plug).await?;
        windows.plug(spec, queues).await?;
        Ok(windows)
    }

    fn launch(
        image: &Image,
        setting: &Setting,
        spec: &MachineSpec,
        course: Course,
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, WindowsError> {
        let recording = setting.recording.clone();
        let listening = Listening {
            recording: recording.clone(),
            patterns: Arc::clone(&image.patterns),
        };
        let to = Arc::clone(&journal);
        let mut machine = Machine::launch_heard(spec, Vec::new(), to, limit, &listening)?;
        let agent = machine
            .take_agent()
            .ok_or(std::io::ErrorKind::NotConnected.into())
            .and_then(|stream| Agent::open(stream, recording))
            .map(Agent::or_powershell)
            .map_err(MachineError::os("using the agent's socket"))?;
        let (orders, to_do) = mpsc::unbounded_channel();
        let (tell, answers) = mpsc::unbounded_channel();
        tokio::spawn(serve(agent, to_do, tell));
        Ok(Self {
            machine,
            journal,
            course,
            begin: Instant::now(),
            orders,
            answers,
            lines: VecDeque::new(),
            evidence: setting.evidence.clone(),
            dump: image.dump,
            patterns: listening.patterns,
            nodes: setting.nodes.clone(),
            crashed: false,
            panicked: None,
            signs: Signs::default(),
            deaf: false,
            left: None,
            _state: None,
        })
    }

    /// Gets the guest to a stage.
    async fn to(&mut self, stage: Stage) -> Result<(), WindowsError> {
        loop {
            while let Some(what) = self.course.to_do() {
                match what {
                    Do::Plug => return Ok(()),
                    Do::Fail(error) => return Err(self.failed(error).await),
                    what => self.act(what),
                }
            }
            if self.course.stage() == stage {
                return Ok(());
            }
            let far = Instant::now() + Duration::from_secs(3600);
            let error = |stage, why: &str| StageError {
                stage,
                why: why.to_owned(),
            };
            let came = self.come(far).await;
            let stage = self.course.stage();
            match came {
                Came::Something | Came::Silence => {}
                Came::Deaf => return Err(self.failed(error(stage, DEAF)).await),
                // A QEMU that was killed, or refused what it was told, says more.
                Came::Gone => {
                    return Err(match self.machine.left(stage.name()).await {
                        Err(error) => error.into(),
                        Ok(_) => self.failed(error(stage, "the machine ended")).await,
                    });
                }
            }
        }
    }

    async fn failed(&mut self, error: StageError) -> WindowsError {
        let evidence = self.examine().await.found;
        let last = self.machine.last_lines();
        WindowsError::Stage {
            error,
            last,
            evidence,
        }
    }

    /// Puts the devices in.
    async fn plug(&mut self, spec: &MachineSpec, queues: &[u16]) -> Result<(), WindowsError> {
        if let Err(error) = self.machine.plug(spec).await {
            let (stage, why) = (Stage::Plug, error.to_string());
            return Err(self.failed(StageError { stage, why }).await);
        }
        let mut places = Vec::new();
        for dev in 0..spec.devices.len() {
            let bus = self.machine.qmp().bus_of(dev).await;
            places.push(Place {
                bus: bus.map_err(MachineError::from)?.unwrap_or_default(),
                queues: queues.get(dev).copied().unwrap_or(1),
                settings: self.nodes.get(dev).cloned().flatten(),
            });
        }
        self.line("MISFIRE: guest windows 1".to_owned());
        self.course.plugged(self.now(), places);
        Ok(())
    }

    /// The machine, for its control channel.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Gives the guest a command as the reference guest's console takes it.
    pub fn say(&mut self, command: &str) {
        self.course.say(command);
    }

    /// Tells the guest what happens to the slot of a device, whatever it is doing.
    pub fn slot(&mut self, dev: u8, happens: Slot) {
        let now = self.now();
        self.course.slot(now, dev.into(), happens);
    }

    /// The next line of the kernel or of the harness about it; see [`Machine::next`].
    ///
    /// # Errors
    /// When QEMU fails.
    pub async fn next(&mut self, awaited: &str, deadline: Instant) -> Result<Next, MachineError> {
        loop {
            while let Some(what) = self.course.to_do() {
                self.act(what);
            }
            if let Some(line) = self.lines.pop_front() {
                return Ok(Next::Line(line));
            }
            if let Some(status) = self.left {
                return Ok(Next::Left(status));
            }
            match self.come(deadline).await {
                Came::Something => {}
                Came::Silence => return Ok(Next::Silent),
                Came::Deaf => self.line(format!("MISFIRE: error {DEAF}")),
                Came::Gone => self.left = Some(self.machine.left(awaited).await?),
            }
        }
    }

    /// Takes what comes first.
    async fn come(&mut self, deadline: Instant) -> Came {
        let own = self.course.deadline().map(|time| self.begin + time);
        let code = self.panicked.map(|(until, _)| until);
        let until = [own, code]
            .into_iter()
            .flatten()
            .fold(deadline, Instant::min);
        let Self {
            machine,
            answers,
            deaf,
            ..
        } = self;
        let (debugger, qmp) = machine.ends();
        let Some(debugger) = debugger else {
            return Came::Gone;
        };
        select! {
            biased;
            event = debugger.next() => match event {
                Some(event) => self.kernel(&event),
                None => return Came::Gone,
            },
            answer = answers.recv(), if !*deaf => match answer {
                Some((lane, answer)) => {
                    let now = self.now();
                    self.course.answer(now, lane, answer);
                }
                None => {
                    *deaf = true;
                    return Came::Deaf;
                }
            },
            Some(happening) = qmp.happening() => self.happened(happening),
            () = sleep_until(until.into()) => {
                let now = self.now();
                self.course.tick(now);
                self.code_is_late();
                if Instant::now() >= deadline {
                    return Came::Silence;
                }
            }
        }
        Came::Something
    }

    fn kernel(&mut self, event: &Event) {
        self.machine.was_heard();
        self.crashed |= matches!(event, Event::Bugcheck(_));
        // The debugger has put it into the journal.
        self.lines.push_back(line_of(event));
        let now = self.now();
        self.course.kernel(now, event);
    }

    fn happened(&mut self, happening: Happening) {
        let uses_devices = matches!(self.course.stage(), Stage::Device | Stage::Work);
        self.signs.see(&happening);
        match happening {
            Happening::Panicked(info) if !self.crashed => {
                let until = Instant::now() + CODE_LIMIT;
                self.panicked = Some((until, info));
            }
            Happening::CrashLoaded if !self.crashed && self.panicked.is_none() => {
                self.panicked = Some((Instant::now() + CODE_LIMIT, None));
            }
            // It goes on without the debugger.
            Happening::Reset | Happening::Shutdown if self.panicked.is_some() => {
                self.no_code_comes();
            }
            // A system that is used does not start again by itself.
            Happening::Reset if uses_devices && !self.crashed => self.left = Some(0),
            _ => {}
        }
    }

    /// A crash that the debugger has not told of in time.
    fn code_is_late(&mut self) {
        if let Some((until, _)) = self.panicked
            && (self.crashed || Instant::now() >= until)
        {
            self.no_code_comes();
        }
    }

    /// The debugger does not tell of a crash any more of which something else has told.
    fn no_code_comes(&mut self) {
        let Some((_, info)) = self.panicked.take() else {
            return;
        };
        if std::mem::replace(&mut self.crashed, true) {
            return;
        }
        let bugcheck = match info {
            Some([code, a, b, c, d]) => Bugcheck::new(code as u32, [a, b, c, d]),
            None => Bugcheck::default(),
        };
        let crash = Event::Bugcheck(bugcheck);
        self.line(line_of(&crash));
        let now = self.now();
        self.course.kernel(now, &crash);
    }

    fn act(&mut self, what: Do) {
        match what {
            Do::Order(order, limit) => self.give(Lane::Commands, order, limit),
            Do::Beside(order, limit) => self.give(Lane::Slots, order, limit),
            Do::Line(line) => self.line(line),
            Do::Leave => self.left = Some(0),
            // Both are for `to`; later they have no meaning.
            Do::Plug | Do::Fail(_) => {}
        }
    }

    fn give(&self, lane: Lane, order: Order, limit: Duration) {
        let _ = self.orders.send(Given { lane, order, limit });
    }

    fn line(&mut self, line: String) {
        let line = crate::log::harmless(&line);
        // What the guest's programs print of the driver can be understood with a pattern too.
        let is_ours = line.starts_with("MISFIRE: ") || line.starts_with("harness: ");
        let meant = (!is_ours).then(|| self.patterns.translate(&line)).flatten();
        self.journal.record(What::Log { line: line.clone() });
        if let Some(line) = meant {
            self.journal.record(What::Log { line });
        }
        self.lines.push_back(line);
    }

    fn now(&self) -> Time {
        self.begin.elapsed()
    }

    /// How a person can look at it. The debugger's line is given to whoever connects, so that from here on
    /// nobody answers the kernel but them.
    pub async fn show(&mut self) -> String {
        let qmp = self.machine.qmp();
        let line = qmp.open_line("console").await;
        let debugger = match line {
            Ok(port) => format!(
                "  WinDbg:  windbg -k com:ipport={port},port=127.0.0.1\n  or:      misfire kd --late \
                 127.0.0.1:{port}"
            ),
            Err(error) => format!("  its debugger's line can't be given away: {error}"),
        };
        let viewer = match qmp.monitor("info vnc".to_owned()).await {
            Ok(text) => match text
                .lines()
                .find_map(|line| line.trim().strip_prefix("Server: "))
            {
                Some(place) => {
                    let place = place.split(' ').next().unwrap_or(place);
                    format!("  screen:  a VNC viewer at {place}")
                }
                None => format!("  screen:  {}", text.trim()),
            },
            Err(error) => format!("  its screen can't be looked at: {error}"),
        };
        format!("{debugger}\n{viewer}")
    }

    /// Ends the machine, by force if it is still there.
    ///
    /// # Errors
    /// When the operating system can't tell how it ended.
    pub async fn end(self) -> Result<(), MachineError> {
        self.machine.end().await.map(|_| ())
    }
}

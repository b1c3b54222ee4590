//! The way of a Windows from its boot to its last workload, stage by stage: what happens and times go
//! in, what is to be done comes out. Nothing here opens, waits or reads a clock.

use std::collections::VecDeque;
use std::time::Duration;

mod slots;

use super::super::Slot;
use super::super::linux::AgentError;
use super::words::{Installed, Node, Settled, installed};
use crate::log::kd::Event;
use slots::Slots;

/// Time since the machine was started.
pub type Time = Duration;

/// How often a device node is looked at.
const LOOK: Time = Time::from_millis(300);
/// The first build whose `pnputil` knows `/add-driver`: Windows 10 1607.
const ADDS_DRIVERS: u16 = 14_393;
/// Where Windows notes what it installs, and how that is called.
const SETUP_LOG: &str = "C:\\Windows\\INF\\setupapi.dev.log";
const SETUP_NAME: &str = "setupapi.dev.log";
/// How many lines of it are told.
const MOST_NOTES: usize = 5;

/// A part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Until the kernel speaks to its debugger.
    Boot,
    /// Until the agent answers.
    Ready,
    /// The driver package is installed, and settings are made.
    Install,
    /// It is started again, because something that was installed asks for it.
    Restart,
    /// The devices are put in.
    Plug,
    /// Their nodes are looked at until a driver has started them, or has not.
    Device,
    /// It takes commands.
    Work,
}

impl Stage {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Ready => "ready",
            Self::Install => "install",
            Self::Restart => "restart",
            Self::Plug => "plug",
            Self::Device => "device",
            Self::Work => "work",
        }
    }
}

/// How long each stage may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// [`Stage::Boot`].
    pub boot: Time,
    /// [`Stage::Ready`].
    pub ready: Time,
    /// Each program of [`Stage::Install`].
    pub install: Time,
    /// [`Stage::Restart`].
    pub restart: Time,
    /// [`Stage::Device`], for each device.
    pub device: Time,
    /// Each command of [`Stage::Work`].
    pub work: Time,
}

/// A stage can't be got through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stage `{}`: {why}", stage.name())]
pub struct StageError {
    /// Which.
    pub stage: Stage,
    /// Why not.
    pub why: String,
}

/// A program that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: u32,
    /// What it printed.
    pub output: String,
    /// What it printed about errors.
    pub errors: String,
}

/// What the agent came back with.
#[derive(Debug)]
pub enum Answer {
    /// A greeting: which agent it is, in words.
    Greeted(Result<String, AgentError>),
    /// A file, or a program whose end nobody sees.
    Done(Result<(), AgentError>),
    /// The last bytes of a file.
    Read(Result<Vec<u8>, AgentError>),
    /// A program.
    Ran(Result<Ended, AgentError>),
}

/// Who has the agent do something: what one does takes its time, and the other does not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The way to the devices, and commands: one after the other.
    Commands,
    /// What happens to slots meanwhile.
    Slots,
}

/// What the agent is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// To answer.
    Greet,
    /// To write a file.
    Write {
        /// Where.
        path: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// To read the end of a file.
    Read {
        /// Where.
        path: String,
    },
    /// To start a program whose end nobody sees.
    Start {
        /// Its name.
        program: String,
        /// Its arguments.
        args: Vec<String>,
    },
    /// To run a program to its end.
    Run {
        /// Its name.
        program: String,
        /// Its arguments.
        args: Vec<String>,
    },
}

/// One thing of an installation, in words and in deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it does, for errors.
    pub what: String,
    /// How it is done.
    pub order: Order,
    /// Whether it takes effect only when the system was started again.
    pub restarts: bool,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The bus that it is on.
    pub bus: i64,
    /// Queues that it has.
    pub queues: u16,
    /// What is set at its node before it is used: arguments of the script; none: nothing.
    pub settings: Option<String>,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Do {
    /// Give the agent an order, with a time limit.
    Order(Order, Time),
    /// The same of [`Lane::Slots`].
    Beside(Order, Time),
    /// Put the devices in.
    Plug,
    /// A line for the log.
    Line(String),
    /// The way ends here.
    Fail(StageError),
    /// The guest has let its devices go: end the machine.
    Leave,
}

/// What the agent is doing for us.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Doing {
    Greeting,
    Job(Job),
    Settings(usize),
    Restarting,
    Looking(usize),
    Command(String),
    Letting(usize),
    /// What Windows noted of an installation that failed.
    Notes,
}

/// Where on the way a Windows is.
#[derive(Debug)]
pub struct Course {
    stage: Stage,
    since: Time,
    limits: Limits,
    jobs: VecDeque<Job>,
    restarts: bool,
    rebooted: bool,
    devices: Vec<Place>,
    doing: Option<Doing>,
    /// Which device is looked at next, and when.
    look: Option<(usize, Time)>,
    /// How often the node was seen as it is, and how.
    seen: (u32, Node),
    /// A command whose end comes when the node has been looked at.
    after_look: Option<String>,
    commands: VecDeque<String>,
    workload: Vec<String>,
    out: VecDeque<Do>,
    /// The kernel's build.
    build: Option<u16>,
    slots: Slots,
    /// What an installation failed of, while what Windows noted of it is read.
    noted: Option<String>,
    failed: bool,
}

impl Course {
    /// A Windows that is booted, in which `jobs` are to be done. `workload` is the user's program and its
    /// arguments, with `{kind}`, `{dev}`, `{bus}` and `{command}` in them; empty: the disk is read and
    /// written.
    pub fn cold(limits: Limits, jobs: Vec<Job>, workload: Vec<String>) -> Self {
        Self {
            stage: Stage::Boot,
            since: Time::ZERO,
            limits,
            jobs: jobs.into(),
            restarts: false,
            rebooted: false,
            devices: Vec::new(),
            doing: None,
            look: None,
            seen: (0, Node::default()),
            after_look: None,
            commands: VecDeque::new(),
            workload,
            out: VecDeque::new(),
            build: None,
            slots: Slots::new(limits.device),
            noted: None,
            failed: false,
        }
    }

    /// One that was restored when everything was installed.
    pub fn warm(limits: Limits, workload: Vec<String>) -> Self {
        let mut course = Self::cold(limits, Vec::new(), workload);
        course.enter(Time::ZERO, Stage::Ready);
        course
    }

    /// Where it is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What there is to do next.
    pub fn to_do(&mut self) -> Option<Do> {
        if let Some(what) = self.out.pop_front() {
            return Some(what);
        }
        self.slots.take()
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn deadline(&self) -> Option<Time> {
        let limit = match self.stage {
            Stage::Boot => Some(self.limits.boot),
            Stage::Restart => Some(self.limits.restart),
            Stage::Device => Some(self.limits.device),
            // The agent's own limits end these.
            Stage::Ready | Stage::Install | Stage::Plug | Stage::Work => None,
        };
        let end = limit
            .filter(|_| !self.failed)
            .map(|limit| self.since + limit);
        let look = self.look.filter(|_| self.doing.is_none()).map(|(_, at)| at);
        let slots = self.slots.deadline();
        [end, look, slots].into_iter().flatten().min()
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Time) {
        if let Some((dev, at)) = self.look
            && now >= at
            && self.doing.is_none()
        {
            self.look(dev);
        }
        self.slots.tick(now);
        let waited = now.saturating_sub(self.since);
        match self.stage {
            Stage::Boot if waited >= self.limits.boot => self.fail(format!(
                "the kernel did not speak to its debugger within {} s",
                self.limits.boot.as_secs_f64()
            )),
            Stage::Restart if waited >= self.limits.restart => self.fail(format!(
                "the system did not start again within {} s",
                self.limits.restart.as_secs_f64()
            )),
            // What a driver does not do is the driver's conduct.
            Stage::Device if waited >= self.limits.device => {
                let words = self.seen.1.words();
                let dev = self.look.map_or(0, |(dev, _)| dev);
                self.line(format!(
                    "harness: stage `device`: device {dev} was not started within {} s: {words}",
                    self.limits.device.as_secs_f64()
                ));
                if self.seen.1.found && self.seen.1.problem != 0 {
                    self.settled(now, dev);
                } else {
                    // It stays as it is; whoever waits for it runs out of time.
                    self.look = None;
                    self.stage = Stage::Work;
                }
            }
            _ => {}
        }
    }

    /// The kernel told its debugger something.
    pub fn kernel(&mut self, now: Time, event: &Event) {
        match (event, self.stage) {
            (Event::Kernel { build, .. }, _) => self.build = Some(*build),
            (Event::Bugcheck(bugcheck), Stage::Boot | Stage::Ready | Stage::Install)
            | (Event::Bugcheck(bugcheck), Stage::Restart | Stage::Plug) => {
                self.fail(format!("the system crashed: {bugcheck}"));
            }
            (Event::Booted, Stage::Boot) => self.enter(now, Stage::Ready),
            (Event::Booted, Stage::Restart) => {
                self.rebooted = true;
                self.enter(now, Stage::Ready);
            }
            (Event::Booted, Stage::Install) => {
                self.fail("the system was started again, and nothing had asked for it".to_owned());
            }
            _ => {}
        }
    }

    /// The devices are in.
    pub fn plugged(&mut self, now: Time, devices: Vec<Place>) {
        self.devices = devices;
        self.slots.places(&self.devices);
        self.enter(now, Stage::Device);
    }

    /// A command such as `load read dev=0 blocks=16`.
    pub fn say(&mut self, command: &str) {
        self.commands.push_back(command.to_owned());
        self.work();
    }

    /// Something happens to the slot of a device.
    pub fn slot(&mut self, now: Time, dev: usize, happens: Slot) {
        self.slots.happens(now, dev, happens);
    }

    /// The agent came back with something.
    pub fn answer(&mut self, now: Time, lane: Lane, answer: Answer) {
        if lane == Lane::Slots {
            return self.slots.answer(now, answer);
        }
        let Some(doing) = self.doing.take() else {
            return;
        };
        match (doing, answer) {
            (Doing::Greeting, Answer::Greeted(Ok(which))) => {
                self.line(format!("harness: the agent is {which}"));
                match self.jobs.is_empty() {
                    true => self.enter(now, Stage::Plug),
                    false => self.enter(now, Stage::Install),
                }
            }
            (Doing::Greeting, Answer::Greeted(Err(error))) => self.fail(error.to_string()),
            (Doing::Notes, Answer::Read(read)) => {
                let why = self.noted.take().unwrap_or_default();
                let end = read.map(|bytes| last_section(&bytes)).unwrap_or_default();
                let end: String = end
                    .iter()
                    .map(|line| format!("; {SETUP_NAME}: {line}"))
                    .collect();
                self.fail(format!("{why}{end}"));
            }
            (Doing::Job(job), answer) => self.job(now, &job, answer),
            (Doing::Restarting, Answer::Done(Err(error))) => {
                self.fail(format!("it can't be started again: {error}"));
            }
            (Doing::Settings(dev), Answer::Ran(ran)) => {
                if let Err(error) = ran {
                    self.line(format!("harness: the settings of device {dev}: {error}"));
                }
                self.look(dev);
            }
            (Doing::Looking(dev), Answer::Ran(ran)) => self.looked(now, dev, ran),
            (Doing::Command(command), Answer::Ran(ran)) => self.ran(now, &command, ran),
            (Doing::Letting(dev), Answer::Ran(_)) => self.let_go(dev + 1),
            _ => {}
        }
    }

    fn enter(&mut self, now: Time, stage: Stage) {
        (self.stage, self.since) = (stage, now);
        match stage {
            Stage::Boot | Stage::Work => {}
            Stage::Ready => {
                self.doing = Some(Doing::Greeting);
                self.out
                    .push_back(Do::Order(Order::Greet, self.limits.ready));
            }
            Stage::Install => self.next_job(now),
            Stage::Restart => {
                self.restarts = false;
                self.doing = Some(Doing::Restarting);
                let order = Order::Start {
                    program: "shutdown.exe".to_owned(),
                    args: ["/r", "/t", "0", "/f"].map(str::to_owned).into(),
                };
                self.out.push_back(Do::Order(order, self.limits.install));
            }
            Stage::Plug => self.out.push_back(Do::Plug),
            Stage::Device => match self.devices.is_empty() {
                true => self.is_ready(),
                false => self.begin_device(0),
            },
        }
    }

    fn fail(&mut self, why: String) {
        if !self.failed {
            self.failed = true;
            let stage = self.stage;
            self.out.push_back(Do::Fail(StageError { stage, why }));
        }
    }

    fn line(&mut self, line: String) {
        self.out.push_back(Do::Line(line));
    }

    fn run(&mut self, program: &str, args: &[&str], limit: Time) {
        let order = Order::Run {
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        self.out.push_back(Do::Order(order, limit));
    }

    fn script(&mut self, args: &str, limit: Time) {
        self.out.push_back(Do::Order(script(args), limit));
    }

    fn next_job(&mut self, now: Time) {
        match self.jobs.pop_front() {
            Some(mut job) => {
                if self.build.is_some_and(|build| build < ADDS_DRIVERS) {
                    older(&mut job.order);
                }
                let order = job.order.clone();
                self.out.push_back(Do::Order(order, self.limits.install));
                self.doing = Some(Doing::Job(job));
            }
            None if self.restarts => self.enter(now, Stage::Restart),
            None => self.enter(now, Stage::Plug),
        }
    }

    fn job(&mut self, now: Time, job: &Job, answer: Answer) {
        let ended = match answer {
            Answer::Done(Ok(())) => return self.next_job(now),
            Answer::Done(Err(error)) | Answer::Ran(Err(error)) => {
                return self.fail(format!("{}: {error}", job.what));
            }
            Answer::Ran(Ok(ended)) => ended,
            Answer::Greeted(_) | Answer::Read(_) => return,
        };
        let Order::Run { program, .. } = &job.order else {
            return;
        };
        match installed(program, ended.code) {
            Installed::Done => self.restarts |= job.restarts,
            Installed::AfterRestart => self.restarts = true,
            Installed::Failed(why) => {
                let said = ended.output.trim().replace("\r\n", " | ");
                let said = match said.as_str() {
                    "" => String::new(),
                    said => format!("; it said: {said}"),
                };
                let why = format!("{}: {why}{said}", job.what);
                if !program.contains("pnputil") {
                    return self.fail(why);
                }
                self.noted = Some(why);
                self.doing = Some(Doing::Notes);
                let path = SETUP_LOG.to_owned();
                let order = Order::Read { path };
                return self.out.push_back(Do::Order(order, self.limits.install));
            }
        }
        self.next_job(now);
    }

    fn begin_device(&mut self, dev: usize) {
        self.seen = (0, Node::default());
        match self.devices.get(dev).map(|d| (d.bus, d.settings.clone())) {
            Some((bus, Some(settings))) => {
                self.doing = Some(Doing::Settings(dev));
                self.look = Some((dev, self.since));
                self.script(&format!("interrupts {bus} {settings}"), self.limits.device);
            }
            _ => self.look(dev),
        }
    }

    /// Has the node of a device looked at.
    fn look(&mut self, dev: usize) {
        let bus = self.devices.get(dev).map_or(0, |device| device.bus);
        self.doing = Some(Doing::Looking(dev));
        self.look = Some((dev, self.since));
        self.script(&format!("node {bus} 0"), self.limits.device);
    }

    fn looked(&mut self, now: Time, dev: usize, ran: Result<Ended, AgentError>) {
        let node = match ran {
            Ok(ended) => Node::parse(&ended.output).unwrap_or_default(),
            Err(error) => {
                self.line(format!("harness: the node of device {dev}: {error}"));
                Node::default()
            }
        };
        match self.seen.1 == node {
            true => self.seen.0 += 1,
            false => self.seen = (1, node),
        }
        match self.seen.1.settled(self.seen.0) {
            Settled::No => self.look = Some((dev, now + LOOK)),
            Settled::Started | Settled::Problem => self.settled(now, dev),
        }
    }

    /// What has become of a device is known.
    fn settled(&mut self, now: Time, dev: usize) {
        self.look = None;
        let node = self.seen.1.clone();
        self.line(format!("harness: device {dev}: {}", node.words()));
        let queues = self.devices.get(dev).map_or(0, |device| device.queues);
        self.line(node.line(dev, queues));
        if let Some(done) = self.after_look.take() {
            self.line(done);
            return self.work();
        }
        if dev + 1 < self.devices.len() {
            self.since = now;
            return self.begin_device(dev + 1);
        }
        self.is_ready();
    }

    fn is_ready(&mut self) {
        self.stage = Stage::Work;
        self.line("MISFIRE: ready".to_owned());
        self.work();
    }

    /// Begins with the next command.
    fn work(&mut self) {
        if self.stage != Stage::Work || self.doing.is_some() || self.look.is_some() {
            return;
        }
        let Some(command) = self.commands.pop_front() else {
            return;
        };
        if command == "exit" {
            return self.let_go(0);
        }
        self.doing = Some(Doing::Command(command.clone()));
        let dev = value(&command, "dev")
            .and_then(|dev| dev.parse().ok())
            .unwrap_or(0);
        let bus = self.devices.get(dev).map_or(0, |device| device.bus);
        let is_load = command.starts_with("load ");
        if let ([program, args @ ..], true) = (&self.workload.clone()[..], is_load) {
            let kind = command.split_ascii_whitespace().nth(1).unwrap_or_default();
            let filled = |word: &String| {
                word.replace("{kind}", kind)
                    .replace("{dev}", &dev.to_string())
                    .replace("{bus}", &bus.to_string())
                    .replace("{command}", &command)
            };
            let args: Vec<String> = args.iter().map(filled).collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            return self.run(program, &args, self.limits.work);
        }
        self.script(&format!("{command} bus={bus}"), self.limits.work);
    }

    fn ran(&mut self, now: Time, command: &str, ran: Result<Ended, AgentError>) {
        let mut words = command.split_ascii_whitespace();
        let (verb, kind) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let failed =
            |reason: &str| format!("MISFIRE: done failed {verb} reason={reason} op={kind}");
        let own = verb == "load" && !self.workload.is_empty();
        let mut done = None;
        match ran {
            Ok(ended) => {
                for line in ended.output.lines().chain(ended.errors.lines()) {
                    match line.trim_end() {
                        "" => {}
                        line if line.starts_with("MISFIRE: done ") => done = Some(line.to_owned()),
                        line => self.line(line.to_owned()),
                    }
                }
                done = done.or(Some(match ended.code {
                    0 if own => format!("MISFIRE: done ok {verb} op={kind}"),
                    code => failed(&format!("exit-{code:#x}")),
                }));
            }
            Err(error @ AgentError::Silent { .. }) => {
                self.line(format!("harness: stage `work`: `{command}`: {error}"));
                done = Some(failed("timeout"));
            }
            Err(error) => {
                self.line(format!("harness: stage `work`: `{command}`: {error}"));
                done = Some(failed("agent"));
            }
        }
        let done = done.unwrap_or_else(|| failed("silent"));
        let starts = verb == "device" && matches!(kind, "start" | "restart");
        if starts && done.starts_with("MISFIRE: done ok") {
            let dev = value(command, "dev")
                .and_then(|dev| dev.parse().ok())
                .unwrap_or(0);
            self.after_look = Some(done);
            self.since = now;
            self.seen = (0, Node::default());
            return self.look(dev);
        }
        self.line(done);
        self.work();
    }

    /// Has each device let go, from `dev` on.
    fn let_go(&mut self, dev: usize) {
        let Some(device) = self.devices.get(dev) else {
            self.line("MISFIRE: done ok exit".to_owned());
            self.line("MISFIRE: exit".to_owned());
            self.out.push_back(Do::Leave);
            return;
        };
        let bus = device.bus;
        self.doing = Some(Doing::Letting(dev));
        self.script(
            &format!("device stop dev={dev} bus={bus}"),
            self.limits.work,
        );
    }
}

/// `pnputil /add-driver INF /install` as it was before Windows 10 1607.
fn older(order: &mut Order) {
    if let Order::Run { program, args } = order
        && program.starts_with("pnputil")
        && let [add, inf, _] = args.as_slice()
        && add == "/add-driver"
    {
        *args = vec!["-i".to_owned(), "-a".to_owned(), inf.clone()];
    }
}

/// Has the harness's script run with these arguments.
fn script(args: &str) -> Order {
    let all = super::SCRIPT_ARGS
        .iter()
        .copied()
        .chain([super::SCRIPT_AT])
        .chain(args.split_ascii_whitespace());
    Order::Run {
        program: "powershell.exe".to_owned(),
        args: all.map(str::to_owned).collect(),
    }
}

/// The lines of the last installation in Windows' notes that say what went wrong: they begin with `!`.
fn last_section(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let section = text.rsplit(">>>  Section start").next().unwrap_or(&text);
    let wrong = section
        .lines()
        .map(str::trim)
        .filter(|l| l.starts_with('!'));
    let mut wrong: Vec<String> = wrong.map(str::to_owned).collect();
    wrong.drain(..wrong.len().saturating_sub(MOST_NOTES));
    wrong
}

/// The value of `key=value` in a command.
fn value<'c>(command: &'c str, key: &str) -> Option<&'c str> {
    let pairs = command
        .split_ascii_whitespace()
        .filter_map(|word| word.split_once('='));
    pairs
        .into_iter()
        .find(|(k, _)| *k == key)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests;

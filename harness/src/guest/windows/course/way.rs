//! The stages up to the devices, and who is told what happens later.

use std::collections::VecDeque;

use super::order::{Answer, Do, Job, Lane, Limits, Order, Place, Stage, StageError, Time};
use super::script::{said, script};
use super::slots::Slots;
use crate::guest::Slot;
use crate::guest::agent::AgentError;
use crate::guest::windows::words::{Installed, Node, installed};
use crate::log::kd::Event;

/// The first build whose `pnputil` knows `/add-driver`: Windows 10 1607.
const ADDS_DRIVERS: u16 = 14_393;
/// Where Windows notes what it installs, and how that is called.
pub(super) const SETUP_LOG: &str = "C:\\Windows\\INF\\setupapi.dev.log";
const SETUP_NAME: &str = "setupapi.dev.log";
/// How many lines of it are told.
const MOST_NOTES: usize = 5;
/// How long a file may take to be written at least.
const FILE_LIMIT: Time = Time::from_secs(60);

/// What the agent is doing for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doing {
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

/// The answer of a command that waits for a device: when it was started, and when it was not in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    pub done: String,
    pub late: String,
}

/// Where on the way a Windows is.
#[derive(Debug)]
pub struct Course {
    pub(super) stage: Stage,
    pub(super) since: Time,
    pub(super) limits: Limits,
    jobs: VecDeque<Job>,
    restarts: bool,
    pub(super) devices: Vec<Place>,
    pub(super) doing: Option<Doing>,
    /// Which device is looked at next, and when.
    pub(super) look: Option<(usize, Time)>,
    /// How often the node was seen as it is, and how.
    pub(super) seen: (u32, Node),
    /// A command whose end comes when the node has been looked at.
    pub(super) after_look: Option<Awaited>,
    pub(super) commands: VecDeque<String>,
    pub(super) workload: Vec<String>,
    pub(super) out: VecDeque<Do>,
    /// The kernel's build.
    build: Option<u16>,
    pub(super) slots: Slots,
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
            // The agent's own limits end these; a device is late when it was looked at once more.
            Stage::Ready | Stage::Install | Stage::Plug | Stage::Device | Stage::Work => None,
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
            (Event::Booted, Stage::Boot | Stage::Restart) => self.enter(now, Stage::Ready),
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
            // One that is gone before it answers is being started again.
            (Doing::Restarting, Answer::Done(Err(AgentError::Silent { .. }))) => {}
            (Doing::Restarting, Answer::Done(Err(error))) => {
                self.fail(format!("it can't be started again: {error}"));
            }
            (Doing::Settings(dev), Answer::Ran(ran)) => self.set(dev, &ran),
            (Doing::Looking(dev), Answer::Ran(ran)) => self.looked(now, dev, ran),
            (Doing::Command(command), Answer::Ran(ran)) => self.ran(now, &command, ran),
            (Doing::Letting(dev), Answer::Ran(_)) => self.let_go(dev + 1),
            // The answer to what was done before: a restart that was over sooner.
            (doing, _) => self.doing = Some(doing),
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
                false => self.begin_device(now, 0),
            },
        }
    }

    pub(super) fn fail(&mut self, why: String) {
        if !self.failed {
            self.failed = true;
            let stage = self.stage;
            self.out.push_back(Do::Fail(StageError { stage, why }));
        }
    }

    pub(super) fn line(&mut self, line: String) {
        self.out.push_back(Do::Line(line));
    }

    pub(super) fn run(&mut self, program: &str, args: &[&str], limit: Time) {
        let order = Order::Run {
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        self.out.push_back(Do::Order(order, limit));
    }

    pub(super) fn script(&mut self, args: &str, limit: Time) {
        self.out.push_back(Do::Order(script(args), limit));
    }

    fn next_job(&mut self, now: Time) {
        match self.jobs.pop_front() {
            Some(mut job) => {
                if self.build.is_some_and(|build| build < ADDS_DRIVERS) {
                    older(&mut job.order);
                }
                let order = job.order.clone();
                // A file takes as long as its port takes it; how long a program may take is the user's word.
                let limit = match order {
                    Order::Run { .. } => self.limits.install,
                    _ => self.limits.install.max(FILE_LIMIT),
                };
                self.out.push_back(Do::Order(order, limit));
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
            // What comes after it is done when the system is there again.
            Installed::Restarting => {
                (self.stage, self.since, self.restarts) = (Stage::Restart, now, false);
                return;
            }
            Installed::Failed(why) => {
                let why = match said(&ended.output) {
                    Some(said) => format!("{}: {why}; it said: {said}", job.what),
                    None => format!("{}: {why}", job.what),
                };
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

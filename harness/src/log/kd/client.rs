//! A headless kernel debugger: it answers everything that the target asks, so that nothing there ever
//! waits for a person, and tells what it heard.

use std::collections::VecDeque;
use std::fmt;

use super::bugcheck::{Bugcheck, Fatal};
use super::frame::kind;
use super::lines::Lines;
use super::link::{Heard, Link, Time};
use super::modules::{Module, Modules};
use super::packet::{self, CONTINUE, Exception, Machine, Message};
use super::stop::Stop;

/// A stopped target that makes no progress in this time is asked to begin again.
const PATIENCE: Time = Time::from_secs(2);
/// The base of an image that is none: the target is about to reboot.
const REBOOT_BASE: u64 = u64::MAX;

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The target booted.
    Booted,
    /// Which kernel it is.
    Kernel {
        /// The build.
        build: u16,
        /// Where it is.
        base: u64,
    },
    /// A line of `DbgPrint`.
    Line {
        /// The processor.
        cpu: u16,
        /// The text without its end.
        text: String,
    },
    /// A driver or another image was loaded.
    Loaded(Module),
    /// It was unloaded.
    Unloaded(Module),
    /// It asked whether the host has another file in place of this one.
    FileAsked(String),
    /// An assertion failed, and was ignored so that the target goes on.
    Assertion {
        /// The processor.
        cpu: u16,
        /// The question, or the place.
        text: String,
    },
    /// A question that nobody can answer was answered with nothing.
    Question {
        /// The processor.
        cpu: u16,
        /// The question.
        text: String,
    },
    /// The target stopped for an exception.
    Exception {
        /// What happened.
        exception: Exception,
        /// The image and offset where it did.
        place: Option<String>,
    },
    /// The target crashed.
    Bugcheck(Bugcheck),
    /// The target is stopped in the crash and waits for [`Client::go_on`].
    Stopped,
    /// The target answered a probe.
    Alive,
    /// The target is about to reboot or to shut down.
    Rebooting,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image =
            |module: &Module| format!("{} {:#x} {:#x}", module.path, module.base, module.size);
        match self {
            Self::Line { text, .. } => f.write_str(text),
            Self::Booted => f.write_str("kd: booted"),
            Self::Kernel { build, base } => write!(f, "kd: kernel build {build} at {base:#x}"),
            Self::Loaded(module) => write!(f, "kd: loaded {}", image(module)),
            Self::Unloaded(module) => write!(f, "kd: unloaded {}", image(module)),
            Self::FileAsked(name) => write!(f, "kd: asked for a replacement of {name}"),
            Self::Assertion { cpu, text } => write!(f, "kd: cpu {cpu}: assertion ignored: {text}"),
            Self::Question { cpu, text } => {
                write!(f, "kd: cpu {cpu}: answered with nothing: {text}")
            }
            Self::Exception { exception, place } => {
                let (cpu, code, address) = (exception.cpu, exception.code, exception.address);
                write!(f, "kd: cpu {cpu}: exception {code:#x} at {address:#x}")?;
                place.iter().try_for_each(|place| write!(f, " ({place})"))
            }
            Self::Bugcheck(bugcheck) => write!(f, "kd: crash {bugcheck}"),
            Self::Stopped => f.write_str("kd: stopped in the crash"),
            Self::Alive => f.write_str("kd: alive"),
            Self::Rebooting => f.write_str("kd: about to reboot or to shut down"),
        }
    }
}

/// What is done when the target crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBugcheck {
    /// It stays stopped before its callbacks have run, until it is told to go on.
    #[default]
    Stop,
    /// It goes on to its blue screen and its dump.
    GoOn,
}

/// A headless debugger.
#[derive(Debug)]
pub struct Client {
    pub(super) link: Link,
    lines: Lines,
    pub(super) modules: Modules,
    pub(super) events: VecDeque<Event>,
    pub(super) fatal: Fatal,
    pub(super) on_bugcheck: OnBugcheck,
    pub(super) machine: Machine,
    /// Where the kernel keeps a pointer to the debugger's data block; none: not asked yet.
    pub(super) version: Option<u64>,
    pub(super) stop: Option<Stop>,
    /// When a stopped target made progress last.
    progress: Time,
    /// A probe was sent and not answered.
    pub(super) probing: bool,
}

impl Client {
    /// A debugger for a target that has not been switched on yet, or (`late`) runs already: it was
    /// restored from a snapshot, or had another debugger before.
    pub fn new(late: bool, on_bugcheck: OnBugcheck) -> Self {
        Self {
            link: Link::new(late),
            lines: Lines::default(),
            modules: Modules::default(),
            events: VecDeque::new(),
            fatal: Fatal::default(),
            on_bugcheck,
            machine: Machine::default(),
            version: None,
            stop: None,
            progress: Time::ZERO,
            probing: false,
        }
    }

    /// Takes what arrived.
    pub fn receive(&mut self, now: Time, bytes: &[u8]) {
        self.link.receive(now, bytes);
        self.work(now);
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Time) {
        self.link.tick(now);
        self.work(now);
        if self.stop.as_ref().is_some_and(|stop| !stop.held) && now >= self.progress + PATIENCE {
            self.progress = now;
            self.link.begin_again(now);
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn deadline(&self) -> Option<Time> {
        let stopped = self.stop.as_ref().filter(|stop| !stop.held);
        let patience = stopped.map(|_| self.progress + PATIENCE);
        [self.link.deadline(), patience].into_iter().flatten().min()
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.link.take_output()
    }

    /// What was heard, in order.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The images that are loaded.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// Asks a running target for a sign of life; [`Event::Alive`] is the answer.
    pub fn probe(&mut self) {
        if self.stop.is_none() && !self.probing {
            self.probing = true;
            self.link.break_in();
        }
    }

    /// Lets a target go on that is held in a crash.
    pub fn go_on(&mut self, now: Time) {
        if let Some(stop) = &mut self.stop
            && stop.held
        {
            stop.held = false;
            self.progress = now;
            self.step_over(now);
        }
    }

    /// Reboots a target that is held in a crash.
    pub fn reboot(&mut self, now: Time) {
        if self.stop.take_if(|stop| stop.held).is_some() {
            self.link.send(now, packet::reboot());
        }
    }

    /// The machine was reset, restored from a snapshot, or its line connected anew.
    pub fn forget(&mut self) {
        self.link.forget();
        self.stop = None;
        self.probing = false;
        self.flush();
    }

    /// Nothing more will come.
    pub fn end(&mut self) {
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        for (cpu, text) in self.lines.flush() {
            self.events.push_back(Event::Line { cpu, text });
        }
    }

    fn work(&mut self, now: Time) {
        while let Some(heard) = self.link.next_heard() {
            self.progress = now;
            match heard {
                Heard::Boot => {
                    self.flush();
                    self.stop = None;
                    self.probing = false;
                    self.version = None;
                    self.fatal = Fatal::default();
                    self.modules.clear();
                    self.events.push_back(Event::Booted);
                }
                // It repeats what it wanted.
                Heard::Reset => {
                    if let Some(stop) = &mut self.stop {
                        stop.asked = None;
                    }
                }
                Heard::Payload(kind, payload) => self.payload(now, kind, &payload),
            }
        }
    }

    fn payload(&mut self, now: Time, frame: u16, payload: &[u8]) {
        let Some(message) = Message::read(frame, payload) else {
            if frame == kind::STATE_CHANGE {
                // It is stopped, whatever for.
                self.link
                    .send(now, packet::go_on(self.machine, 0, CONTINUE));
            }
            return;
        };
        match message {
            Message::Print { cpu, text } => {
                self.stop = None;
                self.fatal.push(&text);
                for (cpu, text) in self.lines.push(cpu, &text) {
                    self.events.push_back(Event::Line { cpu, text });
                }
            }
            Message::Prompt { cpu, text, room } => {
                let ignores = text.windows(6).any(|w| w == b"(boipt" || w == b"(bipt)");
                let answer = if ignores && room > 0 { "i" } else { "" };
                if self.link.send(now, packet::answer_prompt(cpu, answer)) {
                    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
                    self.events.push_back(match ignores {
                        true => Event::Assertion { cpu, text },
                        false => Event::Question { cpu, text },
                    });
                }
            }
            Message::FileRequest { api, name } => {
                if self.link.send(now, packet::no_such_file(api)) && !name.is_empty() {
                    self.events.push_back(Event::FileAsked(name));
                }
            }
            Message::Image {
                cpu,
                path,
                base,
                size,
                unload,
            } => {
                self.image(Module { path, base, size }, unload);
                self.stopped(now, cpu, None);
            }
            Message::Command { cpu } => self.stopped(now, cpu, None),
            Message::Exception(exception) => {
                self.stopped(now, exception.cpu, Some(exception));
            }
            Message::Answer(answer) => self.answered(now, &answer),
        }
    }

    fn image(&mut self, module: Module, unload: bool) {
        if unload && module.base == REBOOT_BASE {
            self.flush();
            self.modules.clear();
            self.events.push_back(Event::Rebooting);
        } else if unload {
            let module = self.modules.unload(module.base).unwrap_or(module);
            self.events.push_back(Event::Unloaded(module));
        } else if self.modules.place(module.base).as_deref()
            != Some(&format!("{}+0x0", module.name()))
        {
            // A target that repeats itself says it twice.
            self.modules.load(module.clone());
            self.events.push_back(Event::Loaded(module));
        }
    }
}

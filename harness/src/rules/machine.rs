//! What a rule's state machine sees, and what it can say.

use misfire_device::spec::{CommonCfg, Field, LegacyCfg, Status, command};
use misfire_device::trace::{
    Access, Altered, Cause, ChainSeen, Dirty, Effect, Fired, Input, Message, Op, PackedSample,
    RingSample, Space, Step, TableEntry,
};

use super::judge::Severity;
use super::registry::{Level, Rule};
use super::state::State;
use crate::log::{Done, Said};

/// A rule's state machine. It sees every event of one device, and what belongs to no device.
pub trait Machine {
    /// Sees the next event; the last one is [`At::End`].
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>);
}

/// A rule's state machine, or a function where the shared state is enough.
#[derive(Clone, Copy)]
pub enum Watch {
    /// Called for each event.
    Each(fn(&Now<'_>, &mut Say<'_>)),
    /// Makes a machine for one device.
    With(fn() -> Box<dyn Machine>),
}

impl Watch {
    /// A machine that begins in its default state.
    pub const fn with<M: Machine + Default + 'static>() -> Self {
        Self::With(|| Box::<M>::default())
    }
}

impl Machine for fn(&Now<'_>, &mut Say<'_>) {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        self(now, say);
    }
}

/// The happening of an event.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// The device heard something and answered.
    Step(&'a Step),
    /// A fault fired on it.
    Fault(&'a Fired),
    /// One of its rings was sampled.
    Ring(&'a RingSample),
    /// One of its packed rings was sampled.
    Packed(&'a PackedSample),
    /// It looks at a chain before it works on it.
    Chain(&'a ChainSeen),
    /// The driver changed a chain that the device holds.
    Altered(&'a Altered),
    /// The driver wrote where only the device writes.
    Dirty(&'a Dirty),
    /// Its MSI-X table was read.
    Table(&'a [TableEntry]),
    /// The guest said something about this device, or about none in particular.
    Said(&'a Said),
    /// A step of the scenario began, ended or ran out of time.
    Mark(&'a str),
    /// The guest, or who puts devices in and out, is told to do something: what the driver does from here on
    /// may be that. A load is none of it, and neither is waiting.
    Told,
    /// The trace is over.
    End,
}

/// One event, and the state before it.
pub struct Now<'a> {
    /// Its position; at the end, that of the last event.
    pub seq: u64,
    /// What happened.
    pub at: At<'a>,
    /// The device as it was before.
    pub s: &'a State,
}

impl<'a> Now<'a> {
    /// The step, if it is one.
    pub fn step(&self) -> Option<&'a Step> {
        match self.at {
            At::Step(step) => Some(step),
            _ => None,
        }
    }

    /// The access, with the value that was written or that the driver got.
    pub fn access(&self) -> Option<(&'a Access, u64)> {
        self.step()?.access()
    }

    /// Whether the driver uses the legacy interface, here or until now.
    pub fn is_legacy(&self) -> bool {
        let ports = self.s.dev.shape.has_legacy();
        match self.access() {
            Some((access, _)) if ports && access.space != Space::Config => {
                access.space == Space::Bar0
            }
            _ => self.s.dev.legacy,
        }
    }

    /// The queue that the driver puts in use by the legacy interface, with its first page; page 0 takes
    /// it out of use.
    pub fn places_queue(&self) -> Option<(u16, u64)> {
        let (field, page) = self.written()?;
        let q = self.access()?.0.q?;
        (field == Field::Legacy(LegacyCfg::QueueAddress)).then_some((q, page))
    }

    /// The write of a register, as the driver made it. A register of the legacy interface goes by the
    /// name of its modern counterpart.
    pub fn written(&self) -> Option<(Field, u64)> {
        let (access, value) = self.access()?;
        Some((access.register().filter(|_| access.op == Op::Write)?, value))
    }

    /// The value written to a register of the common configuration.
    pub fn wrote(&self, register: CommonCfg) -> Option<u64> {
        self.written()
            .filter(|(f, _)| *f == Field::Common(register))
            .map(|(_, v)| v)
    }

    /// What the driver got from a register of the common configuration.
    pub fn read(&self, register: CommonCfg) -> Option<u64> {
        self.step()?.read(Field::Common(register))
    }

    /// The register of the common configuration that was written.
    pub fn common_write(&self) -> Option<(CommonCfg, u64)> {
        match self.written() {
            Some((Field::Common(register), value)) => Some((register, value)),
            _ => None,
        }
    }

    /// The status that the driver wrote.
    pub fn status(&self) -> Option<Status> {
        self.wrote(CommonCfg::DeviceStatus).map(|v| Status(v as u8))
    }

    /// Whether the driver sets a status bit that it had not set in this epoch.
    pub fn sets(&self, bit: u8) -> bool {
        self.status()
            .is_some_and(|s| s.has(bit) && self.s.epoch.written & bit == 0)
    }

    /// Whether the driver, or somebody outside, resets the device.
    pub fn resets(&self) -> bool {
        self.status() == Some(Status(0))
            || self.step().is_some_and(|s| s.input == Input::FunctionReset)
    }

    /// Whether the function may no longer write to memory: whoever drove it has let go of it.
    pub fn ends_mastery(&self) -> bool {
        let master = |command: u16| command & command::BUS_MASTER != 0;
        master(self.s.dev.command)
            && self
                .shown()
                .any(|e| matches!(e, Effect::Control { command, .. } if !master(*command)))
    }

    /// Whether the epoch ends here: a reset, or the end of the trace.
    pub fn ends(&self) -> bool {
        self.resets() || matches!(self.at, At::End)
    }

    /// Whether the function is pulled out here.
    pub fn unplugged(&self) -> bool {
        self.hears(&Input::Unplugged)
    }

    /// Whether the function loses all its state here, and no reset was asked for.
    pub fn lost_state(&self) -> bool {
        let access = matches!(self.step().map(|s| &s.input), Some(Input::FunctionReset));
        self.unplugged() || (!access && self.hears(&Input::FunctionReset))
    }

    fn hears(&self, input: &Input) -> bool {
        self.step().is_some_and(|step| match &step.heard {
            Some(heard) => heard.contains(input),
            None => step.input == *input,
        })
    }

    /// The access that notifies a queue, with the value.
    pub fn notifies(&self) -> Option<(&'a Access, u64)> {
        self.access()
            .filter(|(a, _)| a.op == Op::Write && a.register() == Some(Field::Notify))
    }

    /// What the driver got from ISR status.
    pub fn isr(&self) -> Option<u8> {
        self.step()?.read(Field::Isr).map(|v| v as u8)
    }

    /// Messages that the guest was sent.
    pub fn messages(&self) -> impl Iterator<Item = &'a Message> {
        self.shown().filter_map(|e| match e {
            Effect::Message(m) => Some(m),
            _ => None,
        })
    }

    /// Events for which there was no vector.
    pub fn unmapped(&self) -> impl Iterator<Item = Cause> {
        self.shown().filter_map(|e| match e {
            Effect::Unmapped { cause } => Some(*cause),
            _ => None,
        })
    }

    /// The level that the line took, if it changed.
    pub fn pin(&self) -> Option<bool> {
        self.shown().find_map(|e| match e {
            Effect::Pin(level) => Some(*level),
            _ => None,
        })
    }

    /// What the outside was shown.
    pub fn shown(&self) -> impl Iterator<Item = &'a Effect> {
        self.step().into_iter().flat_map(|s| s.shown.iter())
    }

    /// What the guest said.
    pub fn said(&self) -> Option<&'a Said> {
        match self.at {
            At::Said(said) => Some(said),
            _ => None,
        }
    }

    /// Whether this shows that the guest waited for something in vain, or is gone.
    pub fn failure(&self) -> bool {
        match self.at {
            At::Mark(phase) => phase == "timeout",
            At::Said(said) => {
                let vain = |done: &Done| matches!(done.reason(), Some("timeout" | "lost"));
                said.is_crash() || said.done().is_some_and(vain)
            }
            _ => false,
        }
    }

    /// Whether this shows that the guest is through with what it was told to do; that a request
    /// ended with an error does not matter here.
    pub fn success(&self) -> bool {
        self.said()
            .and_then(Said::done)
            .is_some_and(|done| done.ok || done.reason() == Some("errors"))
    }

    /// The vector register that is written, and the vector.
    pub fn maps(&self) -> Option<(Object, u16)> {
        let (register, value) = self.common_write()?;
        Some((self.vector_of(register)?, value as u16))
    }

    /// The vector register that is read, and what the driver got.
    pub fn reads_vector(&self) -> Option<(Object, u16)> {
        let (access, value) = self.access()?;
        let register = access.register().filter(|_| access.op == Op::Read);
        let Some(Field::Common(register)) = register else {
            return None;
        };
        Some((self.vector_of(register)?, value as u16))
    }

    fn vector_of(&self, register: CommonCfg) -> Option<Object> {
        match register {
            CommonCfg::ConfigMsixVector => Some(Object::Config),
            CommonCfg::QueueMsixVector => {
                let q = self.access().and_then(|(a, _)| a.q);
                Some(Object::Queue(q.unwrap_or(self.s.dev.queue_select)))
            }
            _ => None,
        }
    }
}

/// The thing a finding is about, and the thing that a fault touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// The device as a whole.
    Device,
    /// Device status and negotiation.
    Status,
    /// The ISR status byte and the line.
    Isr,
    /// Configuration changes and their vector.
    Config,
    /// One queue.
    Queue(u16),
    /// One port of a port-card.
    Port(u8),
}

impl Object {
    /// The object that a fault names; the whole device if it names nothing that is known here.
    pub fn of_fault(name: &str) -> Self {
        match name {
            "status" => Self::Status,
            "isr" => Self::Isr,
            _ => name.parse().map_or(Self::Device, Self::of_cause),
        }
    }

    /// The object that an interrupt is about.
    pub fn of_cause(cause: Cause) -> Self {
        match cause {
            Cause::Queue(q) => Self::Queue(q),
            Cause::Config => Self::Config,
            Cause::Port(p) => Self::Port(p),
            Cause::None => Self::Device,
        }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device => f.write_str("the device"),
            Self::Status => f.write_str("device status"),
            Self::Isr => f.write_str("ISR status"),
            Self::Config => f.write_str("the configuration change event"),
            Self::Queue(q) => write!(f, "queue {q}"),
            Self::Port(p) => write!(f, "port {p}"),
        }
    }
}

/// A breach, in words.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The events that prove it.
    pub evidence: Vec<u64>,
    /// What happened.
    pub text: String,
}

/// What a rule's machine has said about one device.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Where it was put to the test and kept.
    pub held: Vec<u64>,
    /// How it was kept, where that is worth a word.
    pub note: Option<String>,
    /// Where it was broken.
    pub findings: Vec<Finding>,
    /// Why it was not judged where the device broke the specification.
    pub spared: Option<(u64, String)>,
    /// Why it does not apply.
    pub not_applicable: Option<String>,
    /// What would have to be known.
    pub inconclusive: Option<(Vec<u64>, String)>,
}

/// Events that are kept as evidence of one finding, or of a rule that was held.
const EVIDENCE: usize = 8;

/// Where a machine says what it found.
pub struct Say<'a> {
    pub(super) rule: &'a Rule,
    pub(super) now: &'a Now<'a>,
    pub(super) tally: &'a mut Tally,
}

impl Say<'_> {
    /// The rule was put to the test and kept.
    pub fn held(&mut self, object: Object) {
        let new = self.tally.held.last() != Some(&self.now.seq);
        if self.fair(object) && new && self.tally.held.len() < EVIDENCE {
            self.tally.held.push(self.now.seq);
        }
    }

    /// How the rule was kept.
    pub fn note(&mut self, text: impl Into<String>) {
        self.tally.note.get_or_insert_with(|| text.into());
    }

    /// The rule was broken, as badly as its level says.
    pub fn broken(&mut self, object: Object, evidence: &[u64], text: impl Into<String>) {
        let severity = match self.rule.level {
            Level::Must | Level::Derived | Level::Vendor => Severity::Fail,
            Level::Should => Severity::Warn,
            Level::May => Severity::Info,
        };
        self.find(severity, object, evidence, text.into());
    }

    /// The rule was broken in a way that does no harm now.
    pub fn warn(&mut self, object: Object, evidence: &[u64], text: impl Into<String>) {
        self.find(Severity::Warn, object, evidence, text.into());
    }

    /// Something that is worth knowing.
    pub fn info(&mut self, object: Object, evidence: &[u64], text: impl Into<String>) {
        self.find(Severity::Info, object, evidence, text.into());
    }

    /// The rule can't be judged: something would have to be known.
    pub fn inconclusive(&mut self, evidence: &[u64], text: impl Into<String>) {
        self.tally
            .inconclusive
            .get_or_insert_with(|| (evidence.to_vec(), text.into()));
    }

    /// The rule does not apply to this device.
    pub fn not_applicable(&mut self, text: impl Into<String>) {
        self.tally.not_applicable.get_or_insert_with(|| text.into());
    }

    fn find(&mut self, severity: Severity, object: Object, evidence: &[u64], text: String) {
        if !self.fair(object) {
            return;
        }
        let mut evidence: Vec<u64> = evidence.to_vec();
        if evidence.is_empty() {
            evidence.push(self.now.seq);
        }
        match self.tally.findings.iter_mut().find(|f| f.text == text) {
            Some(known) => known.evidence.extend(
                evidence
                    .into_iter()
                    .take(EVIDENCE.saturating_sub(known.evidence.len())),
            ),
            None => self.tally.findings.push(Finding {
                severity,
                evidence,
                text,
            }),
        }
    }

    /// Whether the driver can be held to the rule: the device has not broken the specification for
    /// `object` before.
    fn fair(&mut self, object: Object) -> bool {
        if self.rule.robust {
            return true;
        }
        let s = self.now.s;
        if (s.dev.gone && !self.rule.gone) || s.lost.is_some() || self.now.lost_state() {
            self.tally.spared.get_or_insert_with(|| {
                let text = "not judged of a function that is pulled out, or loses its state";
                (self.now.seq, text.to_owned())
            });
            return false;
        }
        let touched = self.now.s.taint.iter().find(|t| t.touches(object));
        if let Some(taint) = touched {
            self.tally.spared.get_or_insert_with(|| {
                (
                    taint.seq,
                    format!(
                        "not judged for {object} after the fault {}, which no device may show",
                        taint.fault
                    ),
                )
            });
        }
        touched.is_none()
    }
}

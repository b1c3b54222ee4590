//! Events, and the inputs and effects that they carry.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smallvec::SmallVec;

use crate::shape::Shape;
use crate::spec::{Field, NO_VECTOR};

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the journal, from 1, without gaps.
    pub seq: u64,
    /// Nanoseconds since the journal was opened, on the monotonic clock.
    #[serde(rename = "t")]
    pub time: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened, and where it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "kebab-case")]
pub enum What {
    /// A device begins to be served. The first event of each device.
    Hello(Box<Hello>),
    /// A device heard something and answered.
    Step(Step),
    /// A fault fired; its step follows.
    Fault(Fired),
    /// The state of a ring in guest memory.
    Ring(RingSample),
    /// The MSI-X table, read from outside the guest.
    MsixTable {
        /// Device, from 0.
        dev: u8,
        /// Every entry, from 0.
        entries: Vec<TableEntry>,
    },
    /// A line that the guest printed.
    Log {
        /// The text, without the line end.
        line: String,
    },
    /// An event that QEMU reported over QMP.
    Qmp {
        /// QEMU's name of the event.
        event: String,
        /// Its data.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        data: serde_json::Value,
    },
    /// The harness began a step of the scenario, or saw it end.
    Mark {
        /// Position of the step in the scenario, from 0; start and end of the run have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<usize>,
        /// `begin`, `end`, `timeout`, or a word for a run's own marks.
        phase: String,
        /// The step in words.
        text: String,
    },
}

/// What a device is when it begins to be served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Device, from 0.
    pub dev: u8,
    /// Its shape.
    pub shape: Shape,
    /// The feature bits it offers, in a trace as `"0x…"`; 0 for a device that is not virtio.
    #[serde(with = "hex")]
    pub features: u128,
}

/// A number of 128 bits as a string: JSON readers do not take such numbers.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &u128, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&format_args!("{value:#x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<u128, D::Error> {
        let text = String::deserialize(input)?;
        text.strip_prefix("0x")
            .and_then(|digits| u128::from_str_radix(digits, 16).ok())
            .ok_or_else(|| {
                de::Error::custom(format!("`{text}` is not a number such as \"0x130000000\""))
            })
    }
}

/// A device heard something and answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Device, from 0.
    pub dev: u8,
    /// Which part of the device.
    #[serde(default, skip_serializing_if = "Part::is_function")]
    pub part: Part,
    /// What reached the device.
    #[serde(rename = "in")]
    pub input: Input,
    /// What the device heard instead, if a fault changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Vec<Input>>,
    /// What the outside was shown.
    #[serde(rename = "out", default, skip_serializing_if = "Effects::is_empty")]
    pub shown: Effects,
    /// What the device meant, if a fault changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meant: Option<Effects>,
}

impl Step {
    /// The access of a register, with the value that was written, or that the driver got.
    pub fn access(&self) -> Option<(&Access, u64)> {
        let Input::Access(access) = &self.input else {
            return None;
        };
        let value = match access.op {
            Op::Write => access.val,
            Op::Read => self.shown.iter().find_map(|e| match e {
                Effect::Value(v) => Some(*v),
                _ => None,
            }),
        };
        Some((access, value.unwrap_or(0)))
    }

    /// The write of `field`, as the driver made it.
    pub fn wrote(&self, field: Field) -> Option<u64> {
        self.access()
            .filter(|(a, _)| a.op == Op::Write && a.field == Some(field))
            .map(|(_, v)| v)
    }

    /// What the driver got when it read `field`.
    pub fn read(&self, field: Field) -> Option<u64> {
        self.access()
            .filter(|(a, _)| a.op == Op::Read && a.field == Some(field))
            .map(|(_, v)| v)
    }
}

/// Which part of a device an event belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The PCI function.
    #[default]
    Function,
    /// The virtio device behind it.
    Backend,
}

impl Part {
    fn is_function(&self) -> bool {
        *self == Self::Function
    }
}

/// What reaches a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// The guest accessed a register.
    Access(Access),
    /// The function was reset from outside (the bus, or a function level reset by the VMM).
    FunctionReset,
    /// The VMM wired, unwired or unmasked interrupts.
    Irqs {
        /// Which kind.
        kind: IrqKind,
        /// The first one.
        start: u16,
        /// How many.
        count: u16,
        /// Whether they can be delivered now.
        wired: bool,
    },
    /// The guest's memory at this place came (`mapped`) or went.
    Dma {
        /// Guest physical address, bytes.
        address: u64,
        /// Length in bytes.
        size: u64,
        /// Whether it came.
        mapped: bool,
    },
    /// The backend made buffers of a queue used and asks for an interrupt.
    Used {
        /// Queue index.
        queue: u16,
    },
    /// The backend fetched a chain.
    Chain {
        /// Queue index.
        queue: u16,
        /// Head descriptor.
        head: u16,
        /// The request in words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        request: String,
    },
    /// The backend is about to make a chain used.
    Complete {
        /// Queue index.
        queue: u16,
        /// Head descriptor.
        head: u16,
        /// Bytes written into it.
        len: u32,
    },
    /// Device configuration takes this content from `offset` on; the device tells the driver.
    Config {
        /// Byte offset.
        offset: u16,
        /// New bytes.
        bytes: Vec<u8>,
    },
    /// The device met an error that it can't recover from.
    Broken,
    /// The driver notified a queue, as the backend sees it.
    Kick {
        /// Queue index.
        queue: u16,
    },
    /// A vhost-user message that changed the backend's state.
    Vhost {
        /// The message's name in the vhost-user specification.
        message: String,
        /// Its queue, or its payload.
        #[serde(default)]
        value: u64,
    },
    /// A command of the host.
    Host(Host),
    /// The time that was asked for has come.
    Time,
}

/// A command of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name: `cfg.change`, `needs-reset`, or any name that a trigger `host:<name>` waits for.
    pub command: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, toml::Value>,
}

/// An access as the driver made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Read or write.
    pub op: Op,
    /// Where.
    pub space: Space,
    /// Offset in bytes from the start of the space.
    pub off: u64,
    /// Width in bytes: 1, 2, 4 or 8.
    pub width: u8,
    /// The value written, little-endian; none for a read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val: Option<u64>,
    /// The register at `off`; none in a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Field>,
    /// The queue selected at the time, or the queue notified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<u16>,
    /// Made through the virtio configuration access window (4.1.4.9).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub window: bool,
}

impl Access {
    /// Whether it sets Initiate Function Level Reset (PCI Express 3.0, 7.8.4).
    pub fn resets_function(&self) -> bool {
        // The bit is the top one of the register, which begins at a multiple of four bytes.
        let lane = (5 - self.off % 4) % 4;
        self.op == Op::Write
            && self.field == Some(Field::DeviceControl)
            && lane < u64::from(self.width)
            && self.val.is_some_and(|val| val >> (8 * lane) & 0x80 != 0)
    }
}

/// Read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// Read.
    #[serde(rename = "rd")]
    Read,
    /// Write.
    #[serde(rename = "wr")]
    Write,
}

/// A space of addresses in the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// PCI configuration space.
    Config,
    /// Base address register 0.
    Bar0,
    /// Base address register 1.
    Bar1,
    /// Base address register 2.
    Bar2,
    /// Base address register 3.
    Bar3,
    /// Base address register 4.
    Bar4,
    /// Base address register 5.
    Bar5,
}

impl Space {
    /// The space of base address register `n`, 0 to 5.
    pub fn bar(n: u8) -> Option<Self> {
        [
            Self::Bar0,
            Self::Bar1,
            Self::Bar2,
            Self::Bar3,
            Self::Bar4,
            Self::Bar5,
        ]
        .get(usize::from(n))
        .copied()
    }
}

/// A kind of interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IrqKind {
    /// A message of the MSI-X table.
    Msix,
    /// A message of the MSI capability.
    Msi,
    /// The line.
    Intx,
}

/// What one step brings about, in order.
pub type Effects = SmallVec<[Effect; 2]>;

/// What a device brings about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The answer to the read.
    Value(u64),
    /// A message is sent.
    Message(Message),
    /// A message waits in the pending bit array: it is masked, or may not be sent yet.
    Pended(Message),
    /// An event has no vector, so nothing is sent.
    Unmapped {
        /// The event.
        cause: Cause,
    },
    /// The line changes.
    Pin(bool),
    /// A queue's notification goes to the backend.
    Kick {
        /// Queue index.
        queue: u16,
    },
    /// The backend is to start with these queues (DRIVER_OK).
    Start(Box<Start>),
    /// The backend is to stop; no buffer is used afterwards (reset).
    Stop,
    /// The backend makes a chain used.
    Complete {
        /// Queue index.
        queue: u16,
        /// Head descriptor.
        head: u16,
        /// Bytes written into it.
        len: u32,
    },
    /// The backend asks for an interrupt of a queue.
    Call {
        /// Queue index.
        queue: u16,
    },
    /// The backend tells that its configuration changed.
    ConfigChanged,
    /// The PCI registers that decide how the function interrupts have these values now.
    Control {
        /// The command register.
        command: u16,
        /// MSI-X message control; 0 without the capability.
        msix: u16,
        /// MSI message control; 0 without the capability.
        msi: u16,
    },
}

/// A message-signalled interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// MSI-X or MSI.
    pub kind: IrqKind,
    /// Table entry, or message number.
    pub entry: u16,
    /// Why it is sent.
    pub cause: Cause,
}

/// Why an interrupt is raised: `q<n>`, `cfg`, `port<n>`, or `none` for a spurious one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// A queue has used buffers.
    Queue(u16),
    /// The configuration changed.
    Config,
    /// A port of port-card has an event.
    Port(u8),
    /// Nothing.
    None,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(q) => write!(f, "q{q}"),
            Self::Config => f.write_str("cfg"),
            Self::Port(p) => write!(f, "port{p}"),
            Self::None => f.write_str("none"),
        }
    }
}

impl FromStr for Cause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |prefix: &str| text.strip_prefix(prefix).and_then(|n| n.parse().ok());
        match text {
            "cfg" => Ok(Self::Config),
            "none" => Ok(Self::None),
            _ => number("q")
                .map(Self::Queue)
                .or_else(|| {
                    number("port")
                        .and_then(|p| u8::try_from(p).ok())
                        .map(Self::Port)
                })
                .ok_or_else(|| {
                    format!("`{text}` is not a cause: expected q<n>, cfg, port<n> or none")
                }),
        }
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// What the backend needs to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The features that driver and device agreed on.
    pub features: u64,
    /// The queues that are enabled.
    pub queues: Vec<QueueSetup>,
}

/// One enabled queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSetup {
    /// Queue index.
    pub index: u16,
    /// Elements.
    pub size: u16,
    /// Guest physical address of the descriptor area.
    pub desc: u64,
    /// Guest physical address of the driver area (the available ring).
    pub driver: u64,
    /// Guest physical address of the device area (the used ring).
    pub device: u64,
    /// Mapped vector, or `NO_VECTOR`.
    pub vector: u16,
}

impl QueueSetup {
    /// Whether a vector is mapped.
    pub fn has_vector(&self) -> bool {
        self.vector != NO_VECTOR
    }
}

/// Whether the specification lets a device do this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Legality {
    /// It does.
    Legal,
    /// The wording allows it, though it is unusual; or it is a matter of quality.
    Grey,
    /// It does not: only robustness and Windows rules are judged for what it touched.
    Illegal,
}

/// A fault fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// Device, from 0.
    pub dev: u8,
    /// The fault's id in the scenario.
    pub id: String,
    /// The fault's name in the catalogue, such as `vector.reject`.
    pub fault: String,
    /// Its class.
    pub class: Legality,
    /// What it touched: a cause such as `q1` or `cfg`, `status`, `isr`, `device`.
    pub object: String,
    /// How often it has fired, this time included.
    pub count: u64,
}

/// The state of a split ring in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingSample {
    /// Device, from 0.
    pub dev: u8,
    /// Queue index.
    pub q: u16,
    /// `avail.flags`.
    pub avail_flags: u16,
    /// `avail.idx`.
    pub avail_idx: u16,
    /// `used.flags`.
    pub used_flags: u16,
    /// `used.idx`.
    pub used_idx: u16,
    /// `used_event`, at the end of the available ring.
    pub used_event: u16,
    /// `avail_event`, at the end of the used ring.
    pub avail_event: u16,
}

/// An entry of the MSI-X table as the guest programmed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableEntry {
    /// Message address.
    pub addr: u64,
    /// Message data; on x86 the low byte is the APIC vector.
    pub data: u32,
    /// Vector control; bit 0 masks the entry.
    pub ctrl: u32,
}

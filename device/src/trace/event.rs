//! Events: the lines of a trace.

use serde::{Deserialize, Serialize};

use super::ring::{Altered, ChainSeen, Dirty, PackedSample, RingSample};
use super::{Access, Effect, Effects, Input, Op};
use crate::shape::Shape;
use crate::spec::Field;

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
    /// The state of a packed ring in guest memory.
    Packed(PackedSample),
    /// A chain of descriptors before the device works on it; the step that fetches it follows.
    Chain(Box<ChainSeen>),
    /// The driver changed a chain that the device has not used.
    Altered(Altered),
    /// The driver wrote where only the device writes.
    Dirty(Dirty),
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

    /// The write of `field`, as the driver made it, by whichever interface.
    pub fn wrote(&self, field: Field) -> Option<u64> {
        self.access()
            .filter(|(a, _)| a.op == Op::Write && a.register() == Some(field))
            .map(|(_, v)| v)
    }

    /// What the driver got when it read `field`, by whichever interface.
    pub fn read(&self, field: Field) -> Option<u64> {
        self.access()
            .filter(|(a, _)| a.op == Op::Read && a.register() == Some(field))
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

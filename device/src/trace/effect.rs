//! What a device brings about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smallvec::SmallVec;

use super::IrqKind;
use crate::spec::NO_VECTOR;

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
    /// The backend is to leave memory alone until it is resumed; its queues stay where they are (the
    /// function may not master the bus: PCI 3.0, 6.2.2; PCI Power Management 1.2, 5.4.1).
    Suspend,
    /// The backend is to go on from where it was suspended.
    Resume,
    /// The backend is to start one queue: it was reset, and is enabled again (2.6.1.2).
    StartQueue(QueueSetup),
    /// The backend is to stop one queue; none of its buffers is used afterwards (2.6.1.1).
    StopQueue {
        /// Queue index.
        queue: u16,
    },
    /// The backend makes a chain used.
    Complete {
        /// Queue index.
        queue: u16,
        /// Head descriptor, as the used element names it.
        id: u32,
        /// Bytes written into it.
        len: u32,
    },
    /// The device writes something else into a used ring.
    Ring {
        /// Queue index.
        queue: u16,
        /// What.
        write: RingWrite,
    },
    /// The backend asks for an interrupt of a queue.
    Call {
        /// Queue index.
        queue: u16,
    },
    /// The backend tells that its configuration changed.
    ConfigChanged,
    /// The driver wrote into the device configuration, or a reset put back what it had written.
    ConfigWrite {
        /// Byte offset.
        offset: u16,
        /// The bytes that stand there now.
        bytes: Vec<u8>,
    },
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

/// A write of a used ring that is no element; in a packed ring what comes closest to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RingWrite {
    /// `used.flags` takes this value, and keeps it. Packed: the `flags` of the device's event suppression.
    Flags(u16),
    /// `used.idx` moves by so many elements, which are not written. Packed: the place of the next used
    /// descriptor moves by so many descriptors.
    Jump(u16),
    /// `avail_event` takes this value, and keeps it. Packed: the `desc` of the device's event
    /// suppression, an offset in bits 0 to 14 and a wrap counter in bit 15.
    AvailEvent(u16),
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

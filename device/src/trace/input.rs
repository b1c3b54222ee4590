//! What reaches a device.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::{Field, LegacyCfg};

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
    /// Device configuration took this content from `offset` on because the driver commanded it;
    /// nobody is told.
    Reconfigured {
        /// Byte offset.
        offset: u16,
        /// New bytes.
        bytes: Vec<u8>,
    },
    /// The device met an error that it can't recover from.
    Broken,
    /// The function was pulled out of its slot: until the next function reset nothing is there, and
    /// every read gives all ones.
    Unplugged,
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
    /// The register at `off` as the modern interface names it, whichever the driver uses.
    pub fn register(&self) -> Option<Field> {
        self.field.map(Field::as_modern)
    }

    /// The register of the legacy header at `off`.
    pub fn legacy(&self) -> Option<LegacyCfg> {
        match self.field {
            Some(Field::Legacy(register)) => Some(register),
            _ => None,
        }
    }

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IrqKind {
    /// A message of the MSI-X table.
    Msix,
    /// A message of the MSI capability.
    Msi,
    /// The line.
    Intx,
}

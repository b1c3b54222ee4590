//! What the fuzz targets share: devices of every shape, and what a guest can do to them.

pub mod wire;

use arbitrary::Arbitrary;
use misfire_device::endpoint::Endpoint;
use misfire_device::shape::{Interface, Kind, Shape, WITH};
use misfire_device::trace::{Input, IrqKind, Op, Space};

/// The kinds of device that there are.
pub const KINDS: &[Kind] = Kind::ALL;

/// A shape as the fuzzer chooses it.
#[derive(Debug, Arbitrary)]
pub struct AnyShape {
    kind: u8,
    queues: u8,
    msix: u16,
    msi: u8,
    pin: bool,
    ports: u8,
    notify_mult: u8,
    devcfg_len: Option<u8>,
    strict: bool,
    with: u8,
    virtio: u8,
}

impl AnyShape {
    fn with(&self) -> Vec<String> {
        let chosen = WITH
            .iter()
            .enumerate()
            .filter(|(n, _)| self.with >> n & 1 != 0);
        chosen.map(|(_, name)| (*name).to_owned()).collect()
    }

    /// The shape, if a device can have it.
    pub fn shape(&self) -> Option<Shape> {
        let kind = KINDS[usize::from(self.kind) % KINDS.len()];
        let shape = Shape {
            queues: u16::from(self.queues % 8) + 1,
            msix: Some(self.msix % 64),
            msi: [0, 1, 8, 32][usize::from(self.msi % 4)],
            pin: self.pin,
            ports: u16::from(self.ports % 31) + 1,
            notify_mult: [0, 2, 4, 4096][usize::from(self.notify_mult % 4)],
            devcfg_len: self.devcfg_len.map(u16::from),
            strict: self.strict,
            with: self.with(),
            virtio: match (kind.is_virtio(), self.virtio % 4) {
                (true, 1) => Interface::Transitional,
                (true, 2) => Interface::Legacy,
                _ => Interface::Modern,
            },
            ..Shape::new(kind)
        };
        shape.check().is_ok().then_some(shape)
    }
}

/// Something that reaches a device.
#[derive(Debug, Arbitrary)]
pub enum Doing {
    /// An access near the registers.
    Near {
        write: bool,
        place: u8,
        off: u16,
        width: u8,
        val: u16,
    },
    /// An access anywhere.
    Far {
        write: bool,
        place: u8,
        off: u64,
        width: u8,
        val: u64,
    },
    /// The backend asks for an interrupt.
    Used(u16),
    /// The backend fetched a chain, or is about to use it.
    Chain { queue: u16, head: u16, used: bool },
    /// The VMM wires interrupts.
    Irqs {
        kind: u8,
        start: u16,
        count: u16,
        wired: bool,
    },
    /// The configuration changes.
    Config { offset: u16, bytes: [u8; 4] },
    /// The device is reset from outside.
    FunctionReset,
    /// The device can't go on.
    Broken,
    /// Time passes, in nanoseconds.
    Time(u32),
}

impl Doing {
    /// The input that it is for a device, and how much time passes before it, in nanoseconds.
    pub fn input(&self, device: &impl Endpoint) -> (u64, Input) {
        let access = |write: bool, place: u8, off: u64, width: u8, val: u64| {
            let space = match place % 8 {
                0 | 6 => Space::Config,
                1 | 7 => Space::Bar0,
                n => Space::bar(n - 1).unwrap_or(Space::Bar0),
            };
            let op = if write { Op::Write } else { Op::Read };
            Input::Access(device.name(op, space, off, width, write.then_some(val)))
        };
        let input = match *self {
            Self::Near {
                write,
                place,
                off,
                width,
                val,
            } => {
                let width = [1, 2, 4, 8][usize::from(width % 4)];
                access(write, place, off.into(), width, val.into())
            }
            Self::Far {
                write,
                place,
                off,
                width,
                val,
            } => access(write, place, off, width, val),
            Self::Used(queue) => Input::Used { queue },
            Self::Chain { queue, head, used } if used => Input::Complete {
                queue,
                head,
                len: 0,
            },
            Self::Chain { queue, head, .. } => serde_json::from_value(serde_json::json!(
                {"chain": {"queue": queue, "head": head}}
            ))
            .unwrap_or(Input::Time),
            Self::Irqs {
                kind,
                start,
                count,
                wired,
            } => Input::Irqs {
                kind: [IrqKind::Msix, IrqKind::Msi, IrqKind::Intx][usize::from(kind % 3)],
                start,
                count,
                wired,
            },
            Self::Config { offset, bytes } => Input::Config {
                offset,
                bytes: bytes.to_vec(),
            },
            Self::FunctionReset => Input::FunctionReset,
            Self::Broken => Input::Broken,
            Self::Time(_) => Input::Time,
        };
        let passes = match self {
            Self::Time(passes) => (*passes).into(),
            _ => 1,
        };
        (passes, input)
    }
}

//! A device under faults, driven as a driver would.

use std::collections::BTreeMap;

use virtio_bindings::virtio_config::VIRTIO_F_RING_RESET;

use super::{Fault, FaultError, FaultFile, Injector, Outcome};
use crate::backend::{Configuration, Signaller};
use crate::endpoint::{Endpoint, Nanos};
use crate::function::{BarLayout, Function};
use crate::shape::{Attach, Kind, Shape};
use crate::spec::{CommonCfg, Field, NO_VECTOR, PciHeader, command, msix_control};
use crate::trace::{Access, Effect, Effects, Hello, Host, Input, IrqKind, Op, Space};

/// A millisecond.
pub const MS: Nanos = 1_000_000;
const VERSION_1: u128 = 1 << 32;

/// A register of the common configuration.
pub fn cc(register: CommonCfg) -> Field {
    Field::Common(register)
}

/// The function, or behind QEMU what is left of it: a backend that calls.
#[derive(Debug)]
pub enum Device {
    Function(Box<Function>),
    Signaller(Signaller),
}

impl Endpoint for Device {
    fn step(&mut self, now: Nanos, input: &Input) -> Effects {
        match self {
            Self::Function(function) => function.step(now, input),
            Self::Signaller(signaller) => signaller.step(now, input),
        }
    }

    fn name(&self, op: Op, space: Space, off: u64, width: u8, val: Option<u64>) -> Access {
        match self {
            Self::Function(function) => function.name(op, space, off, width, val),
            Self::Signaller(signaller) => signaller.name(op, space, off, width, val),
        }
    }
}

/// An injector around a device, and the time.
pub struct Rig {
    pub injector: Injector<Device>,
    pub now: Nanos,
    /// Where each register begins.
    registers: BTreeMap<Field, (Space, u64)>,
}

impl Rig {
    /// A block device of two queues and three MSI-X entries.
    pub fn block(faults: &[&str]) -> Self {
        Self::block_with("queues = 2", faults)
    }

    /// A block device of another shape.
    pub fn block_with(shape: &str, faults: &[&str]) -> Self {
        Self::new(&shape_of(shape), faults)
    }

    /// The usual block device, which offers RING_RESET.
    pub fn resettable(faults: &[&str]) -> Self {
        Self::block_with("queues = 2\nwith = ['RING_RESET']", faults)
    }

    /// Any device.
    pub fn new(shape: &Shape, faults: &[&str]) -> Self {
        let armed = faults
            .iter()
            .map(|text| check(text, shape).unwrap_or_else(|e| panic!("{text}: {e}")));
        let mut rig = Self::armed(shape, armed.collect());
        if shape.attach == Attach::VfioUser {
            rig.write(
                Field::Pci(PciHeader::Command),
                u64::from(command::MEMORY | command::BUS_MASTER),
            );
        }
        rig
    }

    /// Any device with faults that were checked already, untouched.
    pub fn armed(shape: &Shape, faults: Vec<Fault>) -> Self {
        let features = VERSION_1 | shape.transport_features();
        let device = match shape.attach {
            Attach::VfioUser => {
                let mut config = vec![0; 0x3c];
                config[..8].copy_from_slice(&shape.capacity.to_le_bytes());
                Device::Function(Box::new(Function::new(shape, features, config)))
            }
            Attach::VhostUser => {
                Device::Signaller(Signaller::new(Configuration::new(shape, shape.capacity)))
            }
        };
        let hello = Hello {
            dev: 0,
            shape: shape.clone(),
            features,
        };
        let mut registers = BTreeMap::new();
        for (space, end) in [(Space::Config, 0x100), (Space::Bar0, 0x3040)] {
            for off in 0..end {
                if let Some(field) = device.name(Op::Read, space, off, 1, None).field {
                    registers.entry(field).or_insert((space, off));
                }
            }
        }
        registers.insert(Field::Pba, (Space::Bar2, BarLayout::PBA));
        Self {
            injector: Injector::new(device, hello, faults, 7),
            registers,
            now: 1_000 * MS,
        }
    }

    /// Why a fault can't be armed on the usual block device.
    pub fn refused(text: &str) -> FaultError {
        check(text, &shape_of("queues = 2")).expect_err(text)
    }

    pub fn input(&mut self, input: Input) -> Outcome {
        self.injector.step(self.now, &input)
    }

    pub fn at(&mut self, now: Nanos, input: Input) -> Outcome {
        self.now = now;
        self.input(input)
    }

    pub fn host(&mut self, command: &str) -> Outcome {
        self.input(Input::Host(Host {
            command: command.into(),
            ..Host::default()
        }))
    }

    /// An access of a register, as wide as it is.
    pub fn access(&self, op: Op, field: Field, val: Option<u64>) -> Option<Input> {
        let (space, off) = *self.registers.get(&field)?;
        let width = field.width().unwrap_or(8);
        let device = self.injector.inner();
        Some(Input::Access(device.name(op, space, off, width, val)))
    }

    pub fn write(&mut self, field: Field, val: u64) -> Outcome {
        let input = self
            .access(Op::Write, field, Some(val))
            .expect("the register is there");
        self.input(input)
    }

    pub fn read_outcome(&mut self, field: Field) -> Outcome {
        let input = self
            .access(Op::Read, field, None)
            .expect("the register is there");
        self.input(input)
    }

    pub fn read(&mut self, field: Field) -> u64 {
        let outcome = self.read_outcome(field);
        self.shown_value(&outcome).expect("a read has a value")
    }

    pub fn shown_value(&self, outcome: &Outcome) -> Option<u64> {
        outcome.shown.iter().find_map(|e| match e {
            Effect::Value(v) => Some(*v),
            _ => None,
        })
    }

    /// The value written, as the device heard it.
    pub fn heard_value(&self, outcome: &Outcome) -> Option<u64> {
        match outcome.heard.as_deref() {
            Some([Input::Access(access)]) => access.val,
            _ => None,
        }
    }

    /// The driver accepts VERSION_1 and gets as far as DRIVER.
    pub fn negotiate(&mut self) {
        self.write(cc(CommonCfg::DeviceStatus), 1);
        self.write(cc(CommonCfg::DeviceStatus), 3);
        self.write(cc(CommonCfg::DriverFeatureSelect), 1);
        self.write(cc(CommonCfg::DriverFeature), 1);
    }

    /// A driver that uses MSI-X: entry 0 for the configuration, `1 + n` for queue `n`.
    pub fn bring_up(&mut self) {
        self.bring_up_on(0, 1);
    }

    /// A driver that uses MSI-X with these vectors for the configuration and the first queue.
    pub fn bring_up_on(&mut self, config: u16, first: u16) {
        self.write(Field::MsixControl, msix_control::ENABLE.into());
        self.input(Input::Irqs {
            kind: IrqKind::Msix,
            start: 0,
            count: 2048,
            wired: true,
        });
        self.negotiate();
        self.write(cc(CommonCfg::DeviceStatus), 0xb);
        self.write(cc(CommonCfg::ConfigMsixVector), config.into());
        self.set_up_queues(|q| if first == 0 { 0 } else { first + q });
        self.write(cc(CommonCfg::DeviceStatus), 0xf);
    }

    /// A driver that resets and starts again, as far as the device lets it, without vectors.
    pub fn bring_up_after_reset(&mut self) {
        self.write(cc(CommonCfg::DeviceStatus), 0);
        self.bring_up_intx();
    }

    /// A driver that uses the line.
    pub fn bring_up_intx(&mut self) {
        self.negotiate();
        self.write(cc(CommonCfg::DeviceStatus), 0xb);
        self.set_up_queues(|_| NO_VECTOR);
        self.write(cc(CommonCfg::DeviceStatus), 0xf);
    }

    /// A driver that may reset queues, and uses no vectors.
    pub fn bring_up_resettable(&mut self) {
        self.negotiate();
        let features = (VERSION_1 | 1 << VIRTIO_F_RING_RESET) >> 32;
        self.write(cc(CommonCfg::DriverFeature), features as u64);
        self.write(cc(CommonCfg::DeviceStatus), 0xb);
        self.set_up_queues(|_| NO_VECTOR);
        self.write(cc(CommonCfg::DeviceStatus), 0xf);
    }

    fn set_up_queues(&mut self, vector: impl Fn(u16) -> u16) {
        let queues = self.injector.world().shape.queues;
        for q in 0..queues {
            self.write(cc(CommonCfg::QueueSelect), q.into());
            self.write(cc(CommonCfg::QueueMsixVector), vector(q).into());
            self.write(cc(CommonCfg::QueueEnable), 1);
        }
        self.write(cc(CommonCfg::QueueSelect), 0);
    }
}

/// A shape from the lines of its table.
pub fn shape_of(text: &str) -> Shape {
    let kind = if text.contains("kind =") {
        ""
    } else {
        "kind = 'block'\n"
    };
    let shape: Shape = toml::from_str(&format!("{kind}{text}")).expect(text);
    debug_assert!(shape.kind == Kind::Block || shape.attach == Attach::VfioUser);
    shape
}

/// Reads and checks one `[[fault]]` table.
pub fn check(text: &str, shape: &Shape) -> Result<Fault, FaultError> {
    let file: FaultFile = toml::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    Fault::check(&file, shape)
}

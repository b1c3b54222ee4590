//! A trace in the making.

use misfire_device::endpoint::Endpoint;
use misfire_device::function::{BarLayout, Function};
use misfire_device::shape::{Kind, Shape};
use misfire_device::spec::{
    CommonCfg, Field, NO_VECTOR, PciHeader, Status, command, msi_control, msix_control,
};
use misfire_device::trace::{
    Altered, AlteredPart, ChainSeen, Descriptor, Dirty, DirtyPart, Effect, Effects, Event, Fired,
    Flaw, Hello, Input, IrqKind, Legality, Op, PackedSample, Part, RingSample, Space, Step,
    TableEntry, What,
};

/// A trace in the making: what the driver does reaches a correct device, whose answer is recorded.
pub struct Trace {
    events: Vec<Event>,
    devices: Vec<(Shape, Function)>,
    dev: u8,
}

/// An empty trace.
pub fn trace() -> Trace {
    Trace {
        events: Vec::new(),
        devices: Vec::new(),
        dev: 0,
    }
}

/// A live device with packed rings.
pub fn packed_live() -> Trace {
    const RING_PACKED: u128 = 1 << 34;
    let features = offered() | RING_PACKED;
    trace()
        .hello_shape(block(), features)
        .found()
        .accept(features)
        .features_ok()
        .queue(0, NO_VECTOR)
        .queue(1, NO_VECTOR)
        .driver_ok()
}

/// The features that the device of these traces offers.
pub fn offered() -> u128 {
    [
        "VERSION_1",
        "EVENT_IDX",
        "INDIRECT_DESC",
        "SEG_MAX",
        "BLK_SIZE",
        "FLUSH",
        "MQ",
    ]
    .iter()
    .filter_map(|name| Kind::Block.feature_bit(name))
    .fold(0, |bits, bit| bits | 1 << bit)
}

/// A block device with two queues and three vectors.
pub fn block() -> Shape {
    Shape {
        queues: 2,
        ..Shape::new(Kind::Block)
    }
}

impl Trace {
    /// Something that happened.
    pub fn push(mut self, what: What) -> Self {
        let seq = self.events.len() as u64 + 1;
        self.events.push(Event {
            seq,
            time: seq * 1_000,
            what,
        });
        self
    }

    /// The events.
    pub fn events(self) -> Vec<Event> {
        self.events
    }

    /// The usual block device.
    pub fn hello(self) -> Self {
        self.hello_shape(block(), offered())
    }

    /// A device of a kind, with this number.
    pub fn hello_dev(self, dev: u8, kind: Kind) -> Self {
        let mut this = self.hello_shape(
            match kind {
                Kind::Block => block(),
                _ => Shape::new(kind),
            },
            offered(),
        );
        this.dev = dev;
        this
    }

    /// A device of this shape; what follows is about it.
    pub fn hello_shape(mut self, shape: Shape, features: u128) -> Self {
        let capacity = 0x1000_u64.to_le_bytes();
        let mut config = vec![0; 64];
        config[..8].copy_from_slice(&capacity);
        self.dev = self.devices.len() as u8;
        self.devices
            .push((shape.clone(), Function::new(&shape, features, config)));
        let dev = self.dev;
        self.push(What::Hello(Box::new(Hello {
            dev,
            shape,
            features,
        })))
        .pci(
            PciHeader::Command,
            (command::MEMORY | command::BUS_MASTER).into(),
        )
    }

    /// The device that answers.
    pub fn function(&mut self) -> &mut Function {
        &mut self.devices[usize::from(self.dev)].1
    }

    fn shape(&self) -> &Shape {
        &self.devices[usize::from(self.dev)].0
    }

    /// An input, and the correct device's answer.
    pub fn input(self, input: Input) -> Self {
        self.input_shown(input, |_| ())
    }

    /// An input; the outside is shown the correct device's answer after `change`.
    pub fn input_shown(mut self, input: Input, change: impl FnOnce(&mut Effects)) -> Self {
        let dev = self.dev;
        let mut shown = self.function().step(0, &input);
        change(&mut shown);
        self.push(What::Step(Step {
            dev,
            part: Part::Function,
            input,
            heard: None,
            shown,
            meant: None,
        }))
    }

    /// An input that the device never hears.
    pub fn unheard(self, input: Input) -> Self {
        let dev = self.dev;
        self.push(What::Step(Step {
            dev,
            part: Part::Function,
            input,
            heard: Some(Vec::new()),
            shown: Effects::new(),
            meant: None,
        }))
    }

    /// An access by place.
    pub fn access(mut self, op: Op, space: Space, off: u64, width: u8, val: Option<u64>) -> Self {
        let access = self.function().name(op, space, off, width, val);
        self.input(Input::Access(access))
    }

    /// A write of a register of the common configuration.
    pub fn wr(self, register: CommonCfg, val: impl Into<u64>) -> Self {
        let off = BarLayout::COMMON + register.offset();
        self.access(
            Op::Write,
            Space::Bar0,
            off,
            register.width(),
            Some(val.into()),
        )
    }

    /// A write of a vector register that the device refuses, as a fault makes it.
    pub fn wr_refused(mut self, register: CommonCfg, val: u16) -> Self {
        let off = BarLayout::COMMON + register.offset();
        let access = self
            .function()
            .name(Op::Write, Space::Bar0, off, 2, Some(val.into()));
        self.unheard(Input::Access(access))
    }

    /// A read of a register of the common configuration.
    pub fn rd(self, register: CommonCfg) -> Self {
        let off = BarLayout::COMMON + register.offset();
        self.access(Op::Read, Space::Bar0, off, register.width(), None)
    }

    /// A read that gives the driver this value, whatever the device meant.
    pub fn rd_as(mut self, register: CommonCfg, val: impl Into<u64>) -> Self {
        let off = BarLayout::COMMON + register.offset();
        let access = self
            .function()
            .name(Op::Read, Space::Bar0, off, register.width(), None);
        let val = val.into();
        self.input_shown(Input::Access(access), |shown| {
            *shown = std::iter::once(Effect::Value(val)).collect();
        })
    }

    /// A read of ISR status.
    pub fn isr(self) -> Self {
        self.access(Op::Read, Space::Bar0, BarLayout::ISR, 1, None)
    }

    /// A read of device configuration.
    pub fn dev_rd(self, offset: u64, width: u8) -> Self {
        self.access(
            Op::Read,
            Space::Bar0,
            BarLayout::DEVICE + offset,
            width,
            None,
        )
    }

    /// A write of device configuration.
    pub fn dev_wr(self, offset: u64, width: u8, val: u64) -> Self {
        self.access(
            Op::Write,
            Space::Bar0,
            BarLayout::DEVICE + offset,
            width,
            Some(val),
        )
    }

    /// A notification of a queue, at its place and with its index.
    pub fn notify(self, q: u16) -> Self {
        self.notify_at(q, 2, q.into())
    }

    /// A notification at the place of queue `q`.
    pub fn notify_at(self, q: u16, width: u8, val: u64) -> Self {
        let off = BarLayout::NOTIFY + u64::from(q) * u64::from(BarLayout::NOTIFY_MULTIPLIER);
        self.access(Op::Write, Space::Bar0, off, width, Some(val))
    }

    /// A write of a register of the configuration header.
    pub fn pci(self, register: PciHeader, val: u64) -> Self {
        self.access(
            Op::Write,
            Space::Config,
            register.offset(),
            register.width(),
            Some(val),
        )
    }

    /// Somebody looks what the function is.
    pub fn found_by_bus(self) -> Self {
        let id = PciHeader::VendorId;
        self.access(Op::Read, Space::Config, id.offset(), id.width(), None)
    }

    /// The place in configuration space of a register that has one.
    pub fn place(&mut self, field: Field) -> u64 {
        let function = self.function();
        (0..256)
            .find(|off| function.name(Op::Read, Space::Config, *off, 1, None).field == Some(field))
            .expect("the function has this register")
    }

    /// Writes MSI-X message control; enabled, every entry can be delivered.
    pub fn msix(mut self, on: bool) -> Self {
        let off = self.place(Field::MsixControl);
        let control = if on { msix_control::ENABLE } else { 0 };
        let count = self.shape().table_size();
        self.access(Op::Write, Space::Config, off, 2, Some(control.into()))
            .input(Input::Irqs {
                kind: IrqKind::Msix,
                start: 0,
                count,
                wired: on,
            })
    }

    /// Enables `messages` messages of the MSI capability.
    pub fn msi(mut self, messages: u16) -> Self {
        let off = self.place(Field::MsiControl);
        let control =
            msi_control::ENABLE | (messages.trailing_zeros() as u16) << msi_control::ENABLED_SHIFT;
        self.access(Op::Write, Space::Config, off, 2, Some(control.into()))
    }

    /// A line of the guest's log.
    pub fn log(self, line: &str) -> Self {
        self.push(What::Log { line: line.into() })
    }

    /// A mark of the harness.
    pub fn mark(self, phase: &str) -> Self {
        self.push(What::Mark {
            step: Some(0),
            phase: phase.into(),
            text: "a step".into(),
        })
    }

    /// The guest or the host is told something.
    pub fn told(self, text: &str) -> Self {
        self.push(What::Mark {
            step: Some(0),
            phase: "begin".into(),
            text: text.into(),
        })
    }

    /// A fault fires.
    pub fn fault(self, fault: &str, class: Legality, object: &str) -> Self {
        let dev = self.dev;
        self.push(What::Fault(Fired {
            dev,
            id: fault.into(),
            fault: fault.into(),
            class,
            object: object.into(),
            count: 1,
        }))
    }

    /// A sample of a ring.
    pub fn ring(self, q: u16, avail_idx: u16, used_idx: u16) -> Self {
        self.sample(RingSample {
            dev: 0,
            q,
            avail_flags: 0,
            avail_idx,
            used_flags: 0,
            used_idx,
            used_event: 0,
            avail_event: 0,
        })
    }

    /// A sample of a ring, in full.
    pub fn sample(self, sample: RingSample) -> Self {
        let dev = self.dev;
        self.push(What::Ring(RingSample { dev, ..sample }))
    }

    /// A sample of a packed ring.
    pub fn packed(self, sample: PackedSample) -> Self {
        let dev = self.dev;
        self.push(What::Packed(PackedSample { dev, ..sample }))
    }

    /// The device looks at a chain of three descriptors, and comes to it.
    pub fn chain(self, q: u16, flaws: &[Flaw]) -> Self {
        self.list(q, 0, 3, flaws)
    }

    /// The device looks at a chain that is an indirect table.
    pub fn indirect(mut self, q: u16, flaws: &[Flaw]) -> Self {
        const INDIRECT: u16 = 4;
        self = self.list(q, 0x8000, 1, flaws);
        let at = self.events.len() - 2;
        if let What::Chain(chain) = &mut self.events[at].what {
            chain.descriptors[0].flags = INDIRECT;
        }
        self
    }

    /// The device looks at a list of `slots` descriptors at a place of the ring, and comes to it.
    pub fn list(self, q: u16, position: u16, slots: u32, flaws: &[Flaw]) -> Self {
        let dev = self.dev;
        let descriptors = (0..slots as u16).map(|at| Descriptor {
            at,
            addr: 0x20_0000,
            len: 512,
            flags: 0,
            next: at + 1,
            table: false,
        });
        self.push(What::Chain(Box::new(ChainSeen {
            dev,
            q,
            head: 0,
            position,
            descriptors: descriptors.collect(),
            count: slots,
            slots,
            bytes: u64::from(slots) * 512,
            flaws: flaws.to_vec(),
            digest: String::new(),
        })))
        .input(Input::Chain {
            queue: q,
            head: 0,
            request: String::new(),
        })
    }

    /// The device is about to use a chain.
    pub fn complete(self, q: u16) -> Self {
        self.input(Input::Complete {
            queue: q,
            head: 0,
            len: 513,
        })
    }

    /// The driver changed what the device holds.
    pub fn altered(self, q: u16, part: AlteredPart) -> Self {
        let (dev, head) = (self.dev, 0);
        self.push(What::Altered(Altered { dev, q, head, part }))
    }

    /// The driver wrote where only the device writes.
    pub fn dirty(self, q: u16, part: DirtyPart) -> Self {
        let (dev, element) = (self.dev, 0);
        self.push(What::Dirty(Dirty {
            dev,
            q,
            part,
            element,
        }))
    }

    /// The MSI-X table: the APIC vector of each entry; entries with the same are the same message.
    pub fn table(self, vectors: &[u8]) -> Self {
        let dev = self.dev;
        self.push(What::MsixTable {
            dev,
            entries: vectors
                .iter()
                .map(|v| TableEntry {
                    addr: 0xfee0_0000,
                    data: (*v).into(),
                    ctrl: 0,
                })
                .collect(),
        })
    }

    // What a correct driver does, in pieces.

    /// Resets the device and waits.
    pub fn reset(self) -> Self {
        self.wr(CommonCfg::DeviceStatus, 0_u8)
            .rd(CommonCfg::DeviceStatus)
    }

    /// Writes device_status.
    pub fn status(self, bits: u8) -> Self {
        self.wr(CommonCfg::DeviceStatus, bits)
    }

    /// Reset, ACKNOWLEDGE, DRIVER.
    pub fn found(self) -> Self {
        self.reset()
            .status(Status::ACKNOWLEDGE)
            .status(Status::ACKNOWLEDGE | Status::DRIVER)
    }

    /// Reads the features and accepts `features`.
    pub fn accept(self, features: u128) -> Self {
        let word = |n: u32| (features >> (32 * n)) as u32;
        self.wr(CommonCfg::DeviceFeatureSelect, 0_u8)
            .rd(CommonCfg::DeviceFeature)
            .wr(CommonCfg::DeviceFeatureSelect, 1_u8)
            .rd(CommonCfg::DeviceFeature)
            .wr(CommonCfg::DriverFeatureSelect, 0_u8)
            .wr(CommonCfg::DriverFeature, word(0))
            .wr(CommonCfg::DriverFeatureSelect, 1_u8)
            .wr(CommonCfg::DriverFeature, word(1))
    }

    /// Sets FEATURES_OK and reads it back.
    pub fn features_ok(self) -> Self {
        self.status(FEATURES).rd(CommonCfg::DeviceStatus)
    }

    /// Everything from the reset to an accepted FEATURES_OK.
    pub fn negotiated(self) -> Self {
        self.found().accept(offered()).features_ok()
    }

    /// Selects a queue and reads its size.
    pub fn select(self, q: u16) -> Self {
        self.wr(CommonCfg::QueueSelect, q).rd(CommonCfg::QueueSize)
    }

    /// Writes the addresses of the selected queue, as queue `q` has them.
    pub fn areas(self, q: u16) -> Self {
        let base = 0x10_0000 + u32::from(q) * 0x1_0000;
        self.wr(CommonCfg::QueueDescLo, base)
            .wr(CommonCfg::QueueDescHi, 0_u8)
            .wr(CommonCfg::QueueDriverLo, base + 0x4000)
            .wr(CommonCfg::QueueDriverHi, 0_u8)
            .wr(CommonCfg::QueueDeviceLo, base + 0x8000)
            .wr(CommonCfg::QueueDeviceHi, 0_u8)
    }

    /// Maps the selected queue and reads it back.
    pub fn vector(self, vector: u16) -> Self {
        self.wr(CommonCfg::QueueMsixVector, vector)
            .rd(CommonCfg::QueueMsixVector)
    }

    /// Maps the config event and reads it back.
    pub fn config_vector(self, vector: u16) -> Self {
        self.wr(CommonCfg::ConfigMsixVector, vector)
            .rd(CommonCfg::ConfigMsixVector)
    }

    /// Enables the selected queue.
    pub fn enable(self) -> Self {
        self.wr(CommonCfg::QueueEnable, 1_u8)
    }

    /// Sets a queue up with a vector; NO_VECTOR: without one.
    pub fn queue(self, q: u16, vector: u16) -> Self {
        let this = self.select(q).areas(q);
        let this = if vector == NO_VECTOR {
            this
        } else {
            this.vector(vector)
        };
        this.enable()
    }

    /// Sets DRIVER_OK.
    pub fn driver_ok(self) -> Self {
        self.status(LIVE)
    }

    /// A correct bring-up with a vector for each event.
    pub fn up(self) -> Self {
        let queues = self.shape().queues;
        let mut this = self.msix(true).negotiated().config_vector(0);
        for q in 0..queues {
            this = this.queue(q, q + 1);
        }
        this.driver_ok()
    }

    /// A correct bring-up on the line.
    pub fn up_intx(self) -> Self {
        let queues = self.shape().queues;
        let mut this = self.negotiated();
        for q in 0..queues {
            this = this.queue(q, NO_VECTOR);
        }
        this.driver_ok()
    }

    /// The device has used buffers of a queue.
    pub fn used(self, q: u16) -> Self {
        self.input(Input::Used { queue: q })
    }

    /// The capacity changes.
    pub fn config_change(self) -> Self {
        self.input(Input::Config {
            offset: 0,
            bytes: vec![0, 0x20],
        })
    }

    /// A request on a queue, from its notification to the interrupt.
    pub fn request(self, q: u16) -> Self {
        self.notify(q).used(q)
    }
}

/// Status with FEATURES_OK.
pub const FEATURES: u8 = Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK;
/// Status with DRIVER_OK.
pub const LIVE: u8 = FEATURES | Status::DRIVER_OK;

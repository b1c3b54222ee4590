//! What can be derived from a trace: the state that rules, triggers and reports speak of.

use std::collections::BTreeMap;

use virtio_bindings::virtio_config::VIRTIO_F_RING_RESET;

use super::{Access, Effect, Event, Input, IrqKind, Op, Part, RingSample, Step, TableEntry, What};
use crate::shape::{Attach, Shape};
use crate::spec::{
    CommonCfg, Field, LEGACY_REACH, LegacyCfg, NO_VECTOR, SUSPEND, Status, features_ok,
    legacy_areas, msi_control, msix_control,
};

/// All devices of a run, as their events tell.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Devices by number.
    pub devices: BTreeMap<u8, Device>,
}

impl World {
    /// Takes the next event.
    pub fn apply(&mut self, event: &Event) {
        match &event.what {
            What::Hello(hello) => {
                self.devices
                    .insert(hello.dev, Device::new(hello.shape.clone(), hello.features));
            }
            What::Step(step) => {
                if let Some(device) = self.devices.get_mut(&step.dev) {
                    device.apply(step);
                }
            }
            What::Ring(sample) => {
                if let Some(queue) = self
                    .devices
                    .get_mut(&sample.dev)
                    .and_then(|d| d.queues.get_mut(usize::from(sample.q)))
                {
                    queue.ring = Some(*sample);
                }
            }
            What::MsixTable { dev, entries } => {
                if let Some(device) = self.devices.get_mut(dev) {
                    device.table.clone_from(entries);
                }
            }
            What::Fault(fired) => {
                if let Some(device) = self.devices.get_mut(&fired.dev) {
                    device.fired.insert(fired.id.clone(), fired.count);
                }
            }
            What::Packed(_)
            | What::Chain(_)
            | What::Altered(_)
            | What::Dirty(_)
            | What::Log { .. }
            | What::Qmp { .. }
            | What::Mark { .. } => {}
        }
    }
}

/// How a function may interrupt (4.1.5.3: only whether MSI-X is enabled matters to virtio).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The line.
    #[default]
    Intx,
    /// Messages of the MSI capability.
    Msi,
    /// Messages of the MSI-X table.
    Msix,
}

impl Mode {
    /// The name that predicates compare with.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intx => "INTX",
            Self::Msi => "MSI",
            Self::Msix => "MSIX",
        }
    }
}

/// One queue as the driver set it up in this epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Size last written, or 0 when the driver left the device's own.
    pub size: u16,
    /// Enabled.
    pub enabled: bool,
    /// Vector last written by the driver in this epoch, whether accepted or not.
    pub asked: Option<u16>,
    /// Vector that the device holds.
    pub vector: u16,
    /// Guest physical address of the descriptor area.
    pub desc: u64,
    /// Guest physical address of the driver area.
    pub driver: u64,
    /// Guest physical address of the device area.
    pub device: u64,
    /// Notifications in this epoch.
    pub notified: u64,
    /// Chains that the backend has fetched and not yet used, where it tells.
    pub inflight: u32,
    /// The last sample of its rings.
    pub ring: Option<RingSample>,
}

impl Queue {
    fn new() -> Self {
        Self {
            vector: NO_VECTOR,
            ..Self::default()
        }
    }
}

/// One device as its events tell.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its shape.
    pub shape: Shape,
    /// Features offered.
    pub offered: u128,
    /// Features that the driver wrote in this epoch.
    pub accepted: u128,
    /// Status that the device holds.
    pub status: Status,
    /// The driver uses the legacy interface: the registers that it accessed last are those.
    pub legacy: bool,
    /// Completed resets, from 0.
    pub epoch: u32,
    /// A reset was written and a read of 0 not yet seen.
    pub resetting: bool,
    /// `queue_select`.
    pub queue_select: u16,
    /// Vector of the config event that the device holds.
    pub config_vector: u16,
    /// Vector last written for the config event in this epoch.
    pub config_asked: Option<u16>,
    /// One for each queue of the shape.
    pub queues: Vec<Queue>,
    /// The command register.
    pub command: u16,
    /// MSI-X message control.
    pub msix_control: u16,
    /// MSI-X was enabled at some time since power-on.
    pub msix_was_enabled: bool,
    /// MSI message control.
    pub msi_control: u16,
    /// Level of the line as the outside was shown it.
    pub pin: bool,
    /// The power state that the driver asked for last, 0 to 3.
    pub power: u8,
    /// The function was pulled out of its slot, and nothing came in its place yet.
    pub gone: bool,
    /// The MSI-X table as last read.
    pub table: Vec<TableEntry>,
    /// How often each fault fired, by id.
    pub fired: BTreeMap<String, u64>,
    /// Messages sent, for each kind and entry.
    pub messages: BTreeMap<(u8, u16), u64>,
    driver_feature_select: u32,
}

impl Device {
    /// A device that nobody has touched.
    pub fn new(shape: Shape, offered: u128) -> Self {
        let queues = vec![Queue::new(); usize::from(shape.queues)];
        Self {
            shape,
            offered,
            accepted: 0,
            status: Status::default(),
            legacy: false,
            epoch: 0,
            resetting: false,
            queue_select: 0,
            config_vector: NO_VECTOR,
            config_asked: None,
            queues,
            command: 0,
            msix_control: 0,
            msix_was_enabled: false,
            msi_control: 0,
            pin: false,
            power: 0,
            gone: false,
            table: Vec::new(),
            fired: BTreeMap::new(),
            messages: BTreeMap::new(),
            driver_feature_select: 0,
        }
    }

    /// How the function may interrupt now.
    pub fn mode(&self) -> Mode {
        if self.msix_control & msix_control::ENABLE != 0 {
            Mode::Msix
        } else if self.msi_control & msi_control::ENABLE != 0 {
            Mode::Msi
        } else {
            Mode::Intx
        }
    }

    /// The function is in a state below D0.
    pub fn asleep(&self) -> bool {
        self.power != 0
    }

    /// DRIVER_OK is set, and neither NEEDS_RESET nor FAILED.
    pub fn live(&self) -> bool {
        self.status.is_live()
    }

    /// Driver and device agreed on feature `bit`.
    pub fn agreed(&self, bit: u32) -> bool {
        let over = self.status.has(Status::FEATURES_OK) || self.legacy && self.live();
        over && (self.offered & self.accepted) >> bit & 1 == 1
    }

    /// Chains that the backend holds in all queues.
    pub fn inflight(&self) -> u32 {
        self.queues.iter().map(|q| q.inflight).sum()
    }

    /// The number of messages that the operating system granted: different (address, data) pairs
    /// in the table, of those entries that were programmed. `None` when the table was not read.
    pub fn granted(&self) -> Option<usize> {
        let pairs: std::collections::BTreeSet<_> = self
            .table
            .iter()
            .filter(|e| e.addr != 0)
            .map(|e| (e.addr, e.data))
            .collect();
        (!self.table.is_empty()).then_some(pairs.len())
    }

    /// Takes one step of this device.
    pub fn apply(&mut self, step: &Step) {
        match &step.heard {
            Some(heard) => heard.iter().for_each(|input| self.hear(input, step.part)),
            None => self.hear(&step.input, step.part),
        }
        self.ask(&step.input);
        self.show(&step.input, &step.shown);
    }

    /// The device hears an input: the first part of [`Self::apply`].
    pub fn hear(&mut self, input: &Input, part: Part) {
        if let Input::Access(access) = input
            && !self.gone
        {
            match access.field {
                Some(Field::Legacy(_)) => self.legacy = true,
                Some(Field::Common(_)) => self.legacy = false,
                _ => {}
            }
        }
        match input {
            Input::Access(_) if self.gone => {}
            Input::Access(access) if access.resets_function() => {
                self.reset();
                self.power = 0;
            }
            Input::Access(Access {
                op: Op::Write,
                field: Some(Field::PowerControl),
                val: Some(val),
                off,
                ..
            }) if off % 4 == 0 => {
                // The state is in the first byte of the register, which lies at a multiple of four.
                self.power = *val as u8 & 0b11;
            }
            Input::Access(Access {
                op: Op::Write,
                field: Some(field),
                val: Some(val),
                width,
                q,
                ..
            }) => {
                self.written(*field, *width, *val, *q);
            }
            Input::FunctionReset => {
                self.reset();
                self.resetting = false;
                self.power = 0;
                self.gone = false;
            }
            Input::Unplugged => {
                self.reset();
                self.resetting = false;
                self.gone = true;
            }
            // Behind QEMU's own transport nothing else tells what was agreed on.
            Input::Vhost { message, value }
                if self.shape.attach == Attach::VhostUser && message == "SET_FEATURES" =>
            {
                self.accepted = u128::from(*value);
            }
            Input::Broken => self.status.0 |= Status::NEEDS_RESET,
            Input::Chain { queue, .. } => {
                if let Some(q) = self.queues.get_mut(usize::from(*queue)) {
                    q.inflight = q.inflight.saturating_add(1);
                }
            }
            Input::Complete { queue, .. } if part == Part::Backend => {
                if let Some(q) = self.queues.get_mut(usize::from(*queue)) {
                    q.inflight = q.inflight.saturating_sub(1);
                }
            }
            _ => {}
        }
    }

    /// The driver asks for a vector, whatever the device hears: the second part of [`Self::apply`].
    pub fn ask(&mut self, input: &Input) {
        let Input::Access(access) = input else { return };
        if access.op != Op::Write || self.gone {
            return;
        }
        let asked = access.val.map(|val| val as u16);
        match access.register() {
            Some(Field::Common(CommonCfg::ConfigMsixVector)) => self.config_asked = asked,
            Some(Field::Common(CommonCfg::QueueMsixVector)) => {
                let selected = access.q.unwrap_or(self.queue_select);
                if let Some(queue) = self.queues.get_mut(usize::from(selected)) {
                    queue.asked = asked;
                }
            }
            _ => {}
        }
    }

    /// The outside is shown effects: the last part of [`Self::apply`].
    pub fn show(&mut self, input: &Input, shown: &[Effect]) {
        if self.resetting
            && let Input::Access(access) = input
            && access.op == Op::Read
            && access.register() == Some(Field::Common(CommonCfg::DeviceStatus))
            && shown.contains(&Effect::Value(0))
        {
            self.resetting = false;
        }
        for effect in shown {
            match effect {
                Effect::Pin(level) => self.pin = *level,
                Effect::Control { command, msix, msi } => {
                    (self.command, self.msix_control, self.msi_control) = (*command, *msix, *msi);
                    self.msix_was_enabled |= msix & msix_control::ENABLE != 0;
                }
                Effect::Message(m) => {
                    *self
                        .messages
                        .entry((kind_index(m.kind), m.entry))
                        .or_default() += 1
                }
                _ => {}
            }
        }
    }

    fn reset(&mut self) {
        self.status = Status::default();
        self.epoch = self.epoch.wrapping_add(1);
        self.driver_feature_select = 0;
        self.accepted = 0;
        self.config_vector = NO_VECTOR;
        self.config_asked = None;
        self.queue_select = 0;
        self.queues.fill(Queue::new());
    }

    fn written(&mut self, field: Field, width: u8, val: u64, q: Option<u16>) {
        match field {
            Field::Common(first) => {
                // A write that is wider than its register reaches the next ones too.
                let mut byte = 0;
                while byte < width.min(8) {
                    let Some(r) = CommonCfg::at(first.offset() + u64::from(byte)) else {
                        break;
                    };
                    let bits = u64::MAX >> (64 - 8 * u32::from(r.width()));
                    self.common_written(r, val >> (8 * byte) & bits);
                    byte += r.width();
                }
            }
            Field::Legacy(first) => {
                let mut byte = 0;
                while byte < width.min(8) {
                    let Some(r) = LegacyCfg::at(first.offset() + u64::from(byte)) else {
                        break;
                    };
                    let bits = u64::MAX >> (64 - 8 * u32::from(r.width()));
                    self.legacy_written(r, val >> (8 * byte) & bits, q);
                    byte += r.width();
                }
            }
            Field::Notify => {
                if let Some(queue) = q.and_then(|q| self.queues.get_mut(usize::from(q))) {
                    queue.notified += 1;
                }
            }
            _ => {}
        }
    }

    fn common_written(&mut self, register: CommonCfg, val: u64) {
        let table = self.shape.table_size();
        let accepted = |v: u64| {
            if v < u64::from(table) {
                v as u16
            } else {
                NO_VECTOR
            }
        };
        match register {
            CommonCfg::DeviceStatus if val as u8 == 0 => {
                self.reset();
                self.resetting = true;
            }
            CommonCfg::DeviceStatus => {
                let refused = !self.status.has(Status::FEATURES_OK)
                    && !features_ok(self.offered, self.accepted);
                let val = val as u8 & !(if refused { Status::FEATURES_OK } else { 0 });
                let new = (val & !Status::NEEDS_RESET) | (self.status.0 & Status::NEEDS_RESET);
                let agreed = self.agreed(SUSPEND);
                self.status = self.status.suspended_by(Status(new), agreed);
            }
            CommonCfg::DriverFeatureSelect => self.driver_feature_select = val as u32,
            CommonCfg::DriverFeature if self.driver_feature_select < 4 => {
                let shift = 32 * self.driver_feature_select;
                self.accepted =
                    (self.accepted & !(0xffff_ffff << shift)) | (u128::from(val as u32) << shift);
            }
            CommonCfg::ConfigMsixVector => self.config_vector = accepted(val),
            CommonCfg::QueueSelect => self.queue_select = val as u16,
            _ => self.queue_written(register, val, accepted(val)),
        }
    }

    fn legacy_written(&mut self, register: LegacyCfg, val: u64, q: Option<u16>) {
        let agreed = self.status.has(Status::DRIVER_OK);
        match (register, register.modern()) {
            (LegacyCfg::DriverFeatures, _) if agreed => {}
            (LegacyCfg::DriverFeatures, _) => self.accepted = u128::from(val) & LEGACY_REACH,
            (LegacyCfg::DeviceStatus, _) if val as u8 != 0 => {
                self.status = self.status.legacy_written(val as u8);
            }
            (LegacyCfg::QueueAddress, _) => {
                let size = self.shape.queue_size.of(self.queue_select);
                let selected = usize::from(self.queue_select);
                if let Some(queue) = self.queues.get_mut(selected) {
                    queue.enabled = val != 0;
                    [queue.desc, queue.driver, queue.device] = match val {
                        0 => [0; 3],
                        page => legacy_areas(page as u32, size),
                    };
                }
            }
            (LegacyCfg::QueueSize, _) => {}
            (_, Some(Field::Common(common))) => self.common_written(common, val),
            (_, Some(field)) => self.written(field, register.width(), val, q),
            (_, None) => {}
        }
    }

    fn queue_written(&mut self, register: CommonCfg, val: u64, accepted: u16) {
        let resettable = self.agreed(VIRTIO_F_RING_RESET);
        let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else {
            return;
        };
        let low = |old: u64| (old & !0xffff_ffff) | (val & 0xffff_ffff);
        let high = |old: u64| (old & 0xffff_ffff) | (val << 32);
        match register {
            CommonCfg::QueueSize => queue.size = val as u16,
            CommonCfg::QueueMsixVector => queue.vector = accepted,
            CommonCfg::QueueEnable => queue.enabled = val == 1,
            CommonCfg::QueueReset if val == 1 && resettable => *queue = Queue::new(),
            CommonCfg::QueueDescLo => queue.desc = low(queue.desc),
            CommonCfg::QueueDescHi => queue.desc = high(queue.desc),
            CommonCfg::QueueDriverLo => queue.driver = low(queue.driver),
            CommonCfg::QueueDriverHi => queue.driver = high(queue.driver),
            CommonCfg::QueueDeviceLo => queue.device = low(queue.device),
            CommonCfg::QueueDeviceHi => queue.device = high(queue.device),
            _ => {}
        }
    }
}

fn kind_index(kind: IrqKind) -> u8 {
    match kind {
        IrqKind::Msix => 0,
        IrqKind::Msi => 1,
        IrqKind::Intx => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Space;
    use super::*;
    use crate::shape::Kind;

    fn write(world: &mut Device, register: CommonCfg, width: u8, val: u64) {
        let access = Access {
            op: Op::Write,
            space: Space::Bar0,
            off: register.offset(),
            width,
            val: Some(val),
            field: Some(Field::Common(register)),
            q: None,
            window: false,
        };
        world.hear(&Input::Access(access), Part::Function);
    }

    #[test]
    fn a_write_that_is_wider_than_its_register_reaches_the_next_ones() {
        let mut world = Device::new(Shape::new(Kind::Block), 1 << 32);
        write(&mut world, CommonCfg::QueueDescLo, 8, 0x1_2345_6000);
        assert_eq!(world.queues[0].desc, 0x1_2345_6000);
        write(&mut world, CommonCfg::DeviceStatus, 4, 0x0005_0003);
        assert_eq!((world.status, world.queue_select), (Status(3), 5));
        write(&mut world, CommonCfg::NumQueues, 4, 0);
        assert_eq!(
            (world.status, world.epoch),
            (Status(0), 1),
            "it resets the device"
        );
    }
}

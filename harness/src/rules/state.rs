//! What all rules need to know about a device: the world's state, and what the driver has done.

use std::collections::BTreeMap;

use misfire_device::spec::{CommonCfg, Field, LegacyCfg, NO_VECTOR, Status};
use misfire_device::trace::{
    Device, Effect, Fired, Hello, Input, Legality, Mode, Step, TableEntry,
};

use super::epoch::{Epoch, Mapping, Past, QueueFacts};
use super::machine::{At, Object};

/// VIRTIO_F_RING_RESET.
pub const RING_RESET: u32 = 40;

/// A device, as it was before the event that is looked at.
pub struct State {
    /// What the device holds.
    pub dev: Device,
    /// What the driver did since the last reset.
    pub epoch: Epoch,
    /// What the driver did in earlier epochs.
    pub past: Past,
    /// Faults that no device may show, which have fired.
    pub taint: Vec<Taint>,
    /// All faults that have fired, by name.
    pub faults: Vec<(u64, String)>,
    /// The guest's memory: where it begins, and how many bytes; nothing if it was never told.
    pub memory: BTreeMap<u64, u64>,
    /// When somebody read the vendor id of a function that was pulled out, and got all ones.
    pub missed: Option<u64>,
    /// When the function lost its state behind the driver's back, until the driver resets it.
    pub lost: Option<u64>,
    /// Word of the feature bits that the driver writes.
    pub driver_feature_select: u32,
    /// Word of the feature bits that the driver reads.
    pub device_feature_select: u32,
}

/// A fault that no device may show.
pub struct Taint {
    /// When it fired.
    pub seq: u64,
    /// Its name.
    pub fault: String,
    object: Object,
}

impl Taint {
    /// Whether what is said about `object` is no longer the driver's responsibility alone.
    pub fn touches(&self, object: Object) -> bool {
        self.object == Object::Device || self.object == object
    }
}

impl State {
    /// A device that nobody has touched.
    pub fn new(hello: &Hello) -> Self {
        Self {
            dev: Device::new(hello.shape.clone(), hello.features),
            epoch: Epoch::default(),
            past: Past::default(),
            taint: Vec::new(),
            faults: Vec::new(),
            memory: BTreeMap::new(),
            missed: None,
            lost: None,
            driver_feature_select: 0,
            device_feature_select: 0,
        }
    }

    /// What was done until now was done by somebody else.
    pub fn begin_tenure(&mut self) {
        self.epoch = Epoch::default();
        self.past = Past::default();
    }

    /// How the function may interrupt now.
    pub fn mode(&self) -> Mode {
        self.dev.mode()
    }

    /// DRIVER_OK is set, and neither NEEDS_RESET nor FAILED.
    pub fn live(&self) -> bool {
        self.dev.live()
    }

    /// The driver was live in this epoch or an earlier one.
    pub fn ever_live(&self) -> bool {
        self.past.live.is_some() || self.epoch.driver_ok.is_some()
    }

    /// The vector that the device holds for a queue, or for the config event.
    pub fn vector(&self, object: Object) -> u16 {
        match object {
            Object::Config => self.dev.config_vector,
            Object::Queue(q) => self
                .dev
                .queues
                .get(usize::from(q))
                .map_or(NO_VECTOR, |q| q.vector),
            _ => NO_VECTOR,
        }
    }

    /// Every event that can have a vector: enabled queues, then the config event.
    pub fn events(&self) -> impl Iterator<Item = Object> {
        self.epoch
            .enabled()
            .map(|(q, _)| Object::Queue(q))
            .chain([Object::Config])
    }

    /// Whether the driver told the device not to interrupt for a queue, as last sampled.
    pub fn suppressed(&self, q: u16) -> bool {
        const NO_INTERRUPT: u16 = 1;
        self.dev
            .queues
            .get(usize::from(q))
            .and_then(|q| q.ring)
            .is_some_and(|r| r.avail_flags & NO_INTERRUPT != 0)
    }

    /// Whether a fault whose name begins so has fired.
    pub fn fault(&self, prefix: &str) -> Option<u64> {
        self.faults
            .iter()
            .find(|(_, name)| name.starts_with(prefix))
            .map(|(seq, _)| *seq)
    }

    /// Whether a whole range of guest physical memory is there; none if memory was never told.
    pub fn in_memory(&self, address: u64, bytes: u64) -> Option<bool> {
        if self.memory.is_empty() {
            return None;
        }
        let end = address.saturating_add(bytes);
        let mut at = address;
        while at < end {
            match self.memory.range(..=at).next_back() {
                Some((start, size)) if start.saturating_add(*size) > at => at = start + size,
                _ => return Some(false),
            }
        }
        Some(true)
    }

    /// The MSI-X table, as last read.
    pub fn table(&self) -> &[TableEntry] {
        &self.dev.table
    }

    /// The lowest entry that sends the same message as entry `e`; `e` itself if it is not known.
    pub fn alias(&self, e: u16) -> u16 {
        let table = self.table();
        let Some(entry) = table.get(usize::from(e)).filter(|t| t.addr != 0) else {
            return e;
        };
        table
            .iter()
            .position(|t| (t.addr, t.data) == (entry.addr, entry.data))
            .map_or(e, |i| i as u16)
    }

    /// Takes an event.
    pub fn apply(&mut self, seq: u64, at: At<'_>) {
        match at {
            At::Step(step) => {
                self.driver_did(seq, step);
                if self.dev.gone && super::win_pnp::misses(&at) {
                    self.missed.get_or_insert(seq);
                }
                self.dev.apply(step);
                self.may_have_lost(seq, step);
                self.missed = self.missed.filter(|_| self.dev.gone);
                self.after(seq, step);
            }
            At::Fault(fired) => self.fired(seq, fired),
            At::Ring(sample) => {
                if let Some(queue) = self.dev.queues.get_mut(usize::from(sample.q)) {
                    queue.ring = Some(*sample);
                }
            }
            At::Table(entries) => self.dev.table = entries.to_vec(),
            At::Packed(_)
            | At::Chain(_)
            | At::Altered(_)
            | At::Dirty(_)
            | At::Said(_)
            | At::Mark(_)
            | At::Told
            | At::End => {}
        }
    }

    fn may_have_lost(&mut self, seq: u64, step: &Step) {
        let reset = step.wrote(Field::Common(CommonCfg::DeviceStatus)) == Some(0)
            || step.input == Input::FunctionReset;
        let heard = step.heard.as_deref().unwrap_or_default();
        if reset {
            self.lost = None;
        } else if heard.contains(&Input::FunctionReset) {
            self.lost = Some(seq);
        }
    }

    fn fired(&mut self, seq: u64, fired: &Fired) {
        self.faults.push((seq, fired.fault.clone()));
        let object = Object::of_fault(&fired.object);
        if fired.class == Legality::Illegal && !self.taint.iter().any(|t| t.object == object) {
            self.taint.push(Taint {
                seq,
                fault: fired.fault.clone(),
                object,
            });
        }
    }

    /// Notes what the driver did, before the device takes it.
    fn driver_did(&mut self, seq: u64, step: &Step) {
        match &step.input {
            Input::FunctionReset => {
                // Nobody has to wait for a reset from outside.
                self.new_epoch(seq);
                self.epoch.zero_read = true;
            }
            Input::Dma {
                address,
                size,
                mapped: true,
            } => {
                self.memory.insert(*address, *size);
            }
            Input::Dma { address, .. } => {
                self.memory.remove(address);
            }
            _ => {}
        }
        let Some((access, value)) = step.access() else {
            return;
        };
        let write = access.val.is_some();
        if access.legacy().is_some() {
            // There is one word of them.
            (self.driver_feature_select, self.device_feature_select) = (0, 0);
        }
        match access.register() {
            Some(Field::Legacy(LegacyCfg::QueueAddress)) if write => {
                if let Some(q) = access.q {
                    self.queue_placed(seq, q, value != 0);
                }
            }
            Some(Field::Common(register)) if write => {
                self.common_written(seq, register, value, access.q)
            }
            Some(Field::Common(register)) => self.common_read(seq, register, value, access.q),
            Some(Field::Notify) if write => {
                if let Some(q) = access.q {
                    self.epoch
                        .queues
                        .entry(q)
                        .or_default()
                        .notified
                        .get_or_insert(seq);
                }
            }
            _ => {}
        }
    }

    fn common_written(&mut self, seq: u64, register: CommonCfg, value: u64, q: Option<u16>) {
        use CommonCfg as C;
        match register {
            C::DeviceStatus if value as u8 == 0 => return self.new_epoch(seq),
            C::DeviceStatus => return self.status_written(seq, value as u8),
            C::DriverFeatureSelect => self.driver_feature_select = value as u32,
            C::DeviceFeatureSelect => self.device_feature_select = value as u32,
            C::DriverFeature if self.driver_feature_select < 4 => {
                let shift = 32 * self.driver_feature_select;
                let written = &mut self.epoch.features_written;
                *written = *written & !(0xffff_ffff << shift) | u128::from(value as u32) << shift;
            }
            C::ConfigMsixVector => self.epoch.config.write(seq, value as u16),
            _ => {}
        }
        let Some(q) = q else { return };
        let resets = register == C::QueueReset && value == 1 && self.dev.agreed(RING_RESET);
        let queue = self.epoch.queues.entry(q).or_default();
        if resets {
            *queue = QueueFacts {
                size_read: queue.size_read,
                notif_data: queue.notif_data,
                reset: Some(seq),
                ..QueueFacts::default()
            };
        }
        match register {
            C::QueueDescLo => queue.areas[0] = Some(seq),
            C::QueueDriverLo => queue.areas[1] = Some(seq),
            C::QueueDeviceLo => queue.areas[2] = Some(seq),
            C::QueueMsixVector => queue.mapping.write(seq, value as u16),
            C::QueueEnable if value == 1 => {
                queue.enabled.get_or_insert(seq);
            }
            _ => {}
        }
    }

    /// The legacy interface has one register for where a queue is and whether it is in use.
    fn queue_placed(&mut self, seq: u64, q: u16, used: bool) {
        let queue = self.epoch.queues.entry(q).or_default();
        queue.areas = [used.then_some(seq); 3];
        if used {
            queue.enabled.get_or_insert(seq);
        } else {
            queue.enabled = None;
        }
    }

    fn status_written(&mut self, seq: u64, value: u8) {
        let epoch = &mut self.epoch;
        for (bit, slot) in [
            (Status::FEATURES_OK, &mut epoch.features_ok),
            (Status::DRIVER_OK, &mut epoch.driver_ok),
            (Status::FAILED, &mut epoch.failed),
        ] {
            if value & bit != 0 {
                slot.get_or_insert(seq);
            }
        }
        epoch.written |= value;
        epoch.status_written = Some(seq);
    }

    fn common_read(&mut self, seq: u64, register: CommonCfg, value: u64, q: Option<u16>) {
        use CommonCfg as C;
        let select = self.device_feature_select;
        let epoch = &mut self.epoch;
        match register {
            C::DeviceStatus => {
                let status = Status(value as u8);
                epoch.status_read = Some((seq, status));
                epoch.zero_read |= status.0 == 0;
                if epoch.features_ok.is_some() {
                    epoch.reread.get_or_insert((seq, status));
                }
            }
            C::DeviceFeature => {
                epoch.features_read = Some(seq);
                if select < 4 {
                    epoch.features_shown |= u128::from(value as u32) << (32 * select);
                }
            }
            C::ConfigMsixVector => epoch.config.read = Some((seq, value as u16)),
            _ => {}
        }
        let Some(q) = q else { return };
        let queue = epoch.queues.entry(q).or_default();
        match register {
            C::QueueReset if value == 0 && queue.reset.is_some() => {
                queue.reset_over.get_or_insert(seq);
            }
            C::QueueSize => queue.size_read = Some(value as u16),
            C::QueueMsixVector => queue.mapping.read = Some((seq, value as u16)),
            C::QueueNotifConfigData => queue.notif_data = Some(value as u16),
            _ => {}
        }
    }

    /// Notes what the device made of it.
    fn after(&mut self, seq: u64, step: &Step) {
        use misfire_device::spec::{msi_control, msix_control};
        let object = step
            .access()
            .and_then(|(access, _)| match access.register()? {
                Field::Common(CommonCfg::ConfigMsixVector) => Some(Object::Config),
                Field::Common(CommonCfg::QueueMsixVector) => access.q.map(Object::Queue),
                _ => None,
            });
        if let Some(object) = object
            && let Some((at, _)) = self.epoch.mapping(object).and_then(Mapping::asked)
            && at == seq
            && self.vector(object) == NO_VECTOR
        {
            self.past.refused_mapping.get_or_insert(seq);
        }
        if self.epoch.features_ok == Some(seq) && !self.dev.status.has(Status::FEATURES_OK) {
            self.past.refused_features.get_or_insert(seq);
        }
        for effect in &step.shown {
            if let Effect::Control { msix, msi, .. } = effect {
                self.past.msix_enabled |= msix & msix_control::ENABLE != 0;
                if msi & msi_control::ENABLE != 0 {
                    let messages =
                        1 << ((msi & msi_control::ENABLED_MASK) >> msi_control::ENABLED_SHIFT);
                    let most = self.past.msi_enabled.unwrap_or(0);
                    self.past.msi_enabled = Some(most.max(messages));
                }
            }
        }
        if self.epoch.driver_ok == Some(seq) {
            self.past.mode = Some(self.mode());
            self.past.used_vectors = self
                .events()
                .map(|object| self.vector(object))
                .filter(|v| *v != NO_VECTOR)
                .collect();
        }
    }

    fn new_epoch(&mut self, seq: u64) {
        let old = std::mem::replace(
            &mut self.epoch,
            Epoch {
                began: Some(seq),
                ..Epoch::default()
            },
        );
        self.past.features_read |= old.features_read.is_some();
        if old.driver_ok.is_some() {
            self.past.live = old.driver_ok;
            self.past.enabled = old.enabled().map(|(q, _)| q).collect();
        }
        let objects = [Object::Config]
            .into_iter()
            .chain(old.queues.keys().map(|q| Object::Queue(*q)));
        for object in objects {
            if let Some(wrote) = old.mapping(object).and_then(Mapping::asked)
                && self.vector(object) != NO_VECTOR
            {
                self.past.mapped.insert(object, wrote);
            }
        }
    }
}

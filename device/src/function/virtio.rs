//! A virtio device behind its registers: what the driver has set up, and what is told to it.

mod legacy;
mod registers;
mod suspend;

use super::bars::Layout;
use super::interrupts::Interrupts;
use super::pci::Pci;
use super::queues::{NOTIF_CONFIG_BASE, Queue};
use crate::shape::Shape;
use virtio_bindings::virtio_config::VIRTIO_F_NOTIF_CONFIG_DATA as NOTIF_CONFIG_DATA;

use crate::spec::{
    DeviceType, Field, LegacyCfg, MacAddress, NO_VECTOR, Rights, Scope, Status, features_ok, isr,
};
use crate::trace::{Cause, Effect, Effects, QueueSetup, Start};

/// A virtio device as its registers show it.
#[derive(Clone, Debug)]
pub struct Virtio {
    // Fixed by the shape.
    device: &'static DeviceType,
    layout: Layout,
    offered: u128,
    queue_sizes: Vec<u16>,
    strict: bool,
    // Device configuration outlives a reset, but for what the driver changed of it.
    config: Vec<u8>,
    /// The address of a network device.
    mac: Vec<u8>,
    generation: u8,
    /// What the configuration becomes when the device goes on: it changed while suspended.
    next_config: Option<Vec<u8>>,
    // Everything that a reset puts back (2.4.1).
    driver: Driver,
}

/// What the driver has set up since the last reset.
#[derive(Clone, Debug)]
struct Driver {
    status: Status,
    device_feature_select: u32,
    driver_feature_select: u32,
    features: u128,
    config_vector: u16,
    isr: u8,
    select: u16,
    queues: Vec<Queue>,
    started: bool,
    /// The backend was started, and may not use memory now.
    suspended: bool,
    /// The driver has suspended the device by its status.
    halted: bool,
    /// What is told once the device goes on; each cause once.
    late: Vec<Cause>,
}

impl Driver {
    fn new(queue_sizes: &[u16]) -> Self {
        Self {
            status: Status::default(),
            device_feature_select: 0,
            driver_feature_select: 0,
            features: 0,
            config_vector: NO_VECTOR,
            isr: 0,
            select: 0,
            queues: queue_sizes.iter().map(|size| Queue::new(*size)).collect(),
            started: false,
            suspended: false,
            halted: false,
            late: Vec::new(),
        }
    }

    /// What the backend needs to run the queues that are enabled.
    fn setups(&self) -> Vec<QueueSetup> {
        let queues = self.queues.iter().enumerate();
        queues
            .filter(|(_, q)| q.enabled)
            .map(|(i, q)| q.setup(i as u16))
            .collect()
    }
}

/// Bytes at the start of the configuration that a command of the driver changes until the next reset
/// (5.1.6.5.2).
fn mac_bytes(device: &DeviceType) -> usize {
    if device.id == DeviceType::NET.id {
        size_of::<MacAddress>()
    } else {
        0
    }
}

impl Virtio {
    pub fn new(
        shape: &Shape,
        device: &'static DeviceType,
        layout: Layout,
        offered: u128,
        config: Vec<u8>,
    ) -> Self {
        let queue_sizes: Vec<u16> = (0..shape.queues).map(|q| shape.queue_size.of(q)).collect();
        Self {
            device,
            layout,
            offered,
            strict: shape.strict,
            mac: config.iter().copied().take(mac_bytes(device)).collect(),
            config,
            generation: 0,
            next_config: None,
            driver: Driver::new(&queue_sizes),
            queue_sizes,
        }
    }

    /// The queue that an access concerns: the selected one, or the one notified.
    pub fn queue_of(&self, field: Field, off: u64, val: Option<u64>) -> Option<u16> {
        match field {
            Field::Common(register) if register.scope() == Scope::queue => Some(self.driver.select),
            Field::Legacy(register) if register.scope() == Scope::queue => Some(self.driver.select),
            Field::Legacy(LegacyCfg::QueueNotify) => val
                .map(|val| val as u16)
                .filter(|q| usize::from(*q) < self.driver.queues.len()),
            Field::Notify => {
                let mut named = val.unwrap_or(0) as u16;
                if self.driver.features >> NOTIF_CONFIG_DATA & 1 == 1 {
                    named = named.wrapping_sub(NOTIF_CONFIG_BASE);
                }
                self.layout.notified(off, named)
            }
            _ => None,
        }
    }

    /// Whether the line is wanted: the logical OR of the ISR status bits (4.1.4.5.1).
    pub fn line(&self) -> bool {
        self.driver.isr != 0
    }

    /// Back to the state after a reset (2.4.1).
    pub fn reset(&mut self, effects: &mut Effects) {
        let Self {
            device,
            layout: _,
            offered: _,
            queue_sizes,
            strict: _,
            config,
            mac,
            generation,
            next_config,
            driver,
        } = self;
        if let Some(next) = next_config.take() {
            *config = next;
            *generation = generation.wrapping_add(1);
        }
        if driver.started {
            effects.push(Effect::Stop);
        }
        *driver = Driver::new(queue_sizes);
        let address = config.iter_mut().zip(mac);
        address.for_each(|(now, at_first)| *now = *at_first);
        for field in device
            .config
            .iter()
            .filter(|f| f.rights == Rights::rw && f.reset != 0)
        {
            // What the driver wrote is forgotten (5.6.4.2).
            let at = usize::from(field.offset);
            let width = usize::from(field.width);
            let reset = field.reset.to_le_bytes();
            if let Some(bytes) = config.get_mut(at..at + width)
                && *bytes != reset[..width]
            {
                bytes.copy_from_slice(&reset[..width]);
                effects.push(Effect::ConfigWrite {
                    offset: field.offset,
                    bytes: bytes.to_vec(),
                });
            }
        }
    }

    /// Whether driver and device agreed on a feature: it is offered, and FEATURES_OK is set.
    fn agreed(&self, bit: u32) -> bool {
        self.driver.status.has(Status::FEATURES_OK)
            && (self.offered & self.driver.features) >> bit & 1 == 1
    }

    /// Resets the selected queue (2.6.1.1): its fields are as after a reset of the device. It is
    /// over at once, so that queue_reset reads 0 (4.1.4.3.1).
    fn reset_queue(&mut self, interrupts: &mut Interrupts, effects: &mut Effects) {
        let driver = &mut self.driver;
        let select = driver.select;
        let Some(queue) = driver.queues.get_mut(usize::from(select)) else {
            return;
        };
        if driver.started && queue.enabled {
            effects.push(Effect::StopQueue { queue: select });
        }
        // No notification for the queue comes after its reset (2.6.1.1.1).
        interrupts.forget(Cause::Queue(select));
        *queue = Queue {
            was_reset: true,
            ..Queue::new(
                self.queue_sizes
                    .get(usize::from(select))
                    .copied()
                    .unwrap_or(0),
            )
        };
    }

    fn set_status(
        &mut self,
        val: u8,
        pci: &mut Pci,
        interrupts: &mut Interrupts,
        effects: &mut Effects,
    ) {
        if val == 0 {
            self.reset(effects);
            // No notification of before the reset comes after it (2.4).
            interrupts.reset();
            interrupts.set_line(false, pci, effects);
            return;
        }
        let driver = &mut self.driver;
        let old = driver.status;
        let mut new = Status((val & !Status::NEEDS_RESET) | (old.0 & Status::NEEDS_RESET));
        if !old.has(Status::FEATURES_OK) && !features_ok(self.offered, driver.features) {
            new.0 &= !Status::FEATURES_OK;
        }
        self.take_status(new, pci, interrupts, effects);
        let driver = &mut self.driver;
        if driver.status.has(Status::DRIVER_OK | Status::FEATURES_OK) && !driver.started {
            driver.started = true;
            effects.push(Effect::Start(Box::new(Start {
                features: driver.features as u64,
                queues: driver.setups(),
            })));
            if !pci.control().bus_master() {
                self.suspend(effects);
            }
            self.kick_all(pci, effects);
        }
    }

    /// The function may not master the bus: what is under way waits (PCI 3.0, 6.2.2).
    pub fn suspend(&mut self, effects: &mut Effects) {
        let driver = &mut self.driver;
        if driver.started && !driver.suspended {
            driver.suspended = true;
            effects.push(Effect::Suspend);
        }
    }

    /// The function may master the bus again, or the driver resumes it: it goes on when both hold.
    pub fn resume(&mut self, effects: &mut Effects) {
        if !self.driver.halted && std::mem::take(&mut self.driver.suspended) {
            effects.push(Effect::Resume);
        }
    }

    fn kick(&self, queue: u16, pci: &Pci, effects: &mut Effects) {
        let enabled = self
            .driver
            .queues
            .get(usize::from(queue))
            .is_some_and(|q| q.enabled);
        if enabled && self.driver.started && !self.driver.halted && pci.control().bus_master() {
            effects.push(Effect::Kick { queue });
        }
    }

    /// Lets the backend look at every enabled queue: buffers may have been made available before
    /// the device could look.
    pub fn kick_all(&self, pci: &Pci, effects: &mut Effects) {
        for queue in 0..self.driver.queues.len() as u16 {
            self.kick(queue, pci, effects);
        }
    }

    /// The backend used buffers and asks for an interrupt.
    pub fn used(
        &mut self,
        queue: u16,
        pci: &mut Pci,
        interrupts: &mut Interrupts,
        effects: &mut Effects,
    ) {
        let driver = &mut self.driver;
        let Some(vector) = driver
            .queues
            .get(usize::from(queue))
            .filter(|q| q.enabled)
            .map(|q| q.vector)
        else {
            return;
        };
        if !driver.started {
            return;
        }
        if driver.halted {
            return self.tell_later(Cause::Queue(queue));
        }
        if pci.msix_enabled() {
            interrupts.raise_vector(vector, Cause::Queue(queue), pci, effects);
        } else {
            driver.isr |= isr::QUEUE;
            raise_line_or_msi(Cause::Queue(queue), pci, interrupts, effects);
        }
    }

    /// Device configuration changed (4.1.5.4).
    pub fn config_change(
        &mut self,
        offset: u16,
        bytes: &[u8],
        pci: &mut Pci,
        interrupts: &mut Interrupts,
        effects: &mut Effects,
    ) {
        self.reconfigured(offset, bytes);
        self.notify_config(pci, interrupts, effects);
    }

    /// Device configuration changed because the driver commanded it.
    pub fn reconfigured(&mut self, offset: u16, bytes: &[u8]) {
        let halted = self.driver.halted;
        let config = match &mut self.next_config {
            Some(next) => next,
            next if halted => next.insert(self.config.clone()),
            _ => {
                self.generation = self.generation.wrapping_add(1);
                &mut self.config
            }
        };
        let kept = config.iter_mut().skip(usize::from(offset));
        kept.zip(bytes).for_each(|(old, new)| *old = *new);
    }

    /// The device can't go on, and tells so (2.1.2). Whether requests complete afterwards is left open
    /// (2.1.1): the queues that can be served are.
    pub fn broken(&mut self, pci: &mut Pci, interrupts: &mut Interrupts, effects: &mut Effects) {
        self.driver.status.0 |= Status::NEEDS_RESET;
        self.notify_config(pci, interrupts, effects);
    }

    fn notify_config(&mut self, pci: &mut Pci, interrupts: &mut Interrupts, effects: &mut Effects) {
        if self.driver.halted {
            return self.tell_later(Cause::Config);
        }
        if !self.driver.status.has(Status::DRIVER_OK) {
            return;
        }
        self.driver.isr |= isr::CONFIG;
        if pci.msix_enabled() {
            interrupts.raise_vector(self.driver.config_vector, Cause::Config, pci, effects);
        } else {
            raise_line_or_msi(Cause::Config, pci, interrupts, effects);
        }
    }
}

fn raise_line_or_msi(
    cause: Cause,
    pci: &mut Pci,
    interrupts: &mut Interrupts,
    effects: &mut Effects,
) {
    if pci.msi_enabled() {
        interrupts.raise_msi(0, cause, pci, effects);
    } else {
        interrupts.set_line(true, pci, effects);
    }
}

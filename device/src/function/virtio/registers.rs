//! The modern interface: the structures of BAR 0 that the capabilities point to (4.1.4).

use virtio_bindings::virtio_config::{
    VIRTIO_F_NOTIF_CONFIG_DATA as NOTIF_CONFIG_DATA, VIRTIO_F_RING_PACKED as RING_PACKED,
    VIRTIO_F_RING_RESET as RING_RESET,
};

use super::Virtio;
use crate::function::interrupts::Interrupts;
use crate::function::lanes;
use crate::function::pci::Pci;
use crate::function::queues::accepted;
use crate::spec::{CommonCfg, Field, NO_VECTOR, Rights, Status};
use crate::trace::{Access, Effect, Effects, Op};

impl Virtio {
    /// An access of BAR 0.
    pub fn access(
        &mut self,
        access: &Access,
        pci: &mut Pci,
        interrupts: &mut Interrupts,
        effects: &mut Effects,
    ) {
        let (off, width, val) = (access.off, access.width, access.val);
        match (access.op, self.layout.field(off)) {
            (Op::Read, Some(Field::Common(_))) => {
                effects.push(Effect::Value(lanes::read(
                    self.layout.within(off),
                    width,
                    |r| self.read(r),
                )));
            }
            (Op::Read, Some(Field::Isr)) => {
                effects.push(Effect::Value(self.driver.isr.into()));
                self.driver.isr = 0;
                interrupts.set_line(false, pci, effects);
            }
            (Op::Read, Some(Field::Device(at))) => {
                let value = (0..usize::from(width)).fold(0, |value, i| {
                    value
                        | u64::from(self.config.get(usize::from(at) + i).copied().unwrap_or(0))
                            << (8 * i)
                });
                effects.push(Effect::Value(value));
            }
            (Op::Read, _) => effects.push(Effect::Value(0)),
            (Op::Write, Some(Field::Common(_))) => {
                let within = self.layout.within(off);
                for (register, bits, mask) in lanes::parts(within, width, val.unwrap_or(0)) {
                    let val = lanes::merge(self.read(register), bits, mask);
                    self.write(register, val, pci, interrupts, effects);
                }
            }
            (Op::Write, Some(Field::Notify)) => {
                if let Some(queue) = self.queue_of(Field::Notify, off, val) {
                    self.kick(queue, pci, effects);
                }
            }
            // The configuration stands still (virtio 1.4, 3.4.2).
            (Op::Write, Some(Field::Device(_))) if self.driver.halted => {}
            (Op::Write, Some(Field::Device(at))) => {
                let bytes = val.unwrap_or(0).to_le_bytes();
                self.config_write(at, &bytes[..usize::from(width.min(8))], effects);
            }
            (Op::Write, _) => {}
        }
    }

    /// Takes what the driver may write of `bytes`, and tells the backend.
    pub(super) fn config_write(&mut self, at: u16, bytes: &[u8], effects: &mut Effects) {
        let (mut offset, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let field = self.device.config_at(offset);
            let end = field.map_or(offset.saturating_add(1), |f| f.offset + u16::from(f.width));
            let (written, others) = rest.split_at(rest.len().min(usize::from(end - offset).max(1)));
            let from = offset;
            (offset, rest) = (end, others);
            let Some(field) = field.filter(|field| {
                matches!(field.rights, Rights::rw | Rights::wo) && field.exists(self.offered)
            }) else {
                continue;
            };
            if field.rights == Rights::rw {
                let kept = self.config.iter_mut().skip(usize::from(from));
                kept.zip(written).for_each(|(old, new)| *old = *new);
            }
            effects.push(Effect::ConfigWrite {
                offset: from,
                bytes: written.to_vec(),
            });
        }
    }

    fn read(&self, register: CommonCfg) -> u64 {
        let driver = &self.driver;
        let word = |features: u128, select: u32| {
            if select < 4 {
                (features >> (32 * select)) as u32
            } else {
                0
            }
        };
        match register {
            CommonCfg::DeviceFeatureSelect => driver.device_feature_select.into(),
            CommonCfg::DeviceFeature => word(self.offered, driver.device_feature_select).into(),
            CommonCfg::DriverFeatureSelect => driver.driver_feature_select.into(),
            CommonCfg::DriverFeature => word(driver.features, driver.driver_feature_select).into(),
            CommonCfg::ConfigMsixVector => driver.config_vector.into(),
            CommonCfg::NumQueues => driver.queues.len() as u64,
            CommonCfg::DeviceStatus => driver.status.0.into(),
            CommonCfg::ConfigGeneration => self.generation.into(),
            CommonCfg::QueueSelect => driver.select.into(),
            CommonCfg::AdminQueueIndex | CommonCfg::AdminQueueNum => 0,
            // The field exists once the feature is agreed on; it never is the queue's index.
            CommonCfg::QueueNotifConfigData if !self.agreed(NOTIF_CONFIG_DATA) => 0,
            CommonCfg::QueueSize
            | CommonCfg::QueueMsixVector
            | CommonCfg::QueueEnable
            | CommonCfg::QueueNotifyOff
            | CommonCfg::QueueNotifConfigData
            | CommonCfg::QueueReset
            | CommonCfg::QueueDescLo
            | CommonCfg::QueueDescHi
            | CommonCfg::QueueDriverLo
            | CommonCfg::QueueDriverHi
            | CommonCfg::QueueDeviceLo
            | CommonCfg::QueueDeviceHi => {
                let index = driver.select;
                let queue = driver.queues.get(usize::from(index));
                // A queue that is not there has no vector, and is 0 elements long.
                let absent = match register {
                    CommonCfg::QueueMsixVector => NO_VECTOR.into(),
                    _ => 0,
                };
                queue.map_or(absent, |q| {
                    q.read(index, self.layout.notify_off(index), register)
                })
            }
        }
    }

    fn write(
        &mut self,
        register: CommonCfg,
        val: u64,
        pci: &mut Pci,
        interrupts: &mut Interrupts,
        effects: &mut Effects,
    ) {
        let driver = &mut self.driver;
        match register {
            CommonCfg::DeviceFeatureSelect => driver.device_feature_select = val as u32,
            CommonCfg::DriverFeatureSelect => driver.driver_feature_select = val as u32,
            _ if self.strict && early(register, driver.status) => {}
            CommonCfg::DeviceStatus => self.set_status(val as u8, pci, interrupts, effects),
            CommonCfg::QueueSelect => driver.select = val as u16,
            // So do the queues.
            _ if driver.halted => {}
            // Frozen once agreed (2.2.2: the device may rely on it).
            CommonCfg::DriverFeature
                if !driver.status.has(Status::FEATURES_OK) && driver.driver_feature_select < 4 =>
            {
                let shift = 32 * driver.driver_feature_select;
                driver.features =
                    (driver.features & !(0xffff_ffff << shift)) | (u128::from(val as u32) << shift);
            }
            CommonCfg::ConfigMsixVector => {
                driver.config_vector = accepted(val as u16, pci.table_size())
            }
            CommonCfg::DriverFeature
            | CommonCfg::DeviceFeature
            | CommonCfg::NumQueues
            | CommonCfg::ConfigGeneration
            | CommonCfg::QueueNotifyOff
            | CommonCfg::QueueNotifConfigData
            | CommonCfg::AdminQueueIndex
            | CommonCfg::AdminQueueNum => {}
            CommonCfg::QueueReset => {
                if val == 1 && self.agreed(RING_RESET) {
                    self.reset_queue(interrupts, effects);
                }
            }
            CommonCfg::QueueSize
            | CommonCfg::QueueMsixVector
            | CommonCfg::QueueEnable
            | CommonCfg::QueueDescLo
            | CommonCfg::QueueDescHi
            | CommonCfg::QueueDriverLo
            | CommonCfg::QueueDriverHi
            | CommonCfg::QueueDeviceLo
            | CommonCfg::QueueDeviceHi => {
                let packed = driver.features >> RING_PACKED & 1 == 1;
                let (select, started) = (driver.select, driver.started);
                let Some(queue) = driver.queues.get_mut(usize::from(select)) else {
                    return;
                };
                // Queues are started at DRIVER_OK and not later (3.1.1), but for one that was
                // reset (2.6.1.2); a read-back tells so.
                let enables = register == CommonCfg::QueueEnable && started;
                if enables && (!queue.was_reset || queue.enabled) {
                    return;
                }
                let most = self.queue_sizes.get(usize::from(select)).copied();
                queue.write(register, val, most.unwrap_or(0), pci.table_size(), packed);
                if enables && queue.enabled {
                    effects.push(Effect::StartQueue(queue.setup(select)));
                    self.kick(select, pci, effects);
                }
            }
        }
    }
}

/// Whether a strict device ignores a write because its time has not come (3.1.1): features before
/// DRIVER, queues and vectors before FEATURES_OK.
fn early(register: CommonCfg, status: Status) -> bool {
    let needed = match register {
        CommonCfg::DriverFeature => Status::DRIVER,
        CommonCfg::ConfigMsixVector => Status::FEATURES_OK,
        CommonCfg::DeviceFeatureSelect
        | CommonCfg::DriverFeatureSelect
        | CommonCfg::DeviceStatus
        | CommonCfg::QueueSelect => 0,
        _ => Status::FEATURES_OK,
    };
    !status.has(needed)
}

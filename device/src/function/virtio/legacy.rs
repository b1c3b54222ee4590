//! The legacy interface (4.1.4.10): another way to the same device, for drivers that know neither
//! FEATURES_OK nor more than 32 features.

use super::super::interrupts::Interrupts;
use super::super::lanes;
use super::super::pci::Pci;
use super::super::queues::{Queue, accepted};
use super::Virtio;
use crate::spec::{
    DeviceType, LEGACY_ALIGN, LEGACY_OFFERED, LEGACY_REACH, LegacyCfg, MacAddress, Status,
    legacy_areas,
};
use crate::trace::{Access, Effect, Effects, Op, Start};

impl Virtio {
    /// An access of the I/O ports of BAR 0.
    pub fn legacy_access(
        &mut self,
        access: &Access,
        pci: &mut Pci,
        interrupts: &mut Interrupts,
        effects: &mut Effects,
    ) {
        let (off, width) = (access.off, access.width);
        let header = LegacyCfg::header_bytes(pci.msix_enabled());
        let inside = u64::from(width).min(header.saturating_sub(off)) as u8;
        match access.op {
            Op::Read => {
                let mut value = lanes::read(off, inside, |r| self.legacy_read(r));
                for byte in inside..width {
                    let at = off.saturating_add(u64::from(byte)) - header;
                    let config = usize::try_from(at).ok().and_then(|at| self.config.get(at));
                    value |= u64::from(config.copied().unwrap_or(0)) << (8 * byte);
                }
                effects.push(Effect::Value(value));
                let isr = LegacyCfg::IsrStatus.offset();
                if (off..off.saturating_add(inside.into())).contains(&isr) {
                    self.driver.isr = 0;
                    interrupts.set_line(false, pci, effects);
                }
            }
            Op::Write => {
                let val = access.val.unwrap_or(0);
                for (register, bits, mask) in lanes::parts(off, inside, val) {
                    let val = lanes::merge(self.legacy_read(register), bits, mask);
                    self.legacy_write(register, val, pci, interrupts, effects);
                }
                if inside < width {
                    let bytes = val.to_le_bytes();
                    let at = off.saturating_add(inside.into()) - header;
                    if let Ok(at) = u16::try_from(at) {
                        let bytes = &bytes[usize::from(inside)..usize::from(width.min(8))];
                        self.legacy_config_write(at, bytes, effects);
                    }
                }
            }
        }
    }

    fn legacy_read(&self, register: LegacyCfg) -> u64 {
        let driver = &self.driver;
        let queue = driver.queues.get(usize::from(driver.select));
        match register {
            LegacyCfg::DeviceFeatures => ((self.offered | LEGACY_OFFERED) & LEGACY_REACH) as u64,
            LegacyCfg::DriverFeatures => (driver.features & LEGACY_REACH) as u64,
            LegacyCfg::QueueAddress => queue.map_or(0, |q| q.desc / LEGACY_ALIGN),
            LegacyCfg::QueueSize => queue.map_or(0, |q| q.size.into()),
            LegacyCfg::QueueSelect => driver.select.into(),
            LegacyCfg::QueueNotify => 0,
            LegacyCfg::DeviceStatus => driver.status.0.into(),
            LegacyCfg::IsrStatus => driver.isr.into(),
            LegacyCfg::ConfigMsixVector => driver.config_vector.into(),
            LegacyCfg::QueueMsixVector => {
                queue.map_or(crate::spec::NO_VECTOR.into(), |q| q.vector.into())
            }
        }
    }

    fn legacy_write(
        &mut self,
        register: LegacyCfg,
        val: u64,
        pci: &mut Pci,
        interrupts: &mut Interrupts,
        effects: &mut Effects,
    ) {
        let driver = &mut self.driver;
        match register {
            LegacyCfg::DeviceFeatures | LegacyCfg::QueueSize | LegacyCfg::IsrStatus => {}
            // Final on first use (3.1.2); of bits 32 and up none is accepted (4.1.4.10).
            LegacyCfg::DriverFeatures if driver.started => {}
            LegacyCfg::DriverFeatures => driver.features = u128::from(val) & LEGACY_REACH,
            LegacyCfg::QueueAddress => self.place_queue(val as u32, pci, effects),
            LegacyCfg::QueueSelect => driver.select = val as u16,
            LegacyCfg::QueueNotify => {
                // The device may be used before DRIVER_OK (3.1.2).
                self.legacy_start(pci, effects);
                self.kick(val as u16, pci, effects);
            }
            LegacyCfg::DeviceStatus if val as u8 == 0 => {
                self.set_status(0, pci, interrupts, effects);
            }
            LegacyCfg::DeviceStatus => {
                driver.status = driver.status.legacy_written(val as u8);
                if driver.status.has(Status::DRIVER_OK) {
                    self.legacy_start(pci, effects);
                }
            }
            LegacyCfg::ConfigMsixVector => {
                driver.config_vector = accepted(val as u16, pci.table_size());
            }
            LegacyCfg::QueueMsixVector => {
                if let Some(queue) = driver.queues.get_mut(usize::from(driver.select)) {
                    queue.vector = accepted(val as u16, pci.table_size());
                }
            }
        }
    }

    /// The selected queue begins at a page, and is in use; at page 0 it is no longer (4.1.5.1.3.1).
    fn place_queue(&mut self, page: u32, pci: &Pci, effects: &mut Effects) {
        let driver = &mut self.driver;
        let select = driver.select;
        let Some(queue) = driver.queues.get_mut(usize::from(select)) else {
            return;
        };
        let [desc, available, used] = match page {
            0 => [0; 3],
            _ => legacy_areas(page, queue.size),
        };
        let placed = Queue {
            enabled: page != 0,
            desc,
            driver: available,
            device: used,
            ..*queue
        };
        let before = std::mem::replace(queue, placed);
        if !driver.started || before == placed {
            return;
        }
        if before.enabled {
            effects.push(Effect::StopQueue { queue: select });
        }
        if placed.enabled {
            effects.push(Effect::StartQueue(placed.setup(select)));
            self.kick(select, pci, effects);
        }
    }

    /// The backend starts with what was agreed on and set up so far.
    fn legacy_start(&mut self, pci: &Pci, effects: &mut Effects) {
        let driver = &mut self.driver;
        if driver.started {
            return;
        }
        driver.started = true;
        let start = Start {
            features: (driver.features & self.offered) as u64,
            queues: driver.setups(),
        };
        effects.push(Effect::Start(Box::new(start)));
        if !pci.control().bus_master() {
            self.suspend(effects);
        }
        self.kick_all(pci, effects);
    }

    /// Takes what the driver may write: also the address of a network device (5.1.4.3).
    fn legacy_config_write(&mut self, at: u16, bytes: &[u8], effects: &mut Effects) {
        // The configuration stands still (virtio 1.4, 3.4.2).
        if self.driver.halted {
            return;
        }
        if self.device.id != DeviceType::NET.id {
            return self.config_write(at, bytes, effects);
        }
        let most = size_of::<MacAddress>().saturating_sub(at.into());
        let bytes = &bytes[..bytes.len().min(most)];
        if !bytes.is_empty() {
            let kept = self.config.iter_mut().skip(at.into());
            kept.zip(bytes).for_each(|(old, new)| *old = *new);
            let bytes = bytes.to_vec();
            effects.push(Effect::ConfigWrite { offset: at, bytes });
        }
    }
}

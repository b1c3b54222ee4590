//! A block device (virtio 1.3, 5.2).

mod load;
mod request;

use super::base::{Base, Tally};
use super::function::{Function, Wanted};
use super::spec::{block, feature};
use crate::dbg_print;
use crate::driver::Settings;
use crate::driver::args::Args;
use crate::hal::mmio::Mmio;
use crate::nt::status::NtStatus;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use load::Load;

/// What the driver knows of a disk.
#[derive(Default)]
pub struct Block {
    capacity: u64,
    load: Option<Load>,
}

/// The capacity in sectors of 512 bytes.
fn capacity(config: Mmio) -> u64 {
    let low: u32 = config.read(block::CAPACITY);
    let high: u32 = config.read(block::CAPACITY + 4);
    u64::from(high) << 32 | u64::from(low)
}

impl Function for Block {
    const FEATURES: u64 =
        feature::BLK_FLUSH | feature::BLK_MQ | feature::BLK_DISCARD | feature::BLK_WRITE_ZEROES;

    fn new(_settings: Settings) -> Self {
        Self::default()
    }

    fn set_up(&mut self, base: &mut Base) -> Result<Vec<Wanted>, NtStatus> {
        let missing = NtStatus::DEVICE_CONFIGURATION_ERROR;
        self.capacity = base.config(capacity).ok_or(missing)?;
        dbg_print!("VIRTIO: capacity {} sectors", self.capacity);
        let transport = base.registers()?;
        let device_queues = if base.may_read(feature::BLK_MQ) {
            let read = |config: Mmio| config.read::<u16>(block::NUM_QUEUES);
            transport.config(read).ok_or(missing)?.0
        } else {
            1
        };
        let (most, depth) = (base.settings.queues, base.settings.depth);
        let used = most.min(device_queues).min(transport.queues());
        let wanted = (0..used).map(|index| Wanted { index, depth });
        Ok(wanted.collect())
    }

    fn config_changed(&mut self, base: &mut Base) -> String {
        let capacity = base.config(capacity).unwrap_or_default();
        if capacity != self.capacity {
            dbg_print!("VIRTIO: capacity {capacity} sectors");
        }
        self.capacity = capacity;
        format!("capacity={capacity}")
    }

    fn begin(&mut self, base: &mut Base, args: &Args) -> Result<(), &'static str> {
        self.load = Some(Load::new(base, args, self.capacity)?);
        Ok(())
    }

    fn go_on(&mut self, base: &mut Base, tally: &mut Tally) -> bool {
        match &mut self.load {
            Some(load) => load.go_on(base, tally),
            None => true,
        }
    }

    fn counted(&self) -> &'static str {
        "blocks"
    }

    fn state(&self) -> String {
        format!("capacity={}", self.capacity)
    }
}

//! A block device (virtio 1.3, 5.2).

use super::base::{Base, Tally};
use super::disk::{Answer, Disk, Kind, Load, Request, SECTOR};
use super::function::{Function, Wanted};
use super::queue::{Part, Slot};
use super::registers::Registers;
use super::spec::{block, feature, request};
use crate::dbg_print;
use crate::driver::Settings;
use crate::driver::args::Args;
use crate::nt::status::NtStatus;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Where in a slot's outgoing memory the range of a discard lies, behind the header.
const SEGMENT: usize = 32;
const HEADER_SIZE: u32 = 16;
const SEGMENT_SIZE: u32 = 16;

static DISK: Disk = Disk {
    first: 0,
    put,
    answer,
};

/// What the driver knows of a disk.
#[derive(Default)]
pub struct Block {
    capacity: u64,
    load: Option<Load>,
}

/// The capacity in sectors of 512 bytes.
fn capacity(config: Registers) -> u64 {
    let low: u32 = config.read(block::CAPACITY);
    let high: u32 = config.read(block::CAPACITY + 4);
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a request down (5.2.6).
fn put(asked: &Request, slot: &mut Slot) {
    let header = slot.out(0);
    let ranged = asked.kind == Kind::Discard;
    header.write(
        0,
        match asked.kind {
            Kind::Read => request::IN,
            Kind::Write => request::OUT,
            Kind::Flush => request::FLUSH,
            Kind::Discard => request::DISCARD,
        },
    );
    header.write(4, 0u32);
    header.write(8, if ranged { 0 } else { asked.sector });
    let middle = if ranged {
        let segment = slot.out(SEGMENT);
        let sectors = u64::from(asked.length) / SECTOR;
        segment.write(0, asked.sector);
        segment.write(8, sectors as u32);
        segment.write(12, 0u32);
        Some(Part::out(segment, SEGMENT_SIZE))
    } else {
        let data = slot.data().filter(|_| asked.length > 0);
        data.map(|data| match asked.kind {
            Kind::Read => Part::into(data, asked.length),
            _ => Part::out(data, asked.length),
        })
    };
    let head = Some(Part::out(header, HEADER_SIZE));
    let tail = Some(Part::into(slot.answer(), 1));
    slot.parts = [head, middle, tail];
}

fn answer(slot: &Slot) -> Answer {
    match slot.answer().read(0) {
        request::OK => Answer::Well,
        status => Answer::Failed(status),
    }
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
            let read = |config: Registers| config.read::<u16>(block::NUM_QUEUES);
            transport
                .config(base.settings.mistakes, read)
                .ok_or(missing)?
                .0
        } else {
            1
        };
        let (most, depth) = (base.settings.queues, base.settings.depth);
        let there = transport.queues();
        if there == u16::MAX {
            dbg_print!("VIRTIO: the device has as many queues as nobody has");
            return Err(missing);
        }
        let used = most.min(device_queues).min(there);
        let wanted = (0..used).map(|index| Wanted { index, depth });
        Ok(wanted.collect())
    }

    fn config_changed(&mut self, base: &mut Base) -> String {
        let capacity = base.config(capacity).unwrap_or(self.capacity);
        if capacity != self.capacity {
            dbg_print!("VIRTIO: capacity {capacity} sectors");
        }
        self.capacity = capacity;
        format!("capacity={capacity}")
    }

    fn begin(&mut self, base: &mut Base, args: &Args) -> Result<(), &'static str> {
        let (flush, discard) = (base.has(feature::BLK_FLUSH), base.has(feature::BLK_DISCARD));
        let mut load = Load::new(base, args, &DISK, |kind| match kind {
            Kind::Flush => flush,
            Kind::Discard => discard,
            Kind::Read | Kind::Write => true,
        })?;
        load.open(base, self.capacity)?;
        self.load = Some(load);
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

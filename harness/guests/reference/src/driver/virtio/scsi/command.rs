//! Commands of SCSI, as a virtio request carries them (virtio 1.3, 5.6.6.1).

use crate::driver::virtio::disk::{Answer, Disk, Kind, Request, SECTOR};
use crate::driver::virtio::queue::{Part, Slot};
use crate::driver::virtio::spec::scsi::{self, op};
use crate::hal::mmio::Mmio;

/// The logical unit that the loads use: target 0, unit 0 (5.6.6.1: single level addressing).
pub const LUN: [u8; 8] = [1, 0, 0x40, 0, 0, 0, 0, 0];
/// Bytes of the request's head and of the answer's, with the usual sizes of command and sense data.
const HEAD: u32 = 51;
const ANSWER: u32 = 108;
const CDB: usize = 32;

/// Loads are spoken to the disk in these words.
pub static DISK: Disk = Disk {
    first: super::REQUESTS,
    put,
    answer,
};

/// Writes a command down: its bytes, and data in either direction.
pub fn write(slot: &mut Slot, cdb: &[u8], data: Option<Part>) {
    let head = slot.out(0);
    for (at, byte) in LUN.iter().enumerate() {
        head.write(at, *byte);
    }
    // Two requests in flight have different slots.
    head.write(scsi::ID, head.address());
    for at in scsi::ATTRIBUTE..scsi::CDB + CDB {
        let byte = at.checked_sub(scsi::CDB).and_then(|at| cdb.get(at));
        head.write(at, byte.copied().unwrap_or(0));
    }
    let head = Some(Part::out(head, HEAD));
    let answer = Some(Part::into(slot.answer(), ANSWER));
    slot.parts = match data {
        Some(data) if !data.writable => [head, Some(data), answer],
        data => [head, answer, data],
    };
}

/// The number that names the request in a slot to the device.
pub fn id(slot: &Slot) -> u64 {
    slot.out(0).read(scsi::ID)
}

/// What the device says. A unit that wants attention, and a request that was aborted, can be asked
/// for again.
pub fn answer(slot: &Slot) -> Answer {
    let answer = slot.answer();
    let response: u8 = answer.read(scsi::RESPONSE);
    let status: u8 = answer.read(scsi::STATUS);
    let sense: u8 = answer.read(scsi::SENSE + 2);
    match (response, status) {
        (scsi::OK, scsi::GOOD) => Answer::Well,
        (scsi::OK, scsi::CHECK_CONDITION) if sense & 0xf == scsi::UNIT_ATTENTION => {
            Answer::Again(status)
        }
        (scsi::ABORTED | scsi::RESET, _) => Answer::Again(Answer::RESPONSE | response),
        (scsi::OK, status) => Answer::Failed(status),
        (response, _) => Answer::Failed(Answer::RESPONSE | response),
    }
}

fn put(asked: &Request, slot: &mut Slot) {
    let mut cdb = [0; 16];
    let blocks = u64::from(asked.length) / SECTOR;
    let far = asked.sector + blocks > u32::MAX.into();
    cdb[0] = match (asked.kind, far) {
        (Kind::Read, false) => op::READ_10,
        (Kind::Read, true) => op::READ_16,
        (Kind::Write, false) => op::WRITE_10,
        (Kind::Write, true) => op::WRITE_16,
        (Kind::Flush, _) => op::SYNCHRONIZE_CACHE_10,
        (Kind::Discard, _) => op::UNMAP,
    };
    match asked.kind {
        Kind::Flush => {}
        Kind::Discard => cdb[7..9].copy_from_slice(&(UNMAP_LIST as u16).to_be_bytes()),
        Kind::Read | Kind::Write if far => {
            cdb[2..10].copy_from_slice(&asked.sector.to_be_bytes());
            cdb[10..14].copy_from_slice(&(blocks as u32).to_be_bytes());
        }
        Kind::Read | Kind::Write => {
            cdb[2..6].copy_from_slice(&(asked.sector as u32).to_be_bytes());
            cdb[7..9].copy_from_slice(&(blocks as u16).to_be_bytes());
        }
    }
    let data = slot.data().and_then(|data| match asked.kind {
        Kind::Read => Some(Part::into(data, asked.length)),
        Kind::Write => Some(Part::out(data, asked.length)),
        Kind::Flush => None,
        Kind::Discard => {
            list_for_unmap(data, asked.sector, blocks as u32);
            Some(Part::out(data, UNMAP_LIST as u32))
        }
    });
    write(slot, &cdb, data);
}

/// Bytes of a list with one range for UNMAP.
const UNMAP_LIST: usize = 24;

fn list_for_unmap(data: Mmio, sector: u64, blocks: u32) {
    let mut list = [0; UNMAP_LIST];
    list[1] = UNMAP_LIST as u8 - 2;
    list[3] = 16;
    list[8..16].copy_from_slice(&sector.to_be_bytes());
    list[16..20].copy_from_slice(&blocks.to_be_bytes());
    for (at, byte) in list.iter().enumerate() {
        data.write(at, *byte);
    }
}

//! Requests for a logical unit (5.6.6.1).

use std::fmt;

use virtio_bindings::virtio_scsi as scsi;

use super::super::chain::{Chain, NoStatus};
use super::super::device::{Memory, Offer};
use super::address::Address;
use super::command::{CDB_BYTES, Command};
use super::disk::{Data, Disk, Outcome};
use super::sense::SENSE_BYTES;
use super::tasks::Finished;
use crate::spec::ScsiConfig;

/// Unit, id, attribute, priority and number, before the command.
const HEAD_BYTES: usize = 19;
/// Sense length, residual, qualifier, status and response, before the sense data.
const ANSWER_BYTES: usize = 12;
/// The largest sizes of command and sense data that a driver can ask for.
const MOST_CDB: u64 = 256;
const MOST_SENSE: u64 = 4096;
/// Status codes (SAM-5, 5.3.1).
const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    lun: [u8; 8],
    id: u64,
    command: Command,
    /// Sizes of what stands before the data, in either direction.
    head: u64,
    answer: u64,
    /// Whether the driver wrote it as it may.
    sound: bool,
}

impl Request {
    /// Reads the request in `chain`.
    ///
    /// # Errors
    /// There is no place for a response.
    pub fn read(memory: &Memory, chain: &Chain, offer: &Offer) -> Result<Self, NoStatus> {
        if chain.writable_bytes() < ANSWER_BYTES as u64 {
            return Err(NoStatus);
        }
        let cdb_bytes = offer.configuration.get(ScsiConfig::CdbSize);
        let sense_bytes = offer.configuration.get(ScsiConfig::SenseSize);
        let (head, answer) = (
            HEAD_BYTES as u64 + cdb_bytes.min(MOST_CDB),
            ANSWER_BYTES as u64 + sense_bytes.min(MOST_SENSE),
        );
        let mut bytes = [0; HEAD_BYTES];
        let mut cdb = [0; CDB_BYTES];
        let known = cdb_bytes.min(CDB_BYTES as u64) as usize;
        let mut reader = chain.reader();
        let read = reader.read(memory, &mut bytes);
        let read = read.and_then(|()| reader.read(memory, &mut cdb[..known]));
        let data_out = chain.readable_bytes().checked_sub(head);
        let data_in = chain.writable_bytes().checked_sub(answer);
        // Data in both directions needs a feature that is not offered.
        let one_way = data_out.zip(data_in).is_some_and(|(o, i)| o == 0 || i == 0);
        let sizes = cdb_bytes <= MOST_CDB && sense_bytes <= MOST_SENSE;
        let mut lun = [0; 8];
        lun.copy_from_slice(&bytes[..8]);
        let mut id = [0; 8];
        id.copy_from_slice(&bytes[8..16]);
        Ok(Self {
            lun,
            id: u64::from_le_bytes(id),
            command: Command::read(&cdb),
            head,
            answer,
            sound: read.is_ok() && sizes && one_way && chain.well_formed(),
        })
    }

    /// Carries it out and writes the answer.
    ///
    /// # Errors
    /// The answer can't be written.
    pub fn carry_out(
        &self,
        memory: &Memory,
        chain: &Chain,
        disks: &mut [Disk],
        units: usize,
    ) -> Result<u32, NoStatus> {
        let address = Address::read(self.lun, units);
        let mut data = Data {
            out: chain.reader(),
            out_bytes: chain.readable_bytes().saturating_sub(self.head),
            into: chain.writer(),
            into_bytes: chain.writable_bytes().saturating_sub(self.answer),
        };
        let skipped = data.out.skip(self.head.min(chain.readable_bytes()));
        let skipped = skipped.and(data.into.skip(self.answer.min(chain.writable_bytes())));
        let length = data.out_bytes.max(data.into_bytes);
        let incoming = data.into_bytes > 0;
        let (response, outcome) = if !self.sound || skipped.is_err() {
            (scsi::VIRTIO_SCSI_S_FAILURE, Outcome::Failure)
        } else if address == Address::Nowhere {
            (scsi::VIRTIO_SCSI_S_BAD_TARGET, Outcome::Failure)
        } else {
            // Of a unit that is not there the first one answers.
            let disk = match address {
                Address::Disk(unit) => &mut disks[unit],
                _ => &mut disks[0],
            };
            let outcome = disk.carry_out(memory, address, self.command, units, &mut data);
            let response = match outcome {
                Outcome::Good(_) | Outcome::Check(_) => scsi::VIRTIO_SCSI_S_OK,
                Outcome::Overrun => scsi::VIRTIO_SCSI_S_OVERRUN,
                Outcome::Failure => scsi::VIRTIO_SCSI_S_FAILURE,
            };
            (response, outcome)
        };
        let moved = match outcome {
            Outcome::Good(moved) => moved,
            _ => 0,
        };
        self.respond(
            memory,
            chain,
            outcome,
            response as u8,
            length - moved.min(length),
        )?;
        let written = self.answer + if incoming { moved } else { 0 };
        Ok(written.min(chain.writable_bytes()) as u32)
    }

    /// Its unit, its id, and where the response to it stands, if it is one that task management knows: a sound
    /// command for a disk.
    pub fn task(&self, chain: &Chain, units: usize) -> Option<Finished> {
        let Address::Disk(unit) = Address::read(self.lun, units) else {
            return None;
        };
        let mut answer = chain.writer();
        answer.skip(ANSWER_BYTES as u64 - 1).ok()?;
        let at = answer.address().filter(|_| self.sound)?;
        Some((unit, self.id, at))
    }

    fn respond(
        &self,
        memory: &Memory,
        chain: &Chain,
        outcome: Outcome,
        response: u8,
        residual: u64,
    ) -> Result<(), NoStatus> {
        const ZEROS: [u8; 256] = [0; 256];
        let mut answer = [0; ANSWER_BYTES];
        let mut sense = [0; SENSE_BYTES];
        let room = self.answer.min(chain.writable_bytes()) - ANSWER_BYTES as u64;
        let mut told = 0;
        if let Outcome::Check(why) = outcome {
            sense = why.bytes();
            told = (SENSE_BYTES as u64).min(room) as usize;
            answer[10] = CHECK_CONDITION;
        } else {
            answer[10] = GOOD;
        }
        answer[..4].copy_from_slice(&(told as u32).to_le_bytes());
        let residual = u32::try_from(residual).unwrap_or(u32::MAX);
        answer[4..8].copy_from_slice(&residual.to_le_bytes());
        answer[11] = response;
        let mut writer = chain.writer();
        let mut put = |bytes: &[u8]| writer.write(memory, bytes).map_err(|_| NoStatus);
        put(&answer)?;
        put(&sense[..told])?;
        // The data stands behind the whole of the sense data, so that has to be written too.
        let mut left = room - told as u64;
        while left > 0 {
            let some = left.min(ZEROS.len() as u64);
            put(&ZEROS[..some as usize])?;
            left -= some;
        }
        Ok(())
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sound {
            write!(f, "{}", self.command)
        } else {
            f.write_str("malformed request")
        }
    }
}

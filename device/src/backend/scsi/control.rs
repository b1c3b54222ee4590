//! Task management and asynchronous notifications (5.6.6.2).

use std::fmt;

use virtio_bindings::virtio_scsi as scsi;

use super::super::chain::{Chain, NoStatus};
use super::super::device::Memory;
use super::address::Address;
use super::disk::Disk;
use super::sense::Sense;
use super::tasks::{Tasks, Which};

/// `VIRTIO_SCSI_S_INCORRECT_LUN`, which has one value for requests and another for these.
const INCORRECT_LUN: u32 = 12;
/// `VIRTIO_SCSI_S_FUNCTION_COMPLETE`
const FUNCTION_COMPLETE: u32 = 0;
/// `VIRTIO_SCSI_S_FUNCTION_SUCCEEDED`
const FUNCTION_SUCCEEDED: u32 = 10;
/// Type, function, unit and id.
const TASK_BYTES: usize = 24;
/// Type, unit and events.
const NOTIFICATION_BYTES: usize = 16;

/// A request of the control queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// A task management function for a unit.
    Task {
        function: u32,
        lun: [u8; 8],
        id: u64,
    },
    /// Which events a unit can report, or is to report.
    Notifications { subscribe: bool, lun: [u8; 8] },
    /// A type that this host does not know.
    Unknown(u32),
    /// Too short.
    Malformed,
}

impl Control {
    /// Reads the request in `chain`.
    pub fn read(memory: &Memory, chain: &Chain) -> Self {
        let mut bytes = [0; TASK_BYTES];
        let mut reader = chain.reader();
        let (kind, rest) = bytes.split_at_mut(4);
        if !chain.well_formed() || reader.read(memory, kind).is_err() {
            return Self::Malformed;
        }
        let number = |at: &[u8]| at.try_into().map_or(0, u32::from_le_bytes);
        let kind = number(kind);
        let more = match kind {
            scsi::VIRTIO_SCSI_T_TMF => TASK_BYTES,
            scsi::VIRTIO_SCSI_T_AN_QUERY | scsi::VIRTIO_SCSI_T_AN_SUBSCRIBE => NOTIFICATION_BYTES,
            other => return Self::Unknown(other),
        } - 4;
        if reader.read(memory, &mut rest[..more]).is_err() {
            return Self::Malformed;
        }
        let lun = |at: &[u8]| <[u8; 8]>::try_from(at).unwrap_or_default();
        match kind {
            scsi::VIRTIO_SCSI_T_TMF => Self::Task {
                function: number(&rest[..4]),
                lun: lun(&rest[4..12]),
                id: u64::from_le_bytes(lun(&rest[12..20])),
            },
            _ => Self::Notifications {
                subscribe: kind == scsi::VIRTIO_SCSI_T_AN_SUBSCRIBE,
                lun: lun(&rest[..8]),
            },
        }
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
        tasks: &mut Tasks,
        units: usize,
    ) -> Result<u32, NoStatus> {
        match *self {
            Self::Task { function, lun, id } => {
                let address = Address::read(lun, units);
                let response = manage(memory, function, address, id, disks, tasks);
                let written = chain.writer().write(memory, &[response as u8]);
                written.map(|()| 1).map_err(|_| NoStatus)
            }
            Self::Notifications { lun, .. } => {
                // A disk has none of these events.
                let mut bytes = [0; 5];
                bytes[4] = response(Address::read(lun, units)) as u8;
                let written = chain.writer().write(memory, &bytes);
                written.map(|()| bytes.len() as u32).map_err(|_| NoStatus)
            }
            Self::Unknown(_) | Self::Malformed => {
                chain.put_status(memory, scsi::VIRTIO_SCSI_S_FAILURE as u8)?;
                Ok(u32::from(chain.writable_bytes() == 1))
            }
        }
    }
}

/// Whether the unit is there.
fn response(address: Address) -> u32 {
    match address {
        Address::Disk(_) => scsi::VIRTIO_SCSI_S_OK,
        Address::OtherUnit | Address::ReportLuns => INCORRECT_LUN,
        Address::Nowhere => scsi::VIRTIO_SCSI_S_BAD_TARGET,
    }
}

/// Carries out a task management function. The commands that it can reach are finished and not yet
/// used: they end before it does.
fn manage(
    memory: &Memory,
    function: u32,
    address: Address,
    id: u64,
    disks: &mut [Disk],
    tasks: &mut Tasks,
) -> u32 {
    let present = |is: bool| {
        if is {
            FUNCTION_SUCCEEDED
        } else {
            FUNCTION_COMPLETE
        }
    };
    let unit = match address {
        Address::Nowhere => return response(address),
        _ if function == scsi::VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET => {
            for disk in disks {
                disk.attention = Some(Sense::RESET);
            }
            tasks.end(memory, Which::All, scsi::VIRTIO_SCSI_S_RESET);
            return FUNCTION_COMPLETE;
        }
        Address::Disk(unit) => unit,
        _ => return response(address),
    };
    let all = Which::Unit(unit);
    let (which, response) = match function {
        scsi::VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET => {
            disks[unit].attention = Some(Sense::RESET);
            (all, scsi::VIRTIO_SCSI_S_RESET)
        }
        scsi::VIRTIO_SCSI_T_TMF_ABORT_TASK => (Which::Id(unit, id), scsi::VIRTIO_SCSI_S_ABORTED),
        scsi::VIRTIO_SCSI_T_TMF_ABORT_TASK_SET | scsi::VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET => {
            (all, scsi::VIRTIO_SCSI_S_ABORTED)
        }
        scsi::VIRTIO_SCSI_T_TMF_QUERY_TASK => return present(tasks.has(Which::Id(unit, id))),
        scsi::VIRTIO_SCSI_T_TMF_QUERY_TASK_SET => return present(tasks.has(all)),
        _ => return scsi::VIRTIO_SCSI_S_FUNCTION_REJECTED,
    };
    tasks.end(memory, which, response);
    FUNCTION_COMPLETE
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task { function, .. } => {
                let name = match *function {
                    scsi::VIRTIO_SCSI_T_TMF_ABORT_TASK => "abort task",
                    scsi::VIRTIO_SCSI_T_TMF_ABORT_TASK_SET => "abort task set",
                    scsi::VIRTIO_SCSI_T_TMF_CLEAR_ACA => "clear ACA",
                    scsi::VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET => "clear task set",
                    scsi::VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET => "reset nexus",
                    scsi::VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET => "reset unit",
                    scsi::VIRTIO_SCSI_T_TMF_QUERY_TASK => "query task",
                    scsi::VIRTIO_SCSI_T_TMF_QUERY_TASK_SET => "query task set",
                    other => return write!(f, "unknown function {other}"),
                };
                f.write_str(name)
            }
            Self::Notifications {
                subscribe: false, ..
            } => f.write_str("query notifications"),
            Self::Notifications { .. } => f.write_str("subscribe to notifications"),
            Self::Unknown(kind) => write!(f, "unknown control request {kind}"),
            Self::Malformed => f.write_str("malformed control request"),
        }
    }
}

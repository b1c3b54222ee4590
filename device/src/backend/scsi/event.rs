//! What the host tells of its own accord (5.6.6.3).

use std::fmt;

use virtio_bindings::virtio_scsi as scsi;

use super::address::Address;
use super::sense::Sense;

/// `struct virtio_scsi_event`: event, unit, reason.
pub const EVENT_BYTES: usize = 16;
/// Events that wait for a buffer at the most; what comes then is lost, and that is told.
const MOST: usize = 4;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    event: u32,
    reason: u32,
}

impl Event {
    /// The disk has come.
    pub const RESCAN: Self = Self::transport(scsi::VIRTIO_SCSI_EVT_RESET_RESCAN);
    /// The disk has gone.
    pub const REMOVED: Self = Self::transport(scsi::VIRTIO_SCSI_EVT_RESET_REMOVED);
    /// Nothing, for a buffer that is too short for anything else.
    const NOTHING: Self = Self {
        event: scsi::VIRTIO_SCSI_T_NO_EVENT,
        reason: 0,
    };

    const fn transport(reason: u32) -> Self {
        Self {
            event: scsi::VIRTIO_SCSI_T_TRANSPORT_RESET,
            reason,
        }
    }

    /// A parameter of the disk changed, as a unit attention tells too.
    pub const fn parameters(sense: Sense) -> Self {
        Self {
            event: scsi::VIRTIO_SCSI_T_PARAM_CHANGE,
            reason: sense.code as u32 | (sense.qualifier as u32) << 8,
        }
    }

    /// The event as it is written.
    pub fn bytes(self) -> [u8; EVENT_BYTES] {
        let mut bytes = [0; EVENT_BYTES];
        bytes[..4].copy_from_slice(&self.event.to_le_bytes());
        if self.event & !scsi::VIRTIO_SCSI_T_EVENTS_MISSED != scsi::VIRTIO_SCSI_T_NO_EVENT {
            bytes[4..12].copy_from_slice(&Address::DISK);
        }
        bytes[12..].copy_from_slice(&self.reason.to_le_bytes());
        bytes
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed = self.event & scsi::VIRTIO_SCSI_T_EVENTS_MISSED != 0;
        match self.event & !scsi::VIRTIO_SCSI_T_EVENTS_MISSED {
            scsi::VIRTIO_SCSI_T_NO_EVENT => f.write_str("no event")?,
            scsi::VIRTIO_SCSI_T_TRANSPORT_RESET => write!(f, "event reset {}", self.reason)?,
            _ => write!(f, "event parameters {:#x}", self.reason)?,
        }
        f.write_str(if missed { ", others missed" } else { "" })
    }
}

/// Events that wait for a buffer, the first first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    waiting: [Option<Event>; MOST],
    missed: bool,
}

impl Events {
    /// Adds one, or loses it.
    pub fn push(&mut self, event: Event) {
        match self.waiting.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(event),
            None => self.missed = true,
        }
    }

    /// What a buffer of so many bytes is filled with.
    pub fn next(&self, room: u64) -> Option<Event> {
        let mut event = if room < EVENT_BYTES as u64 {
            Event::NOTHING
        } else {
            self.waiting[0]?
        };
        if self.missed {
            event.event |= scsi::VIRTIO_SCSI_T_EVENTS_MISSED;
        }
        Some(event)
    }

    /// The driver was told of the first.
    pub fn told(&mut self, event: Event) {
        self.missed = false;
        if event.event & !scsi::VIRTIO_SCSI_T_EVENTS_MISSED != scsi::VIRTIO_SCSI_T_NO_EVENT {
            self.waiting.rotate_left(1);
            self.waiting[MOST - 1] = None;
        }
    }
}

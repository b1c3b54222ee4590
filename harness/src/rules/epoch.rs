//! What a driver did between two resets, and before.

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::spec::{NO_VECTOR, Status};
use misfire_device::trace::Mode;

use super::machine::Object;

/// What the driver did since the last reset.
#[derive(Clone, Debug, Default)]
pub struct Epoch {
    /// The reset that began it; none if the driver has not reset the device yet.
    pub began: Option<u64>,
    /// The driver has read a status of 0 since.
    pub zero_read: bool,
    /// Status bits that the driver has set.
    pub written: u8,
    /// The last status write.
    pub status_written: Option<u64>,
    /// FEATURES_OK was set.
    pub features_ok: Option<u64>,
    /// The first status read after it, with what the driver got.
    pub reread: Option<(u64, Status)>,
    /// DRIVER_OK was set.
    pub driver_ok: Option<u64>,
    /// FAILED was set.
    pub failed: Option<u64>,
    /// The last status read, with what the driver got.
    pub status_read: Option<(u64, Status)>,
    /// Device features were read.
    pub features_read: Option<u64>,
    /// The features that the driver was shown, and those that it wrote.
    pub features_shown: u128,
    pub features_written: u128,
    /// The config event's vector.
    pub config: Mapping,
    /// Queues that the driver did anything to.
    pub queues: BTreeMap<u16, QueueFacts>,
}

impl Epoch {
    /// FEATURES_OK was set, and the device did not keep it.
    pub fn refused(&self, device: Status) -> bool {
        self.features_ok.is_some()
            && (!device.has(Status::FEATURES_OK)
                || self
                    .reread
                    .is_some_and(|(_, s)| !s.has(Status::FEATURES_OK)))
    }

    /// Queues that the driver enabled.
    pub fn enabled(&self) -> impl Iterator<Item = (u16, &QueueFacts)> {
        self.queues
            .iter()
            .filter(|(_, q)| q.enabled.is_some())
            .map(|(i, q)| (*i, q))
    }

    /// The mapping of a queue, or of the config event.
    pub fn mapping(&self, object: Object) -> Option<&Mapping> {
        match object {
            Object::Config => Some(&self.config),
            Object::Queue(q) => self.queues.get(&q).map(|q| &q.mapping),
            _ => None,
        }
    }
}

/// What the driver did to a vector register.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mapping {
    /// The first write of a vector other than NO_VECTOR.
    pub first: Option<u64>,
    /// The last write, with the value.
    pub wrote: Option<(u64, u16)>,
    /// The last read after it, with what the driver got.
    pub read: Option<(u64, u16)>,
}

impl Mapping {
    /// The driver writes the register.
    pub fn write(&mut self, seq: u64, vector: u16) {
        if vector != NO_VECTOR {
            self.first.get_or_insert(seq);
        }
        self.wrote = Some((seq, vector));
        self.read = None;
    }

    /// The vector that the driver asked for last, unless it unmapped the event.
    pub fn asked(&self) -> Option<(u64, u16)> {
        self.wrote.filter(|(_, v)| *v != NO_VECTOR)
    }
}

/// What the driver did to a queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueFacts {
    /// What the driver got from `queue_size`.
    pub size_read: Option<u16>,
    /// When the low halves of descriptor, driver and device area were written.
    pub areas: [Option<u64>; 3],
    /// Its vector.
    pub mapping: Mapping,
    /// It was enabled.
    pub enabled: Option<u64>,
    /// It was first notified.
    pub notified: Option<u64>,
    /// What the driver got from `queue_notif_config_data`.
    pub notif_data: Option<u16>,
    /// The queue was reset, and everything else is what was done since.
    pub reset: Option<u64>,
    /// The driver has read 0 from `queue_reset` since.
    pub reset_over: Option<u64>,
}

/// What the driver did in earlier epochs.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// It was live.
    pub live: Option<u64>,
    /// Queues that it had enabled.
    pub enabled: BTreeSet<u16>,
    /// Events that had a vector while the device was live, with the last accepted write.
    pub mapped: BTreeMap<Object, (u64, u16)>,
    /// The device features were read.
    pub features_read: bool,
    /// A mapping was refused.
    pub refused_mapping: Option<u64>,
    /// The features were refused.
    pub refused_features: Option<u64>,
    /// How the function interrupted when it was last live.
    pub mode: Option<Mode>,
    /// MSI-X was enabled at some time.
    pub msix_enabled: bool,
    /// MSI was enabled at some time, with the largest number of messages.
    pub msi_enabled: Option<u16>,
    /// The vectors mapped when it was last live.
    pub used_vectors: BTreeSet<u16>,
}

//! What every kind of virtio device has in common.

use vm_memory::GuestMemoryMmap;

use super::chain::{Chain, NoStatus};
use super::config::{Configuration, device_features};
use crate::shape::Shape;
use crate::spec::DeviceType;
use crate::trace::Host;

/// The guest's memory.
pub type Memory = GuestMemoryMmap<()>;

/// A virtio device behind its rings.
///
/// A chain goes through three steps. It is *looked at*: what the driver put into it is read once,
/// and the device says whether it takes it now. It is *served*: the device does what is asked, and
/// says how many bytes it wrote. Then its owner makes it used. Between the steps nothing of the
/// device is locked, so a chain that was looked at may never be served: the driver reset the device.
///
/// A chain that has to [wait](Look::Wait) stays available, so that a device holds buffers without
/// keeping anything of them, and a stopped queue gives them back. When something comes for it (a
/// frame was sent to itself, the host said something), the device [wakes](Offer::wake) the queue.
pub trait Device: Send {
    /// What it offers to drivers.
    fn offer(&self) -> &Offer;

    /// What it offers to drivers, to be changed.
    fn offer_mut(&mut self) -> &mut Offer;

    /// Reads what the next available chain of `queue` asks for.
    ///
    /// # Errors
    /// Nobody could be told of the outcome: the queue is broken.
    fn look(&mut self, memory: &Memory, queue: u16, chain: &Chain) -> Result<Look, NoStatus>;

    /// The chain that was looked at last, in words.
    fn words(&self, queue: u16) -> String;

    /// Does what the chain that was looked at last asks for; returns the number of bytes written
    /// from the first device-writable byte on, without a gap (2.7.8.2).
    ///
    /// # Errors
    /// Nobody can be told of the outcome: the queue is broken.
    fn serve(&mut self, memory: &Memory, queue: u16, chain: &Chain) -> Result<u32, NoStatus>;

    /// The driver begins anew: features were agreed on, or the device was reset. What was not yet
    /// delivered is forgotten.
    fn begin(&mut self) {}

    /// A chain that was served is about to be used. Until then its buffers are the device's.
    fn used(&mut self, queue: u16, head: u16) {
        let _ = (queue, head);
    }

    /// A queue was stopped for good: the buffers of its chains are the driver's.
    fn stopped(&mut self, queue: u16) {
        let _ = queue;
    }

    /// The host changed the configuration, which was `before`.
    fn changed(&mut self, before: &Configuration) {
        let _ = before;
    }

    /// The host commands something of the device that its configuration does not tell.
    fn command(&mut self, host: &Host) {
        let _ = host;
    }

    /// The driver wrote into the configuration.
    fn written(&mut self, offset: u32, bytes: &[u8]) {
        let offer = self.offer_mut();
        offer.configuration.write(offer.device, offset, bytes);
    }

    /// The features it offers.
    fn features(&self) -> u64 {
        self.offer().features()
    }

    /// The driver accepted these features, and begins anew.
    fn accept(&mut self, features: u64) {
        let offer = self.offer_mut();
        offer.accepted = features & offer.features;
        offer.woken = 0;
        self.begin();
    }

    /// Its configuration.
    fn configuration(&self) -> &Configuration {
        &self.offer().configuration
    }

    /// Replaces its configuration; the capacity in it is the size of the disk from now on.
    fn configure(&mut self, configuration: Configuration) {
        let before = std::mem::replace(&mut self.offer_mut().configuration, configuration);
        self.changed(&before);
    }
}

/// Whether a device takes the chain that it looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is served next.
    Take,
    /// It stays available until the device wakes the queue, or the driver notifies it.
    Wait,
}

/// What a device offers to drivers, and what was agreed on.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its configuration.
    pub configuration: Configuration,
    device: &'static DeviceType,
    features: u64,
    accepted: u64,
    woken: u64,
}

impl Offer {
    /// That of a virtio device of this shape, with a disk of `sectors` sectors if it has one.
    pub fn new(shape: &Shape, sectors: u64) -> Self {
        Self {
            configuration: Configuration::new(shape, sectors),
            device: shape.kind.device_type().unwrap_or(&DeviceType::BLOCK),
            features: device_features(shape),
            accepted: 0,
            woken: 0,
        }
    }

    /// The features it offers.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Whether the driver accepted feature `bit`.
    pub fn has(&self, bit: u32) -> bool {
        self.accepted >> bit & 1 == 1
    }

    /// Something came for a queue that lets its chains wait.
    pub fn wake(&mut self, queue: u16) {
        self.woken |= 1u64.checked_shl(queue.into()).unwrap_or(0);
    }

    /// The queues that were woken since this was asked last, a bit for each.
    pub fn take_woken(&mut self) -> u64 {
        std::mem::take(&mut self.woken)
    }
}

//! Virtqueues as the driver sees them: what is the same for both formats (virtio 1.3, 2.7 and 2.8).

mod packed;
mod split;

use super::queue::Part;
use crate::driver::mistake::Mistakes;
use crate::hal::mmio::Mmio;
use alloc::collections::VecDeque;
use packed::Packed;
use split::Split;

/// The features that change how a queue works.
#[derive(Clone, Copy, Debug, Default)]
pub struct Features {
    /// EVENT_IDX.
    pub event_idx: bool,
    /// INDIRECT_DESC.
    pub indirect: bool,
    /// RING_PACKED.
    pub packed: bool,
    /// IN_ORDER.
    pub in_order: bool,
    /// NOTIFICATION_DATA.
    pub notification_data: bool,
    /// The used ring begins on a page of its own, as the legacy interface has it.
    pub page_aligned: bool,
}

/// The device has moved its index by more than there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFar {
    /// Its index.
    pub index: u16,
    /// How far that is ahead.
    pub new: u16,
}

/// Something that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// The request of this slot, and the bytes that the device says it has written.
    Slot(u16, u32),
    /// What the device calls it is nothing that it has.
    Unknown(u32),
}

/// A request on its way into a ring.
pub struct Chain<'a> {
    /// The slot it belongs to.
    pub slot: u16,
    /// Its pieces; at least one.
    pub parts: &'a [Part],
    /// Where its indirect table is written.
    pub table: Mmio,
}

/// With IN_ORDER buffers come back as they went out, several at once (2.7.8, 2.8.9): what is out, and
/// up to which one it is known to be back.
#[derive(Default)]
struct Order {
    out: VecDeque<u16>,
    back: usize,
    length: u32,
}

impl Order {
    /// Everything up to `slot` is back: how many that are. `None` when it is not out.
    fn reaches(&mut self, slot: u16, length: u32) -> Option<usize> {
        let place = self.out.iter().skip(self.back).position(|&n| n == slot)?;
        self.back += place + 1;
        self.length = length;
        Some(place + 1)
    }

    /// The next one that is back. Of those that the device passed over no length is known.
    fn take(&mut self) -> Option<Back> {
        self.back = self.back.checked_sub(1)?;
        let slot = self.out.pop_front()?;
        let length = if self.back == 0 { self.length } else { 0 };
        Some(Back::Slot(slot, length))
    }
}

/// A ring.
pub enum Ring {
    /// Descriptor table, available and used ring.
    Split(Split),
    /// One ring of descriptors.
    Packed(Packed),
}

macro_rules! either {
    ($self:ident, $ring:ident => $call:expr) => {
        match $self {
            Self::Split($ring) => $call,
            Self::Packed($ring) => $call,
        }
    };
}

impl Ring {
    /// Bytes that a ring of so many descriptors takes, in either format.
    pub fn bytes(size: u16, features: Features) -> usize {
        let most = Split::bytes(size, features).max(Packed::bytes(size));
        most.next_multiple_of(8)
    }

    /// An empty ring in `memory`, which is overwritten.
    pub fn new(memory: Mmio, size: u16, features: Features, mistakes: Mistakes) -> Self {
        for at in (0..Self::bytes(size, features).min(memory.length())).step_by(8) {
            memory.write(at, 0u64);
        }
        if features.packed {
            Self::Packed(Packed::new(memory, size, features, mistakes))
        } else {
            Self::Split(Split::new(memory, size, features, mistakes))
        }
    }

    /// Physical addresses of the descriptors, the driver's and the device's area.
    pub fn addresses(&self) -> [u64; 3] {
        either!(self, ring => ring.addresses())
    }

    /// Makes a request available.
    pub fn expose(&mut self, chain: &Chain<'_>) {
        either!(self, ring => ring.expose(chain))
    }

    /// Where the first descriptor of a slot's request lies, in bytes from the ring's beginning.
    /// `None` when the request is not out.
    pub fn held(&self, slot: u16) -> Option<usize> {
        either!(self, ring => ring.held(slot))
    }

    /// Whether the device wants to be notified of what was made available since this was last asked.
    pub fn wants_notification(&mut self) -> bool {
        either!(self, ring => ring.wants_notification())
    }

    /// Where the next request will be: what NOTIFICATION_DATA tells the device (2.9).
    pub fn position(&self) -> u16 {
        either!(self, ring => ring.position())
    }

    /// Whether the device has used something that was not taken yet.
    pub fn has_used(&self) -> bool {
        either!(self, ring => ring.has_used())
    }

    /// Takes the next request that is back; `in_flight` is how many are out.
    ///
    /// # Errors
    /// The device's index is nonsense.
    pub fn take(&mut self, in_flight: usize) -> Result<Option<Back>, TooFar> {
        either!(self, ring => ring.take(in_flight))
    }
}

#[cfg(test)]
mod testing {
    use super::*;
    use alloc::boxed::Box;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Memory of the host that a ring can lie in.
    pub fn memory(bytes: usize) -> Mmio {
        let words: &'static mut [u128] = Box::leak(vec![0u128; bytes.div_ceil(16)].into());
        Mmio::new(words.as_ptr() as u64, bytes)
    }

    pub fn parts(count: usize) -> Vec<Part> {
        let part = |n: usize| Part {
            address: 0x1000 * (n as u64 + 1),
            length: 16,
            writable: n + 1 == count,
        };
        (0..count).map(part).collect()
    }
}

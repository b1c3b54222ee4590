//! Accesses that a mistaken driver makes beside the right ones: which, and when.

use super::queue::Queue;
use super::registers::Registers;
use super::spec::{block, cap, common, feature, status};
use super::transport::Transport;
use crate::driver::mistake::{Mistake, Mistakes};
use crate::hal::mmio::Mmio;
use crate::hal::pci::{Function, capability};

/// A point in the driver's life at which it can slip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before FEATURES_OK; DRIVER is set.
    Agreeing,
    /// After FEATURES_OK.
    Agreed,
    /// A queue's fields are written, and it is selected; it is not enabled.
    Filled,
    /// The queue is enabled.
    Enabled,
    /// Everything is ready for DRIVER_OK.
    Ready,
    /// DRIVER_OK is set.
    Live,
    /// The device is about to be reset.
    Leaving,
    /// The device has been reset.
    Left,
    /// FAILED is set.
    Failed,
}

/// What there is to slip on.
pub struct Scene<'a> {
    /// The device.
    pub transport: Transport,
    /// Its queues; those that were never set up are missing.
    pub queues: &'a [Queue],
}

type Slip = (Mistake, Moment, fn(&Scene<'_>));

/// Each mistake with its moment.
const SLIPS: &[Slip] = &[
    (
        Mistake::QUEUES_BEFORE_FEATURES_OK,
        Moment::Agreeing,
        |scene| {
            scene.transport.select(0);
            scene.transport.set_queue_addresses(0, 0, 0);
        },
    ),
    (Mistake::EARLY_CONFIG_WRITE, Moment::Agreeing, |scene| {
        if let Some(config) = scene.transport.device() {
            config.write(block::WRITEBACK, 1u8);
        }
    }),
    (Mistake::LATE_FEATURES, Moment::Agreed, |scene| {
        scene.transport.accept(scene.transport.offered());
    }),
    (Mistake::ODD_QUEUE_SIZE, Moment::Filled, |scene| {
        let size = scene.transport.queue_size();
        scene.transport.set_queue_size(size - size / 4);
        scene.transport.set_queue_size(size);
    }),
    (Mistake::WIDE_QUEUE_ADDRESS, Moment::Filled, |scene| {
        let low: u32 = scene.transport.common().read(common::QUEUE_DESC);
        if let Some(wide) = scene.transport.common().in_memory() {
            wide.write(common::QUEUE_DESC, u64::from(low));
        }
    }),
    (Mistake::ADDRESS_AFTER_ENABLE, Moment::Enabled, |scene| {
        let low: u32 = scene.transport.common().read(common::QUEUE_DEVICE);
        scene.transport.common().write(common::QUEUE_DEVICE, low);
    }),
    (Mistake::WRITES_READ_ONLY_FIELD, Moment::Ready, |scene| {
        scene.transport.common().write(common::NUM_QUEUES, 1u16);
    }),
    (Mistake::ACCESS_OUTSIDE_STRUCTURES, Moment::Ready, |scene| {
        if let Some(common) = scene.transport.common().in_memory() {
            let behind = Mmio::new(common.address() + common.length() as u64, 4);
            behind.read::<u32>(0);
        }
    }),
    (Mistake::ENABLES_MISSING_QUEUE, Moment::Ready, |scene| {
        scene.transport.select(scene.transport.queues());
        scene.transport.queue_size();
        scene.transport.enable_queue();
    }),
    (Mistake::LATE_ENABLE, Moment::Live, |scene| {
        scene.transport.enable_queue();
    }),
    (Mistake::NOTIFIES_WITH_FOUR_BYTES, Moment::Live, |scene| {
        if let Some(window) = scene.window(0) {
            window.write(0, 0u32);
        }
    }),
    (Mistake::NOTIFIES_WITH_WRONG_VALUE, Moment::Live, |scene| {
        if let Some(window) = scene.window(0) {
            window.write(0, 0x100u16);
        }
    }),
    (Mistake::NOTIFIES_AT_WRONG_PLACE, Moment::Live, |scene| {
        if let Some(window) = scene.window(0) {
            window.write(0, 1u16);
        }
    }),
    (Mistake::NOTIFIES_BEYOND_QUEUES, Moment::Live, |scene| {
        let beyond = scene.transport.queues();
        if let Some(window) = scene.transport.notify_place(beyond) {
            window.write(0, beyond);
        }
    }),
    (Mistake::NOTIFIES_UNUSED_QUEUE, Moment::Live, |scene| {
        let unused = scene.queues.len() as u16;
        if let Some(window) = scene.transport.notify_place(unused) {
            window.write(0, unused);
        }
    }),
    (Mistake::DISABLES_QUEUES, Moment::Leaving, |scene| {
        for queue in scene.queues {
            scene.transport.select(queue.index);
            scene.transport.common().write(common::QUEUE_ENABLE, 0u16);
        }
    }),
    (Mistake::TAKES_BACK_BEFORE_RESET, Moment::Leaving, |scene| {
        scene.queues.iter().for_each(Queue::shorten);
    }),
    (Mistake::CHANGES_HELD_CHAIN, Moment::Leaving, change_held),
    (Mistake::CHANGES_HELD_LIST, Moment::Leaving, change_held),
    (Mistake::NOTIFIES_AFTER_RESET, Moment::Left, |scene| {
        scene.queues.iter().for_each(Queue::notify);
    }),
    (Mistake::RETRIES_WITHOUT_RESET, Moment::Failed, |scene| {
        scene.transport.accept(feature::VERSION_1);
    }),
];

/// Changes what the device holds, and goes on as if nothing were wrong.
fn change_held(scene: &Scene<'_>) {
    for queue in scene.queues {
        queue.shorten();
        queue.notify();
    }
    scene.transport.status();
}

impl Scene<'_> {
    /// Where a queue that was set up is notified.
    fn window(&self, n: usize) -> Option<Registers> {
        self.queues.get(n).and_then(Queue::notify_window)
    }

    /// Makes the mistakes of this moment.
    pub fn slip(&self, mistakes: Mistakes, moment: Moment) {
        for (mistake, when, act) in SLIPS {
            if *when == moment && mistakes.has(*mistake) {
                act(self);
            }
        }
    }
}

/// The status that is written where `status` is right.
pub fn status(mistakes: Mistakes, status: u8) -> u8 {
    if mistakes.has(Mistake::CLEARS_STATUS_BIT) && status & status::DRIVER_OK != 0 {
        status & !status::ACKNOWLEDGE
    } else {
        status
    }
}

/// Where the descriptors and the two rings are said to be, in a device that has been reset so often
/// because something went wrong; `first` is where those of queue 0 are.
pub fn places(mistakes: Mistakes, resets: u32, right: [u64; 3], first: [u64; 3]) -> [u64; 3] {
    let [descriptors, available, used] = right;
    if mistakes.has(Mistake::SHARES_QUEUE_MEMORY) {
        first
    } else if mistakes.has(Mistake::MISALIGNED_RING) && resets == 0 {
        [descriptors, available, used + 2]
    } else if mistakes.has(Mistake::OVERLAPPING_RINGS) {
        [descriptors, available, available]
    } else {
        right
    }
}

/// Writes into a virtio capability of configuration space, what is there already.
pub fn write_capability(function: Function) {
    let mut vendor = function.capabilities().into_iter();
    if let Some((_, at)) = vendor.find(|(id, _)| *id == capability::VENDOR) {
        function.write32(at + cap::OFFSET, function.read32(at + cap::OFFSET));
    }
}

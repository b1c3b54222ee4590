//! The write that resets one queue.

use virtio_bindings::virtio_config::VIRTIO_F_RING_RESET;

use crate::fault::trigger::Occasion;
use crate::trace::Device;

/// The queue that the driver resets by this write; none if the write resets nothing.
pub fn reset_queue(occasion: &Occasion<'_>, world: &Device) -> Option<u16> {
    let Occasion::Access { access, .. } = occasion else {
        return None;
    };
    let queue = access.q.filter(|q| *q < world.shape.queues)?;
    (access.val == Some(1) && world.agreed(VIRTIO_F_RING_RESET)).then_some(queue)
}

/// What such a write touches, in words.
pub fn object(occasion: &Occasion<'_>) -> String {
    match occasion {
        Occasion::Access { access, .. } => access.q.map(|q| format!("q{q}")),
        _ => None,
    }
    .unwrap_or_else(|| "device".to_owned())
}

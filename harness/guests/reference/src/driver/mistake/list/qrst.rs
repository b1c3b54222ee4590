//! Mistakes about the reset of one queue: what breaks VIO-QRST.

use super::{Mistake, list};

list! {
    QUEUE_RESET_NOT_AWAITED = "queue-reset-not-awaited", "VIO-QRST-001",
        "does not wait until the reset of a queue is over";
    QUEUE_RESET_UNNEGOTIATED = "queue-reset-unnegotiated", "VIO-QRST-003",
        "resets a queue without having accepted RING_RESET";
    QUEUE_ENABLED_WITHOUT_SET_UP = "queue-enabled-without-set-up", "VIO-QRST-004",
        "enables a queue after its reset without its size and addresses";
    QUEUE_VECTOR_NOT_RESTORED = "queue-vector-not-restored", "VIO-QRST-004",
        "does not give a queue its vector back after its reset";
    QUEUE_MEMORY_REUSED = "queue-memory-reused", "VIO-QRST-002",
        "writes into a queue's memory before the queue's reset is over";
}

//! Mistakes about the set-up of queues: what breaks VIO-Q.

use super::{Mistake, list};

list! {
    ADDRESS_AFTER_ENABLE = "address-after-enable", "VIO-Q-001",
        "writes a queue's address after enabling the queue";
    MISALIGNED_RING = "misaligned-ring", "VIO-Q-002",
        "puts the used ring at an address that is no multiple of 4";
    OVERLAPPING_RINGS = "overlapping-rings", "VIO-Q-004",
        "puts the used ring where the available ring is";
    NOTIFIES_AT_WRONG_PLACE = "notifies-at-wrong-place", "VIO-Q-005",
        "notifies queue 1 at the place of queue 0";
    NOTIFY_OFF_IGNORED = "notify-off-ignored", "VIO-Q-005",
        "takes queue_notify_off to be the queue's index";
    SHARES_QUEUE_MEMORY = "shares-queue-memory", "VIO-Q-006",
        "gives every queue the memory of queue 0";
}

//! Mistakes about accesses of registers: what breaks VIO-ACC.

use super::{Mistake, list};

list! {
    WIDE_QUEUE_ADDRESS = "wide-queue-address", "VIO-ACC-001",
        "writes a queue's address with 64 bits at once";
    WRITES_READ_ONLY_FIELD = "writes-read-only-field", "VIO-ACC-002",
        "writes num_queues";
    WRITES_CAPABILITY = "writes-capability", "VIO-ACC-003",
        "writes into a virtio capability";
    WINDOW_UNSET = "window-unset", "VIO-ACC-004",
        "reads the data of the configuration access window before it is set";
    DISABLES_QUEUES = "disables-queues", "VIO-ACC-005",
        "takes its queues down by writing 0 to queue_enable";
    ODD_QUEUE_SIZE = "odd-queue-size", "VIO-ACC-006",
        "writes a queue_size that is no power of two";
    ENABLES_MISSING_QUEUE = "enables-missing-queue", "VIO-ACC-007",
        "enables a queue beyond num_queues";
    VENDOR_DATA_UNCHECKED = "vendor-data-unchecked", "VIO-ACC-008",
        "reads vendor data without a look at whose they are";
    ACCESS_OUTSIDE_STRUCTURES = "access-outside-structures", "VIO-ACC-009",
        "reads a BAR where no structure is";
}

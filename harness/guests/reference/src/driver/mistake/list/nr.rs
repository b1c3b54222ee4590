//! Mistakes about devices that need a reset: what breaks VIO-NR.

use super::{Mistake, list};

list! {
    IGNORES_NEEDS_RESET = "ignores-needs-reset", "VIO-NR-001",
        "does not react to NEEDS_RESET";
    RECOVERY_FORGETS_QUEUES = "recovery-forgets-queues", "VIO-NR-003",
        "sets up only the first queue after DEVICE_NEEDS_RESET";
    ABANDONS_NEEDS_RESET = "abandons-needs-reset", "VIO-NR-004",
        "leaves a device that needs a reset during start as it is";
    ONE_RECOVERY = "one-recovery", "VIO-NR-004",
        "gives up when a recovery fails once";
    CLEARS_NEEDS_RESET = "clears-needs-reset", "VIO-NR-005",
        "clears DEVICE_NEEDS_RESET by a status write before the reset";
}

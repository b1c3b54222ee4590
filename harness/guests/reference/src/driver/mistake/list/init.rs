//! Mistakes about the order of initialisation: what breaks VIO-INIT.

use super::{Mistake, list};

list! {
    NO_RESET_AT_START = "no-reset-at-start", "VIO-INIT-001",
        "does not reset the device before setting it up";
    DRIVER_WITHOUT_ACKNOWLEDGE = "driver-without-acknowledge", "VIO-INIT-002",
        "sets DRIVER, and ACKNOWLEDGE never";
    FEATURES_BEFORE_DRIVER = "features-before-driver", "VIO-INIT-003",
        "accepts features before it sets DRIVER";
    QUEUES_BEFORE_FEATURES_OK = "queues-before-features-ok", "VIO-INIT-004",
        "writes a queue's addresses before FEATURES_OK";
    NO_FEATURES_OK_CHECK = "no-features-ok-check", "VIO-INIT-005",
        "does not read the status after setting FEATURES_OK";
    LATE_FEATURES = "late-features", "VIO-INIT-007",
        "accepts features after FEATURES_OK";
    EARLY_CONFIG_WRITE = "early-config-write", "VIO-INIT-008",
        "writes device configuration before FEATURES_OK";
    LATE_ENABLE = "late-enable", "VIO-INIT-009",
        "enables its last queue after DRIVER_OK";
    CLEARS_STATUS_BIT = "clears-status-bit", "VIO-INIT-010",
        "writes DRIVER_OK without ACKNOWLEDGE, which was set";
    RETRIES_WITHOUT_RESET = "retries-without-reset", "VIO-INIT-011",
        "tries other features after FAILED, without a reset";
    FAILS_SILENTLY = "fails-silently", "VIO-INIT-012",
        "does not set FAILED when it can't initialise the device";
}

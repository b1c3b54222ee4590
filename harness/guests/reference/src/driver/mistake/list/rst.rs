//! Mistakes about reset: what breaks VIO-RST.

use super::{Mistake, list};

list! {
    NO_RESET_WAIT = "no-reset-wait", "VIO-RST-001",
        "does not wait for a reset to complete";
    LEAVES_DEVICE_LIVE = "leaves-device-live", "VIO-RST-004",
        "does not reset the device when it lets go of it";
    NO_SET_UP_AFTER_RESET = "no-set-up-after-reset", "VIO-RST-006",
        "does not enable its queues again after a reset";
    TAKES_BACK_BEFORE_RESET = "takes-back-before-reset", "VIO-RST-003",
        "shortens descriptors that the device holds, and then resets the device";
}

//! Mistakes about the suspend of a device: what breaks VIO-SUS.

use super::{Mistake, list};

list! {
    SUSPEND_UNNEGOTIATED = "suspend-unnegotiated", "VIO-SUS-001",
        "sets SUSPEND without having accepted VIRTIO_F_SUSPEND";
    SUSPEND_NOT_AWAITED = "suspend-not-awaited", "VIO-SUS-002",
        "does not read whether the device is suspended";
    RESUME_NOT_AWAITED = "resume-not-awaited", "VIO-SUS-003",
        "does not wait until a device that it resumes runs again";
}

//! Mistakes about notifications of the device: what breaks VIO-NTF.

use super::{Mistake, list};

list! {
    NOTIFY_BEFORE_DRIVER_OK = "notify-before-driver-ok", "VIO-NTF-001",
        "notifies a queue before DRIVER_OK";
    EVENTS_BEFORE_DRIVER_OK = "events-before-driver-ok", "VIO-NTF-001",
        "notifies the event queue of a SCSI host before DRIVER_OK";
    NOTIFIES_WITH_FOUR_BYTES = "notifies-with-four-bytes", "VIO-NTF-002",
        "notifies with 32 bits without NOTIFICATION_DATA";
    NOTIFIES_WITH_WRONG_VALUE = "notifies-with-wrong-value", "VIO-NTF-003",
        "notifies a queue with a value that is not its index";
    NOTIFIES_BEYOND_QUEUES = "notifies-beyond-queues", "VIO-NTF-004",
        "notifies where no queue has its place";
    NOTIFY_MULTIPLIER_IGNORED = "notify-multiplier-ignored", "VIO-NTF-004",
        "takes notify_off_multiplier to be 4";
    FORGETS_NOTIFICATION = "forgets-notification", "VIO-NTF-006",
        "does not notify the device of a queue's fourth request";
    ALWAYS_NOTIFIES = "always-notifies", "VIO-NTF-006b",
        "notifies the device whether that has asked for it or not";
    NOTIFIES_UNUSED_QUEUE = "notifies-unused-queue", "VIO-NTF-007",
        "notifies a queue that it never enabled";
    NOTIFIES_AFTER_REMOVAL = "notifies-after-removal", "VIO-NTF-008",
        "notifies its queues once more after the device was pulled out";
    NOTIFIES_AFTER_RESET = "notifies-after-reset", "VIO-NTF-008",
        "notifies its queues after a reset";
    NOTIFICATION_DATA_AHEAD = "notification-data-ahead", "VIO-NTF-005",
        "tells the device a place behind that of the next buffer";
}

//! Mistakes about packed rings: what breaks VIO-PKD.

use super::{Mistake, list};

list! {
    PACKED_WRITABLE_FIRST = "packed-writable-first", "VIO-PKD-001",
        "puts what the device writes before what it reads, in a packed ring";
    CHANGES_HELD_LIST = "changes-held-list", "VIO-PKD-002",
        "shortens descriptors of a packed ring that the device holds and notifies it again";
    FIRST_DESCRIPTOR_FIRST = "first-descriptor-first", "VIO-PKD-003",
        "makes the first descriptor of a list available, and those behind it not";
    PACKED_INDIRECT_UNNEGOTIATED = "packed-indirect-unnegotiated", "VIO-PKD-004",
        "uses indirect descriptors in a packed ring without INDIRECT_DESC";
    EVENT_FLAGS_RESERVED = "event-flags-reserved", "VIO-PKD-006",
        "sets the reserved value 3 in the flags of its event suppression";
    WRAP_COUNTER_WRONG = "wrap-counter-wrong", "VIO-PKD-007",
        "begins a packed ring with a wrap counter of 0";
}

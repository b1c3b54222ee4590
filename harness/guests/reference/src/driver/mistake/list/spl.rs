//! Mistakes about split rings: what breaks VIO-SPL.

use super::{Mistake, list};

list! {
    CHAIN_LOOPS = "chain-loops", "VIO-SPL-001",
        "lets a chain lead back to its first descriptor";
    TABLE_LONGER_THAN_QUEUE = "table-longer-than-queue", "VIO-SPL-001",
        "uses a table of more descriptors than the queue has elements";
    WRITABLE_FIRST = "writable-first", "VIO-SPL-002",
        "puts what the device writes before what it reads";
    INDIRECT_UNNEGOTIATED = "indirect-unnegotiated", "VIO-SPL-003",
        "uses indirect descriptors without INDIRECT_DESC";
    INDIRECT_NESTED = "indirect-nested", "VIO-SPL-003",
        "puts an indirect descriptor into an indirect table";
    INDIRECT_WITH_NEXT = "indirect-with-next", "VIO-SPL-003",
        "sets INDIRECT and NEXT in one descriptor";
    ODD_TABLE_LENGTH = "odd-table-length", "VIO-SPL-003",
        "makes an indirect table half a descriptor too long";
    AVAILABLE_INDEX_JUMPS = "available-index-jumps", "VIO-SPL-004",
        "moves avail.idx by more than the queue's size";
    NEXT_OUTSIDE_TABLE = "next-outside-table", "VIO-SPL-005",
        "names a descriptor beyond the table";
    AVAILABLE_FLAGS_RESERVED = "available-flags-reserved", "VIO-SPL-007",
        "sets a reserved bit of avail.flags";
    AVAILABLE_FLAGS_WITH_EVENT_IDX = "available-flags-with-event-idx", "VIO-SPL-007",
        "suppresses interrupts by avail.flags although EVENT_IDX was negotiated";
    USED_FLAGS_NOT_ZEROED = "used-flags-not-zeroed", "VIO-SPL-009",
        "enables a queue with used.flags not 0";
    WRITES_USED_RING = "writes-used-ring", "VIO-SPL-009",
        "overwrites the used elements that it has taken";
    USED_EVENT_STUCK = "used-event-stuck", "VIO-SPL-011",
        "does not move used_event on";
    NEXT_OUT_OF_ORDER = "next-out-of-order", "VIO-SPL-012",
        "links descriptors in another order than they lie in, with IN_ORDER";
    BUFFER_OUTSIDE_MEMORY = "buffer-outside-memory", "VIO-SPL-013",
        "gives the device a buffer that is not in memory";
    CHANGES_HELD_CHAIN = "changes-held-chain", "VIO-SPL-006",
        "shortens descriptors that the device holds and notifies it again";
    SPURIOUS_FATAL = "spurious-fatal", "VIO-SPL-008",
        "takes an interrupt of a queue that has nothing used for impossible";
}

//! Mistakes about vectors: what breaks VIO-MSIX.

use super::{Mistake, list};

list! {
    APIC_VECTOR_AS_INDEX = "apic-vector-as-index", "VIO-MSIX-001",
        "writes the APIC vector where the table index belongs";
    NO_READ_BACK = "no-read-back", "VIO-MSIX-002",
        "does not read a vector back after writing it";
    CONFIG_VECTOR_UNCHECKED = "config-vector-unchecked", "VIO-MSIX-002",
        "does not check the config vector it got";
    CONFIG_REFUSAL_IGNORED = "config-refusal-ignored", "VIO-MSIX-003",
        "reads back that it got no config vector, and carries on";
    ACCEPTS_ANY_READ_BACK = "accepts-any-read-back", "VIO-MSIX-004",
        "takes any vector that reads back for the one that it wrote";
    PROGRAM_ONCE = "program-once", "VIO-MSIX-005",
        "does not program the vectors again after a reset";
    CONFIG_VECTOR_ONCE = "config-vector-once", "VIO-MSIX-005",
        "writes the configuration's vector once, and not again after a reset";
    QUEUE_VECTOR_AFTER_ENABLE = "queue-vector-after-enable", "VIO-MSIX-006",
        "writes a queue's vector after enabling the queue";
    VECTORS_WITHOUT_MSIX = "vectors-without-msix", "VIO-MSIX-007",
        "writes the configuration's vector with a line interrupt";
    LEAVES_MESSAGES_MASKED = "leaves-messages-masked", "VIO-MSIX-008",
        "leaves the function's messages masked";
    CONFIG_VECTOR_NOT_MAPPED = "config-vector-not-mapped", "VIO-MSIX-009",
        "gives the configuration no vector";
    CONFIG_ON_LAST_MESSAGE = "config-on-last-message", "VIO-MSIX-010",
        "listens for the configuration on another message than the one it is given";
    CONFIG_UNSERVED_WHEN_SHARED = "config-unserved-when-shared", "VIO-MSIX-010",
        "does not look at the configuration when a shared message comes";
    LAST_QUEUE_UNSERVED_WHEN_SHARED = "last-queue-unserved-when-shared", "VIO-MSIX-010",
        "does not look at the last queue when a shared message comes";
    MESSAGE_ID_AS_BOOLEAN = "message-id-as-boolean", "VIO-MSIX-010",
        "does not claim message 0";
    RELIES_ON_ISR_WITH_MSIX = "relies-on-isr-with-msix", "VIO-MSIX-010",
        "takes a shared message for a change of the configuration only if the ISR status says so";
    NO_SHARED_VECTOR_FALLBACK = "no-shared-vector-fallback", "VIO-MSIX-011",
        "does not fall back to one shared vector";
    ZERO_PAIRS = "zero-pairs", "VIO-MSIX-011",
        "divides its messages by the queues of a pair, and starts with no pair";
}

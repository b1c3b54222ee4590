//! Mistakes about messages on Windows: what breaks WIN-MSI.

use super::{Mistake, list};

list! {
    NO_INTX_FALLBACK = "no-intx-fallback", "WIN-MSI-002",
        "does not fall back to the line";
    LOCK_IN_ISR = "lock-in-isr", "WIN-MSI-002",
        "waits in the handler of its line for a lock that its other code holds";
    WHOLE_TABLE = "asks-for-whole-table", "WIN-MSI-003",
        "asks for more messages than the system allows";
    COUNTS_DESCRIPTORS = "counts-descriptors", "WIN-MSI-005",
        "counts descriptors instead of the messages in them";
    EARLY_MESSAGE_IGNORED = "early-message-ignored", "WIN-MSI-007",
        "ignores what comes between DRIVER_OK and the connection of its interrupts";
    RESET_AFTER_INTERRUPTS_OFF = "reset-after-interrupts-off", "WIN-MSI-008",
        "resets the device when its interrupts are off, and not before";
    KEEPS_MESSAGES = "keeps-messages", "WIN-MSI-009",
        "uses the messages of its first start in every other";
    REJECTS_AFTER_STOP = "rejects-after-stop", "WIN-MSI-009",
        "takes no requests any more when the device was stopped once";
    COUNT_FROM_TRANSLATED = "count-from-translated", "WIN-MSI-010",
        "takes the message count from the translated descriptor";
    ONE_OBJECT_PER_PORT = "one-object-per-port-from-one-descriptor", "WIN-MSI-012",
        "creates an interrupt object for each port from a descriptor of one message";
    MESSAGE_WITHOUT_QUEUE = "message-without-queue", "WIN-MSI-014",
        "takes every message for that of a queue that is there";
    ASSUME_ALL_MESSAGES = "assume-all-messages", "WIN-MSI-015",
        "assumes that all the messages it asked for were granted";
}

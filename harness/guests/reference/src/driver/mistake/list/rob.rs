//! Mistakes about devices that break the rules themselves: what breaks ROB.

use super::{Mistake, list};

list! {
    USED_ID_UNCHECKED = "used-id-unchecked", "ROB-001",
        "takes the id of a used element as it is";
    USED_LEN_TRUSTED = "used-len-trusted", "ROB-002",
        "reads as much of a buffer as the device says it has written";
    IGNORES_INDEX_JUMP = "ignores-index-jump", "ROB-003",
        "waits until a used index that jumped is what it should be";
    QUEUE_SIZE_UNCHECKED = "queue-size-unchecked", "ROB-004",
        "uses a queue as large as the device says, whatever that is";
    UNBOUNDED_CONFIG_RETRY = "unbounded-config-retry", "ROB-005",
        "reads a configuration that keeps changing again for ever";
    RESET_WAIT_UNBOUNDED = "reset-wait-unbounded", "ROB-006",
        "waits for the end of a reset without a limit";
    ISR_ZERO_FATAL = "isr-zero-fatal", "ROB-008",
        "takes an interrupt of the line with an ISR status of 0 for impossible";
    ISR_RESERVED_BITS_FATAL = "isr-reserved-bits-fatal", "ROB-008",
        "takes reserved bits of the ISR status for impossible";
    SPURIOUS_GIVES_UP = "spurious-gives-up", "ROB-013",
        "gives the device up after twenty interrupts that led to nothing";
    ENDLESS_CONTROL_WAIT = "endless-control-wait", "ROB-014",
        "waits for the interrupt of a control command without a limit";
    NO_WATCHDOG = "no-watchdog", "ROB-014",
        "waits for a late request without a limit";
}

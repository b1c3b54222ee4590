//! Mistakes about the ISR status: what breaks VIO-ISR.

use super::{Mistake, list};

list! {
    INTX_ISR_NOT_READ = "intx-isr-not-read", "VIO-ISR-001",
        "does not read the ISR byte in its line interrupt handler";
    ISR_EQUALITY_TEST = "isr-equality-test", "VIO-ISR-002",
        "handles an ISR value of 1, but not 2 and 3";
    CONFIG_UNSERVED_ON_LINE = "config-unserved-on-line", "VIO-ISR-002",
        "looks at queues only when the line is up";
    READS_ISR_WITH_MSIX = "reads-isr-with-msix", "VIO-ISR-003",
        "reads the ISR status for each message";
    CLAIMS_ISR_ZERO = "claims-isr-zero", "VIO-ISR-004",
        "claims an interrupt of the line although the ISR status is 0";
    LINE_NOT_CONNECTED = "line-not-connected", "VIO-ISR-005",
        "connects no interrupt object to its line";
}

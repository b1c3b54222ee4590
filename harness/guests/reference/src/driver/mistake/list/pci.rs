//! Mistakes about PCI configuration space: what breaks VIO-PCI.

use super::{Mistake, list};

list! {
    BUS_MASTER_OFF = "bus-master-off", "VIO-PCI-001",
        "switches bus mastering off";
    ENTRY_UNPROGRAMMED = "entry-unprogrammed", "VIO-PCI-002",
        "wipes the address of a table entry that it uses";
    LINE_FORBIDDEN = "line-forbidden", "VIO-PCI-004",
        "forbids the line that it waits for";
}

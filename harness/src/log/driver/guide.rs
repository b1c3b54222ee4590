//! The lines of the bring-up guide for Windows 7: `INT:` for a resource, `WDFINT:` for an interrupt object.

use super::{Format, after, keyed};
use crate::log::Said;

pub(super) const FORMAT: Format = Format {
    name: "guide",
    about: "drivers that were instrumented after the guide \"Virtio PCI modern interrupt bring-up on Windows 7\"",
    examples: &[
        "INT: MSI/MSI-X Level=4 Vector=64 Affinity=0x1 MessageCount=8 Flags=0x3",
        "INT: INTx Level=17 Vector=177 Affinity=0x1 Flags=0x0",
        "WDFINT: MessageSignaled=1 MessageNumber=2 Vector=147 Irql=9 Affinity=0x1",
    ],
    read,
};

fn read(line: &str) -> Option<Said> {
    if let Some(rest) = after(line, "WDFINT:") {
        Some(Said::Interrupt {
            message: keyed(rest, "MessageSignaled")? != 0,
            number: keyed(rest, "MessageNumber")?,
            vector: keyed(rest, "Vector")?,
        })
    } else if let Some(rest) = after(line, "INT: MSI") {
        Some(Said::Resource {
            messages: Some(keyed(rest, "MessageCount")?),
        })
    } else {
        after(line, "INT: INTx").map(|_| Said::Resource { messages: None })
    }
}

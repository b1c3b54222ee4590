//! Trace lines of a driver that uses WPP, as a trace viewer shows them: columns, and then the message.

use super::{Format, after, between, number};
use crate::log::Said;

pub(super) const FORMAT: Format = Format {
    name: "trace",
    about: "the driver of the OSR thread \"Invalid Interrupt Vector?\", through WPP",
    examples: &[
        r"00000013    driver-windows  4   5420    3   13  11\22\2021-08:07:31:842 Message Interrupt level 0x4, Vector 0x40, MessageCount 0",
        r"00000014    driver-windows  4   5420    3   14  11\22\2021-08:07:31:842 Created interrupt(0): Signaled(Y), Num(0), Vect(0x40)",
        "Legacy Interrupts Not Supported!",
    ],
    read,
};

fn read(line: &str) -> Option<Said> {
    if let Some(rest) = after(line, "Message Interrupt level ") {
        Some(Said::Resource {
            messages: Some(number(rest.rsplit_once("MessageCount ")?.1.trim())?),
        })
    } else if let Some(rest) = after(line, "Created interrupt(") {
        Some(Said::Interrupt {
            message: rest.contains("Signaled(Y)"),
            number: between(rest, "Num(")?,
            vector: between(rest, "Vect(")?,
        })
    } else {
        after(line, "Legacy Interrupts Not Supported!").map(|_| Said::Resource { messages: None })
    }
}

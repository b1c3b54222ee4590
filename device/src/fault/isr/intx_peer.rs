//! `intx.peer`

use super::asserted;
use crate::fault::catalogue::{ALL, Arg, Needs, OURS, Verb};
use crate::trace::Legality;

/// Another device on the same line interrupts.
pub static VERB: Verb = Verb {
    name: "intx.peer",
    summary: "Another device that shares the line asserts it for a time: the ISR status of this one reads 0 unless it has something to tell itself.",
    classes: &[(Legality::Legal, "")],
    sentence: "A line is shared: an interrupt on it may be another device's, and the ISR status tells.",
    section: "4.1.4.5, 4.1.4.5.1",
    args: &[Arg {
        name: "for",
        kind: "time",
        default: Some("1ms"),
        words: "how long the other device asserts it",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "live+5ms"
do = "intx.peer"
args = { for = "1ms" }
"#,
    build: |args, shape| asserted::build("intx.peer", args, shape, 1_000_000, Legality::Legal),
};

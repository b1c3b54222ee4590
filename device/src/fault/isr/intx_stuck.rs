//! `intx.stuck`

use super::asserted;
use crate::fault::catalogue::{ALL, Arg, Needs, OURS, Verb};
use crate::trace::Legality;

/// The line does not fall.
pub static VERB: Verb = Verb {
    name: "intx.stuck",
    summary: "The line is up for a time, whatever the driver reads; the ISR status reads as it is.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A read of the ISR status, or a reset, takes the line down.",
    section: "4.1.4.5, 4.1.4.5.1, 2.4.1",
    args: &[Arg {
        name: "for",
        kind: "time",
        default: Some("100ms"),
        words: "how long it stays up",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "reset.end"
nth = 2
do = "intx.stuck"
args = { for = "20ms" }
"#,
    build: |args, shape| asserted::build("intx.stuck", args, shape, 100_000_000, Legality::Illegal),
};

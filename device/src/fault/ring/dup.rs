//! `used.dup`

use super::{Change, What};
use crate::fault::catalogue::{Arg, BOTH, Needs, VIRTIO, Verb};
use crate::trace::Legality;

/// A completion that comes again.
pub static VERB: Verb = Verb {
    name: "used.dup",
    summary: "A chain becomes used more than once.",
    classes: &[(Legality::Illegal, "")],
    sentence: "Each chain that was made available becomes used once.",
    section: "2.7.8",
    args: &[Arg {
        name: "n",
        kind: "number from 1 to 64",
        default: Some("1"),
        words: "how many more of them there are",
    }],
    needs: Needs::Completion,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "complete[q0]"
nth = 3
do = "used.dup"
"#,
    build: |args, _| {
        let more = args.integer("n", 1..=64)?.unwrap_or(1);
        Ok(Box::new(Change(What::Times(more + 1))))
    },
};

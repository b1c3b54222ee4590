//! `used.len`

use super::{Change, What};
use crate::fault::catalogue::{Arg, BOTH, Needs, VIRTIO, Verb};
use crate::trace::Legality;

/// A completion that claims more, or less.
pub static VERB: Verb = Verb {
    name: "used.len",
    summary: "The used element reports another length than what was written.",
    classes: &[(Legality::Illegal, "")],
    sentence: "The length of a used element is at most the bytes that were written into the chain.",
    section: "2.7.8.2",
    args: &[Arg {
        name: "val",
        kind: "number, or expression",
        default: None,
        words: "the length to report; in an expression `len` is the true one",
    }],
    needs: Needs::Completion,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "complete[q0]"
nth = 3
do = "used.len"
args = { val = "len + 4096" }
"#,
    build: |args, _| {
        let val = args.number("val")?.ok_or_else(|| args.missing("val"))?;
        Ok(Box::new(Change(What::Len(val))))
    },
};

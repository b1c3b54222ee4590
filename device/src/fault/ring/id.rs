//! `used.id`

use super::{Change, What};
use crate::fault::catalogue::{Arg, BOTH, Needs, VIRTIO, Verb};
use crate::trace::Legality;

/// A completion of something else.
pub static VERB: Verb = Verb {
    name: "used.id",
    summary: "The used element names another chain than the one that was finished.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A used element names the head of a descriptor chain that the driver made available.",
    section: "2.7.8",
    args: &[Arg {
        name: "val",
        kind: "number, or expression",
        default: None,
        words: "what the element names; in an expression `queue_size` is the size of the queue",
    }],
    needs: Needs::Completion,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "complete[q0]"
nth = 3
do = "used.id"
args = { val = "queue_size + 5" }
"#,
    build: |args, _| {
        let val = args.number("val")?.ok_or_else(|| args.missing("val"))?;
        Ok(Box::new(Change(What::Id(val))))
    },
};

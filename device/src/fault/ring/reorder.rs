//! `used.reorder`

use super::{Change, What};
use crate::fault::catalogue::{BOTH, Needs, VIRTIO, Verb};
use crate::trace::Legality;

/// Two completions change places.
pub static VERB: Verb = Verb {
    name: "used.reorder",
    summary: "A finished chain becomes used after the next one of its queue.",
    classes: &[
        (Legality::Legal, "without IN_ORDER"),
        (Legality::Illegal, "with IN_ORDER"),
    ],
    sentence: "Chains become used in any order, unless IN_ORDER was negotiated.",
    section: "2.7.9",
    args: &[],
    needs: Needs::Completion,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "complete[q0]"
nth = "*/2"
do = "used.reorder"
"#,
    build: |_, _| Ok(Box::new(Change(What::Later))),
};

//! `used.jump`

use super::{Change, What};
use crate::fault::catalogue::{Arg, BOTH, Needs, VIRTIO, Verb};
use crate::trace::{Legality, RingWrite};

/// An index that runs away.
pub static VERB: Verb = Verb {
    name: "used.jump",
    summary: "After an element the used index moves on by elements that were never written; in a packed ring the place of used descriptors.",
    classes: &[(Legality::Illegal, "")],
    sentence: "The used index counts the elements that the device has written.",
    section: "2.7.8, 2.8.6",
    args: &[Arg {
        name: "by",
        kind: "number from 1 to 65535",
        default: None,
        words: "the elements that are skipped",
    }],
    needs: Needs::Completion,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "complete[q0]"
nth = 3
do = "used.jump"
args = { by = 300 }
"#,
    build: |args, _| {
        let by = args
            .integer("by", 1..=65535)?
            .ok_or_else(|| args.missing("by"))?;
        Ok(Box::new(Change(What::Write(RingWrite::Jump(by as u16)))))
    },
};

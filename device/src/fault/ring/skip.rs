//! `used.skip`

use super::{Change, What};
use crate::fault::catalogue::{BOTH, Needs, VIRTIO, Verb};
use crate::trace::Legality;

/// A completion that is never told.
pub static VERB: Verb = Verb {
    name: "used.skip",
    summary: "A finished chain never becomes used.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A device that has finished a chain puts it into the used ring.",
    section: "2.7.8, 2.7.13",
    args: &[],
    needs: Needs::Completion,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "complete[q0]"
nth = 3
do = "used.skip"
"#,
    build: |_, _| Ok(Box::new(Change(What::Times(0)))),
};

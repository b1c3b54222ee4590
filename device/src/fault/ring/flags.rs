//! `used.flags`

use super::{Change, What};
use crate::fault::catalogue::{Arg, BOTH, Needs, VIRTIO, Verb};
use crate::trace::{Legality, RingWrite};

/// Flags that ask for silence.
pub static VERB: Verb = Verb {
    name: "used.flags",
    summary: "The flags of the used ring (packed: of the device's event suppression) take a value, and keep it until the queue starts anew.",
    classes: &[(Legality::Illegal, "")],
    sentence: "The flags say whether the device wants to be notified; with EVENT_IDX they are 0, and other bits are never set.",
    section: "2.7.10.2, 2.8.10",
    args: &[Arg {
        name: "val",
        kind: "number from 0 to 65535",
        default: Some("1"),
        words: "the flags; 1 asks the driver not to notify",
    }],
    needs: Needs::Completion,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "complete[q0]"
nth = 3
do = "used.flags"
args = { val = 1 }
"#,
    build: |args, _| {
        let val = args.integer("val", 0..=65535)?.unwrap_or(1);
        Ok(Box::new(Change(What::Write(RingWrite::Flags(val as u16)))))
    },
};

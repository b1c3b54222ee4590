//! `avail_event.lie`

use super::{Change, What};
use crate::fault::catalogue::{Arg, BOTH, Needs, VIRTIO, Verb};
use crate::trace::{Legality, RingWrite};

/// A device that does not ask to be notified.
pub static VERB: Verb = Verb {
    name: "avail_event.lie",
    summary: "The index at which the device asks to be notified takes a value, and keeps it until the queue starts anew: the driver notifies no more.",
    classes: &[(Legality::Grey, "")],
    sentence: "With EVENT_IDX the driver notifies when the available index passes avail_event; a device need not ask.",
    section: "2.7.10.2, 2.8.10",
    args: &[Arg {
        name: "val",
        kind: "number from 0 to 65535",
        default: Some("32768"),
        words: "the index at whose chain the device asks to be notified; packed: offset and, in bit 15, wrap counter",
    }],
    needs: Needs::Completion,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "complete[q0]"
nth = 3
do = "avail_event.lie"
"#,
    build: |args, _| {
        let val = args.integer("val", 0..=65535)?.unwrap_or(0x8000);
        Ok(Box::new(Change(What::Write(RingWrite::AvailEvent(
            val as u16,
        )))))
    },
};

//! `unplug.orderly`

use super::Happening;
use crate::fault::catalogue::{ALL, BOTH, Needs, Verb};
use crate::trace::Legality;

/// The operating system is asked to let the function go.
pub static VERB: Verb = Verb {
    name: "unplug.orderly",
    summary: "The slot's attention button is pressed: the guest is asked to stop the function and to switch its slot off.",
    classes: &[(Legality::Legal, "")],
    sentence: "A user asks for a removal with the attention button, and the slot is switched off by software.",
    section: "PCI Express 3.0, 6.7.1",
    args: &[],
    needs: Needs::Anything,
    attachments: BOTH,
    kinds: ALL,
    example: r#"
on = "complete[q0]"
nth = 20
do = "unplug.orderly"
"#,
    build: |_, _| {
        Ok(Box::new(Happening {
            class: Legality::Legal,
            input: None,
        }))
    },
};

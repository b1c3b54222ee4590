//! `replug`

use super::Happening;
use crate::fault::catalogue::{ALL, BOTH, Needs, Verb};
use crate::trace::Legality;

/// The function is put into its slot again.
pub static VERB: Verb = Verb {
    name: "replug",
    summary: "As soon as the slot is empty the function is put into it again, as after power-on.",
    classes: &[(Legality::Legal, "")],
    sentence: "A function that is added while the system runs is as after power-on.",
    section: "PCI Express 3.0, 6.7",
    args: &[],
    needs: Needs::Anything,
    attachments: BOTH,
    kinds: ALL,
    example: r#"
on = "host:back"
do = "replug"
"#,
    build: |_, _| {
        Ok(Box::new(Happening {
            class: Legality::Legal,
            input: None,
        }))
    },
};

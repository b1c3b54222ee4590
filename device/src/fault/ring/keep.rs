//! `ring.keep`

use crate::fault::act::Act;
use crate::fault::bench::Bench;
use crate::fault::catalogue::{Needs, OURS, VIRTIO, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Legality};

/// Indices that outlive a reset.
pub static VERB: Verb = Verb {
    name: "ring.keep",
    summary: "The used index goes on after a reset where it was before; in a packed ring used descriptors begin as many places on.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A reset takes a device back to its initial state; the indices of its queues begin at 0.",
    section: "2.4, 2.7.8, 2.8.1",
    args: &[],
    needs: Needs::Reset,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "reset.begin"
nth = 2
do = "ring.keep"
"#,
    build: |_, _| Ok(Box::new(Keep)),
};

#[derive(Clone, Debug)]
struct Keep;

impl Act for Keep {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "device".to_owned()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let rings = &mut bench.state.rings;
        rings.kept = std::mem::take(&mut rings.before);
    }
}

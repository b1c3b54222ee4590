//! `isr.msix`

use crate::fault::act::{Act, Firing};
use crate::fault::bench::Scene;
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::predicate::Facts;
use crate::fault::trigger::Occasion;
use crate::trace::{Access, Device, Legality, Mode};

/// The ISR status tells nothing while MSI-X is on.
pub static VERB: Verb = Verb {
    name: "isr.msix",
    summary: "While MSI-X is enabled the ISR status reads 0, whatever happened.",
    classes: &[(Legality::Grey, "")],
    sentence: "A driver that uses MSI-X does not read the ISR status to learn of an event; whether the device sets it then, the text does not say with one voice.",
    section: "4.1.4.5.1, 4.1.4.5.2, 4.1.5.4.1",
    args: &[Arg {
        name: "val",
        kind: "\"zero\"",
        default: Some("zero"),
        words: "what it reads",
    }],
    needs: Needs::IsrRead,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "isr.rd"
do = "isr.msix"
args = { val = "zero" }
until = "forever"
"#,
    build: |args, shape| {
        if args.word("val")?.is_some_and(|val| val != "zero") {
            return Err(args.error("val", "expected \"zero\", which is all there is"));
        }
        if shape.table_size() == 0 {
            return Err(args.error("val", "`isr.msix` is impossible on a device without MSI-X"));
        }
        Ok(Box::new(Msix))
    },
};

#[derive(Clone, Debug)]
struct Msix;

impl Act for Msix {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Grey
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "isr".to_owned()
    }

    fn applies(&self, _occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        scene.world.mode() == Mode::Msix
    }

    fn show(&mut self, _access: &Access, value: &mut u64, firing: Firing, _facts: &Facts<'_>) {
        if firing.now {
            *value = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::Field;
    use crate::trace::Input;

    #[test]
    fn the_isr_status_is_silent_while_msix_is_on() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.bring_up();
        rig.input(Input::Config {
            offset: 0,
            bytes: vec![1],
        });
        let outcome = rig.read_outcome(Field::Isr);
        assert_eq!(outcome.fired.len(), 1);
        assert_eq!(rig.shown_value(&outcome), Some(0));
        assert!(outcome.meant.is_some());
    }

    #[test]
    fn on_the_line_it_tells() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.bring_up_intx();
        rig.input(Input::Used { queue: 0 });
        assert_eq!(rig.read(Field::Isr), 1);
    }
}

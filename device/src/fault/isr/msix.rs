//! `isr.msix`

use crate::fault::act::{Act, Firing};
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::predicate::Facts;
use crate::fault::trigger::Occasion;
use crate::spec::Field;
use crate::trace::{Access, Device, Legality, Mode, Op};

/// The ISR status tells nothing while MSI-X is on.
pub static VERB: Verb = Verb {
    name: "isr.msix",
    summary: "While MSI-X is enabled the ISR status reads 0, whatever happened: at a read that is the trigger, or from any other trigger on until the next reset, or as `until` says.",
    classes: &[(Legality::Grey, "")],
    sentence: "A driver that uses MSI-X does not read the ISR status to learn of an event; whether the device sets it then, the text does not say with one voice.",
    section: "4.1.4.5.1, 4.1.4.5.2, 4.1.5.4.1",
    args: &[Arg {
        name: "val",
        kind: "\"zero\"",
        default: Some("zero"),
        words: "what it reads",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "live"
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
        Ok(Box::new(Msix { silent: false }))
    },
};

#[derive(Clone, Debug)]
struct Msix {
    /// Something else than a read made it silent.
    silent: bool,
}

impl Act for Msix {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Grey
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "isr".to_owned()
    }

    fn applies(&self, occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        !is_read(occasion) || scene.world.mode() == Mode::Msix
    }

    fn fire(&mut self, occasion: &Occasion<'_>, _bench: &mut Bench<'_>) {
        self.silent |= !is_read(occasion);
    }

    fn show(&mut self, access: &Access, value: &mut u64, firing: Firing, facts: &Facts<'_>) {
        let silent = firing.now || (self.silent && firing.goes_on);
        if silent && access.register() == Some(Field::Isr) && facts.device.mode() == Mode::Msix {
            *value = 0;
        }
    }

    fn reset(&mut self) {
        self.silent = false;
    }
}

/// The driver is about to read the ISR status.
fn is_read(occasion: &Occasion<'_>) -> bool {
    matches!(
        occasion,
        Occasion::Access { access, after: false, .. }
            if access.op == Op::Read && access.register() == Some(Field::Isr)
    )
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::Field;
    use crate::trace::Input;

    const READ: &str = "on = 'isr.rd'\nuntil = 'forever'\ndo = 'isr.msix'";

    fn change() -> Input {
        Input::Config {
            offset: 0,
            bytes: vec![1],
        }
    }

    #[test]
    fn a_read_is_silent_while_msix_is_on() {
        let mut rig = Rig::block(&[READ]);
        rig.bring_up();
        rig.input(change());
        let outcome = rig.read_outcome(Field::Isr);
        assert_eq!(outcome.fired.len(), 1);
        assert_eq!(rig.shown_value(&outcome), Some(0));
        assert!(outcome.meant.is_some());
    }

    #[test]
    fn from_any_other_trigger_on_it_stays_silent() {
        let mut rig = Rig::block(&["on = 'live'\ndo = 'isr.msix'"]);
        rig.bring_up();
        for _ in 0..2 {
            rig.input(change());
            let outcome = rig.read_outcome(Field::Isr);
            assert_eq!(
                (outcome.fired.len(), rig.shown_value(&outcome)),
                (0, Some(0))
            );
        }
        rig.write(Field::MsixControl, 0);
        rig.input(change());
        assert_eq!(rig.read(Field::Isr), 2);
    }

    #[test]
    fn on_the_line_it_tells() {
        let mut rig = Rig::block(&[READ, super::VERB.example]);
        rig.bring_up_intx();
        rig.input(Input::Used { queue: 0 });
        assert_eq!(rig.read(Field::Isr), 1);
    }
}

//! `intx.drop`

use crate::fault::act::{Act, Due, Firing};
use crate::fault::bench::{Bench, Fate, Scene};
use crate::fault::catalogue::{ALL, Needs, OURS, Verb};
use crate::fault::predicate::Facts;
use crate::fault::trigger::{Carrier, Occasion};
use crate::spec::{Field, PortCard};
use crate::trace::{Access, Device, Legality, Op};

/// The line does not rise.
pub static VERB: Verb = Verb {
    name: "intx.drop",
    summary: "The line does not rise although the ISR status is set; further events don't raise it either, until the driver reads the ISR status of its own accord, or resets.",
    classes: &[(Legality::Illegal, "")],
    sentence: "Without MSI-X the line is asserted as long as the ISR status is not 0.",
    section: "4.1.4.5.1, 4.1.5.4.1",
    args: &[],
    needs: Needs::Interrupt,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "irq.due[q0]"
where = "mode == INTX"
nth = 3
do = "intx.drop"
"#,
    build: |args, shape| {
        if !shape.pin {
            return Err(args.error("", "`intx.drop` is impossible on a device without a pin"));
        }
        Ok(Box::new(Drop { down: false }))
    },
};

#[derive(Clone, Debug)]
struct Drop {
    down: bool,
}

impl Act for Drop {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "isr".to_owned()
    }

    fn applies(&self, occasion: &Occasion<'_>, _scene: &Scene<'_>) -> bool {
        super::carrier(occasion) == Some(Carrier::Line { up: false })
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, _bench: &mut Bench<'_>) {
        self.down = true;
    }

    fn due(&mut self, due: Due, fate: &mut Fate, _firing: Firing, _scene: &Scene<'_>) {
        fate.drop |= self.down && due.carrier == Carrier::Line { up: false };
    }

    fn show(&mut self, access: &Access, _value: &mut u64, _firing: Firing, _facts: &Facts<'_>) {
        let served = matches!(
            access.register(),
            Some(Field::Isr | Field::Port(PortCard::IntStatus))
        );
        self.down &= !(access.op == Op::Read && served);
    }

    fn reset(&mut self) {
        self.down = false;
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::Field;
    use crate::trace::{Effect, Input};

    const USED: Input = Input::Used { queue: 0 };

    #[test]
    fn the_line_stays_down_until_the_isr_status_is_read() {
        let mut rig = Rig::block(&["on = 'irq.due[q0]'\ndo = 'intx.drop'"]);
        rig.bring_up_intx();
        assert!(rig.input(USED).shown.is_empty());
        assert!(rig.input(USED).shown.is_empty());
        assert_eq!(rig.read(Field::Isr), 1);
        assert_eq!(rig.input(USED).shown.as_slice(), [Effect::Pin(true)]);
    }

    #[test]
    fn messages_come_as_ever() {
        let mut rig = Rig::block(&["on = 'irq.due[q0]'\nnth = '1..'\ndo = 'intx.drop'"]);
        rig.bring_up();
        assert!(matches!(
            rig.input(USED).shown.as_slice(),
            [Effect::Message(_)]
        ));
    }
}

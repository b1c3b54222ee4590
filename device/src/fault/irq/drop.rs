//! `irq.drop`

use super::{carrier, object};
use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{ALL, BOTH, Needs, Verb};
use crate::fault::trigger::{Carrier, Occasion};
use crate::trace::{Device, Legality};

/// An interrupt is lost.
pub static VERB: Verb = Verb {
    name: "irq.drop",
    summary: "An interrupt that is due does not come; on the line, the line stays down until the next one is due.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A device that has used buffers sends the notification, unless the driver suppressed it.",
    section: "2.7.7.2, 4.1.5.3, 4.1.5.4",
    args: &[],
    needs: Needs::Interrupt,
    attachments: BOTH,
    kinds: ALL,
    example: r#"
on = "irq.due[q1]"
where = "inflight == 0"
nth = 20
do = "irq.drop"
"#,
    build: |_, _| Ok(Box::new(Drop)),
};

#[derive(Clone, Debug)]
struct Drop;

impl Act for Drop {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        object(occasion)
    }

    fn applies(&self, occasion: &Occasion<'_>, _scene: &Scene<'_>) -> bool {
        carrier(occasion) != Some(Carrier::Line { up: true })
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        if let Some(fate) = &mut bench.fate {
            fate.drop = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::Field;
    use crate::trace::{Effect, Input};

    #[test]
    fn one_message_is_lost_and_the_next_comes() {
        let mut rig = Rig::block(&["on = 'irq.due[q1]'\ndo = 'irq.drop'"]);
        rig.bring_up();
        assert_eq!(rig.input(Input::Used { queue: 0 }).shown.len(), 1);
        let outcome = rig.input(Input::Used { queue: 1 });
        assert_eq!(outcome.fired[0].object, "q1");
        assert!(outcome.shown.is_empty());
        assert_eq!(outcome.meant.unwrap().len(), 1);
        assert_eq!(rig.input(Input::Used { queue: 1 }).shown.len(), 1);
    }

    #[test]
    fn a_lost_assertion_of_the_line_is_made_good_by_the_next_interrupt() {
        let mut rig = Rig::block(&["on = 'irq.due[q0]'\ndo = 'irq.drop'"]);
        rig.bring_up_intx();
        assert!(rig.input(Input::Used { queue: 0 }).shown.is_empty());
        assert!(!rig.injector.world().pin);
        assert_eq!(
            rig.input(Input::Used { queue: 0 }).shown.as_slice(),
            [Effect::Pin(true)]
        );
        assert_eq!(rig.read(Field::Isr), 1);
        assert!(!rig.injector.world().pin);
    }

    #[test]
    fn a_driver_that_polls_ends_the_loss() {
        let mut rig = Rig::block(&["on = 'irq.due[q0]'\ndo = 'irq.drop'"]);
        rig.bring_up_intx();
        rig.input(Input::Used { queue: 0 });
        let outcome = rig.read_outcome(Field::Isr);
        assert_eq!(outcome.shown.as_slice(), [Effect::Value(1)]);
        assert_eq!(
            rig.input(Input::Used { queue: 0 }).shown.as_slice(),
            [Effect::Pin(true)]
        );
    }

    #[test]
    fn a_reset_leaves_a_line_that_was_held_down_where_it_is() {
        let mut rig = Rig::block(&["on = 'irq.due[q0]'\ndo = 'irq.drop'"]);
        rig.bring_up_intx();
        rig.input(Input::Used { queue: 0 });
        let pins = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Pin(_)));
        assert!(!pins(&rig.input(Input::FunctionReset).shown));
    }

    #[test]
    fn behind_qemu_the_call_is_lost() {
        let mut rig = Rig::block_with(
            "attach = 'vhost-user'\nqueues = 2",
            &["on = 'irq.due[any]'\ndo = 'irq.drop'"],
        );
        assert!(rig.input(Input::Used { queue: 1 }).shown.is_empty());
        assert_eq!(
            rig.input(Input::Used { queue: 1 }).shown.as_slice(),
            [Effect::Call { queue: 1 }]
        );
    }
}

//! `irq.dup`

use super::{GAP, carrier, gap, object};
use crate::endpoint::Nanos;
use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{ALL, Arg, BOTH, Needs, Verb};
use crate::fault::trigger::{Carrier, Occasion};
use crate::trace::{Device, Legality};

/// The most copies of one interrupt.
const MAX_COPIES: u64 = 64;

/// An interrupt comes more than once.
pub static VERB: Verb = Verb {
    name: "irq.dup",
    summary: "A message comes more than once. It does nothing to the line, which is a level.",
    classes: &[(Legality::Legal, "")],
    sentence: "A driver copes with a notification for which there is nothing to do.",
    section: "2.7.7.1",
    args: &[
        Arg {
            name: "n",
            kind: "number, 1 to 64",
            default: Some("1"),
            words: "how many more",
        },
        GAP,
    ],
    needs: Needs::Interrupt,
    attachments: BOTH,
    kinds: ALL,
    example: r#"
on = "irq.due[q0]"
nth = "1.."
do = "irq.dup"
args = { n = 2 }
"#,
    build: |args, _| {
        let more = args.integer("n", 1..=MAX_COPIES)?.unwrap_or(1);
        let gap = gap(args)?;
        Ok(Box::new(Dup { more, gap }))
    },
};

#[derive(Clone, Debug)]
struct Dup {
    more: u64,
    gap: Nanos,
}

impl Act for Dup {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Legal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        object(occasion)
    }

    fn applies(&self, occasion: &Occasion<'_>, _scene: &Scene<'_>) -> bool {
        !matches!(carrier(occasion), Some(Carrier::Line { .. }))
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        if let Some(fate) = &mut bench.fate {
            fate.copies = fate.copies.saturating_add(self.more).min(MAX_COPIES + 1);
            fate.gap = fate.gap.max(self.gap);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig};
    use crate::trace::{Cause, Effect, Input};

    #[test]
    fn a_message_comes_three_times() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.bring_up();
        let outcome = rig.input(Input::Used { queue: 0 });
        assert_eq!(outcome.shown.len(), 1);
        for _ in 0..2 {
            assert_eq!(rig.injector.deadline(), Some(rig.now + MS));
            let outcome = rig.at(rig.now + MS, Input::Time);
            assert!(
                matches!(outcome.shown.as_slice(), [Effect::Message(m)] if m.cause == Cause::Queue(0))
            );
            assert_eq!(outcome.meant.unwrap().len(), 0);
        }
        assert_eq!(rig.injector.deadline(), None);
    }

    #[test]
    fn without_a_gap_the_copies_come_together() {
        let mut rig =
            Rig::block(&["on = 'irq.due[q0]'\ndo = 'irq.dup'\nargs = { n = 2, gap = '0s' }"]);
        rig.bring_up();
        let outcome = rig.input(Input::Used { queue: 0 });
        assert_eq!(outcome.shown.len(), 3);
        assert_eq!(outcome.meant.unwrap().len(), 1);
    }

    #[test]
    fn copies_keep_their_distance_when_time_is_noticed_late() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.bring_up();
        rig.input(Input::Used { queue: 0 });
        let outcome = rig.at(rig.now + 10 * MS, Input::Time);
        assert_eq!(outcome.shown.len(), 1);
        assert_eq!(rig.injector.deadline(), Some(rig.now + MS));
    }

    #[test]
    fn a_level_is_not_doubled() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.bring_up_intx();
        let outcome = rig.input(Input::Used { queue: 0 });
        assert!(outcome.fired.is_empty());
        assert_eq!(outcome.shown.len(), 1);
    }

    #[test]
    fn the_number_of_copies_has_an_end() {
        let error = Rig::refused("on = 'irq.due[q0]'\ndo = 'irq.dup'\nargs = { n = 65 }");
        assert_eq!(error.message, "n = 65: expected a number from 1 to 64");
    }
}

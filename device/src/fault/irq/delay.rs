//! `irq.delay`

use super::{carrier, object};
use crate::endpoint::Nanos;
use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{ALL, Arg, BOTH, Needs, Verb};
use crate::fault::trigger::{Carrier, Occasion};
use crate::trace::{Device, Legality};

/// An interrupt comes late.
pub static VERB: Verb = Verb {
    name: "irq.delay",
    summary: "An interrupt comes later than it is due. A reset forgets it; a line that the driver has served in between is not raised.",
    classes: &[(Legality::Legal, "")],
    sentence: "A device sends a notification when buffers are used; no text says how soon.",
    section: "2.3, 4.1.5.3",
    args: &[
        Arg {
            name: "t",
            kind: "time",
            default: None,
            words: "how much later",
        },
        Arg {
            name: "rand",
            kind: "time",
            default: Some("0s"),
            words: "up to this much is added, from the seed",
        },
    ],
    needs: Needs::Interrupt,
    attachments: BOTH,
    kinds: ALL,
    example: r#"
on = "irq.due[any]"
nth = "*/10"
do = "irq.delay"
args = { t = "5ms", rand = "20ms" }
"#,
    build: |args, _| {
        let time = args.time("t")?.ok_or_else(|| args.missing("t"))?;
        let rand = args.time("rand")?.unwrap_or(0);
        Ok(Box::new(Delay { time, rand }))
    },
};

#[derive(Clone, Debug)]
struct Delay {
    time: Nanos,
    rand: Nanos,
}

impl Act for Delay {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Legal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        object(occasion)
    }

    fn applies(&self, occasion: &Occasion<'_>, _scene: &Scene<'_>) -> bool {
        carrier(occasion) != Some(Carrier::Line { up: true })
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let extra = bench.rng.u64(0..=self.rand);
        if let Some(fate) = &mut bench.fate {
            let delay = self.time.saturating_add(extra);
            fate.delay = Some(fate.delay.unwrap_or(0).saturating_add(delay));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig, cc};
    use crate::spec::{CommonCfg, Field};
    use crate::trace::{Effect, Input};

    const LATE: &str = "on = 'irq.due[q0]'\ndo = 'irq.delay'\nargs = { t = '5ms' }";

    #[test]
    fn a_message_comes_when_its_time_has_come() {
        let mut rig = Rig::block(&[LATE]);
        rig.bring_up();
        let outcome = rig.input(Input::Used { queue: 0 });
        assert!(outcome.shown.is_empty());
        assert_eq!(rig.injector.deadline(), Some(rig.now + 5 * MS));
        assert!(rig.at(rig.now + 4 * MS, Input::Time).shown.is_empty());
        let outcome = rig.at(rig.now + MS, Input::Time);
        assert!(matches!(outcome.shown.as_slice(), [Effect::Message(_)]));
        assert_eq!(outcome.meant.unwrap().len(), 0);
        assert_eq!(rig.injector.deadline(), None);
    }

    #[test]
    fn a_reset_forgets_what_was_late() {
        let mut rig = Rig::block(&[LATE]);
        rig.bring_up();
        rig.input(Input::Used { queue: 0 });
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(rig.injector.deadline(), None);
        assert!(rig.at(rig.now + 10 * MS, Input::Time).shown.is_empty());
    }

    #[test]
    fn the_line_rises_late_unless_it_was_served_in_between() {
        let mut rig = Rig::block(&[
            "on = 'irq.due[q0]'\nnth = '1..'\ndo = 'irq.delay'\nargs = { t = '5ms' }",
        ]);
        rig.bring_up_intx();
        assert!(rig.input(Input::Used { queue: 0 }).shown.is_empty());
        let outcome = rig.at(rig.now + 5 * MS, Input::Time);
        assert_eq!(outcome.shown.as_slice(), [Effect::Pin(true)]);
        assert_eq!(rig.read(Field::Isr), 1);
        rig.input(Input::Used { queue: 0 });
        assert_eq!(rig.read(Field::Isr), 1);
        assert_eq!(rig.injector.deadline(), None);
        assert!(rig.at(rig.now + 10 * MS, Input::Time).shown.is_empty());
    }

    #[test]
    fn a_random_part_is_the_same_for_the_same_seed() {
        let deadline = || {
            let mut rig = Rig::block(&[
                "on = 'irq.due[any]'\ndo = 'irq.delay'\nargs = { t = '5ms', rand = '20ms' }",
            ]);
            rig.bring_up();
            rig.input(Input::Used { queue: 0 });
            rig.injector.deadline().unwrap() - rig.now
        };
        assert_eq!(deadline(), deadline());
        assert!((5 * MS..=25 * MS).contains(&deadline()));
    }
}

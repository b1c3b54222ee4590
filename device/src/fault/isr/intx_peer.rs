//! `intx.peer`

use crate::endpoint::Nanos;
use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene, State};
use crate::fault::catalogue::{ALL, Arg, Needs, OURS, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Legality};

/// Another device on the same line interrupts.
pub static VERB: Verb = Verb {
    name: "intx.peer",
    summary: "Another device that shares the line asserts it for a time: the ISR status of this one reads 0 unless it has something to tell itself.",
    classes: &[(Legality::Legal, "")],
    sentence: "A line is shared: an interrupt on it may be another device's, and the ISR status tells.",
    section: "4.1.4.5, 4.1.4.5.1",
    args: &[Arg {
        name: "for",
        kind: "time",
        default: Some("1ms"),
        words: "how long the other device asserts it",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "live+5ms"
do = "intx.peer"
args = { for = "1ms" }
"#,
    build: |args, shape| {
        if !shape.pin {
            return Err(args.error("for", "`intx.peer` is impossible on a device without a pin"));
        }
        let time = args.time("for")?.unwrap_or(1_000_000);
        Ok(Box::new(Asserted { time }))
    },
};

#[derive(Clone, Debug)]
struct Asserted {
    time: Nanos,
}

impl Act for Asserted {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Legal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "isr".to_owned()
    }

    fn applies(&self, _occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        State::may_assert(scene.world)
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let until = bench.now.saturating_add(self.time);
        let line = &mut bench.state.line;
        line.up_until = line.up_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig};
    use crate::spec::Field;
    use crate::trace::{Effect, Input};

    #[test]
    fn the_line_is_up_for_its_time_and_nothing_takes_it_down() {
        let mut rig = Rig::block(&["on = 'host:now'\ndo = 'intx.peer'\nargs = { for = '2ms' }"]);
        rig.bring_up_intx();
        assert_eq!(rig.host("now").shown.as_slice(), [Effect::Pin(true)]);
        assert_eq!(
            rig.read_outcome(Field::Isr).shown.as_slice(),
            [Effect::Value(0)]
        );
        let over = rig.now + 2 * MS;
        assert_eq!(rig.injector.deadline(), Some(over));
        let outcome = rig.at(over, Input::Time);
        assert_eq!(outcome.shown.as_slice(), [Effect::Pin(false)]);
    }

    #[test]
    fn with_msix_there_is_no_line() {
        let mut rig = Rig::block(&["on = 'host:now'\ndo = 'intx.peer'"]);
        rig.bring_up();
        assert!(rig.host("now").fired.is_empty());
    }
}

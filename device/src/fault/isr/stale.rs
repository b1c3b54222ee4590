//! `isr.stale`

use crate::fault::act::{Act, Firing};
use crate::fault::bench::{Bench, State};
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::predicate::Facts;
use crate::fault::trigger::Occasion;
use crate::spec::Field;
use crate::trace::{Access, Device, Legality, Op};

/// The ISR status is not 0 although nothing happened.
pub static VERB: Verb = Verb {
    name: "isr.stale",
    summary: "The ISR status has bits of an event that is long over, and the line is up if it may be, until the driver reads the ISR status once or resets.",
    classes: &[(Legality::Grey, "")],
    sentence: "A bit of the ISR status tells of an event since the last read; a read clears it and lowers the line.",
    section: "4.1.4.5, 4.1.4.5.1",
    args: &[Arg {
        name: "bits",
        kind: "number, 1 to 3",
        default: Some("1"),
        words: "the bits: 1 for a queue, 2 for the configuration",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "reset.end"
do = "isr.stale"
args = { bits = 1 }
"#,
    build: |args, _| {
        let bits = args.integer("bits", 1..=3)?.unwrap_or(1);
        Ok(Box::new(Stale { bits, now: 0 }))
    },
};

#[derive(Clone, Debug)]
struct Stale {
    bits: u64,
    now: u64,
}

impl Act for Stale {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Grey
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "isr".to_owned()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        self.now = self.bits;
        if State::may_assert(bench.world) {
            bench.state.line.extra = true;
        }
    }

    fn show(&mut self, access: &Access, value: &mut u64, _firing: Firing, _facts: &Facts<'_>) {
        if access.register() == Some(Field::Isr) && access.op == Op::Read {
            *value |= std::mem::take(&mut self.now);
        }
    }

    fn reset(&mut self) {
        self.now = 0;
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::Field;
    use crate::trace::Effect;

    #[test]
    fn the_line_is_up_until_the_isr_status_is_read() {
        let mut rig = Rig::block(&["on = 'host:now'\ndo = 'isr.stale'\nargs = { bits = 2 }"]);
        rig.bring_up_intx();
        assert_eq!(rig.host("now").shown.as_slice(), [Effect::Pin(true)]);
        let outcome = rig.read_outcome(Field::Isr);
        assert_eq!(
            outcome.shown.as_slice(),
            [Effect::Value(2), Effect::Pin(false)]
        );
        assert_eq!(outcome.meant.unwrap().as_slice(), [Effect::Value(0)]);
        assert_eq!(rig.read(Field::Isr), 0);
    }

    #[test]
    fn with_msix_only_the_value_is_stale() {
        let mut rig = Rig::block(&["on = 'host:now'\ndo = 'isr.stale'"]);
        rig.bring_up();
        assert!(rig.host("now").shown.is_empty());
        assert_eq!(rig.read(Field::Isr), 1);
        assert_eq!(rig.read(Field::Isr), 0);
    }
}

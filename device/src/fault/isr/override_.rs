//! `isr.override`

use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::reg::{How, Place, Shown};
use crate::spec::Field;
use crate::trace::Legality;

/// The ISR status reads as another value.
pub static VERB: Verb = Verb {
    name: "isr.override",
    summary: "The ISR status reads as another value than the device holds: at a read of it that is the trigger, or from any other trigger on until the next reset, or as `until` says. Reading it clears it and lowers the line as ever.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A bit of the ISR status tells of an event since the last read.",
    section: "4.1.4.5, 4.1.4.5.1",
    args: &[Arg {
        name: "val",
        kind: "number, or expression",
        default: None,
        words: "what it reads as; in an expression `val` is the true value",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "isr.rd"
where = "mode == INTX"
nth = "2..3"
do = "isr.override"
args = { val = 0 }
"#,
    build: |args, shape| {
        let val = args.number("val")?.ok_or_else(|| args.missing("val"))?;
        let place = Place::of(Field::Isr, shape);
        Ok(Box::new(Shown::new(
            place,
            How::Value(val),
            Legality::Illegal,
        )))
    },
};

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::Field;
    use crate::trace::{Effect, Input};

    #[test]
    fn the_event_is_not_told_and_the_line_falls_all_the_same() {
        let mut rig = Rig::block(&["on = 'isr.rd'\ndo = 'isr.override'\nargs = { val = 0 }"]);
        rig.bring_up_intx();
        rig.input(Input::Used { queue: 0 });
        let outcome = rig.read_outcome(Field::Isr);
        assert_eq!(
            outcome.shown.as_slice(),
            [Effect::Value(0), Effect::Pin(false)]
        );
    }
}

//! `isr.add`

use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::reg::{How, Place, Shown};
use crate::spec::Field;
use crate::trace::Legality;

/// The ISR status has bits that mean nothing.
pub static VERB: Verb = Verb {
    name: "isr.add",
    summary: "The ISR status reads with bits that are not its own: at a read of it that is the trigger, or from any other trigger on until the next reset, or as `until` says.",
    classes: &[(Legality::Illegal, "")],
    sentence: "Of the ISR status bits 0 and 1 have a meaning; the others are reserved and read 0.",
    section: "4.1.4.5",
    args: &[Arg {
        name: "bits",
        kind: "number, 1 to 255",
        default: Some("128"),
        words: "the bits that are added; 1 and 2 are the known ones",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "isr.rd"
nth = "1.."
do = "isr.add"
args = { bits = 0x80 }
"#,
    build: |args, shape| {
        let bits = args.integer("bits", 1..=255)?.unwrap_or(0x80);
        let place = Place::of(Field::Isr, shape);
        Ok(Box::new(Shown::new(
            place,
            How::Adds(bits),
            Legality::Illegal,
        )))
    },
};

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::Field;
    use crate::trace::Input;

    #[test]
    fn the_bits_come_on_top_of_the_true_ones() {
        let mut rig = Rig::block(&["on = 'isr.rd'\nnth = '1..'\ndo = 'isr.add'"]);
        rig.bring_up_intx();
        rig.input(Input::Used { queue: 0 });
        assert_eq!(rig.read(Field::Isr), 0x81);
        assert_eq!(rig.read(Field::Isr), 0x80);
    }
}

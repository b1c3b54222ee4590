//! `gen.churn`

use crate::fault::catalogue::{Needs, OURS, VIRTIO, Verb};
use crate::fault::reg::{How, Place, Shown};
use crate::spec::{CommonCfg, Field};
use crate::trace::Legality;

/// The generation changes all the time.
pub static VERB: Verb = Verb {
    name: "gen.churn",
    summary: "config_generation reads as another value each time: at a read of it that is the trigger, or from any other trigger on until the next reset, or as `until` says.",
    classes: &[(Legality::Grey, "")],
    sentence: "config_generation changes when the configuration does; no text says how often that may be.",
    section: "2.5.1, 2.5.3, 4.1.4.3.1",
    args: &[],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "cc.config_generation.rd"
nth = "1.."
do = "gen.churn"
until = "20s"
"#,
    build: |_, shape| {
        let place = Place::of(Field::Common(CommonCfg::ConfigGeneration), shape);
        Ok(Box::new(Shown::new(place, How::Churns, Legality::Grey)))
    },
};

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::CommonCfg as C;

    #[test]
    fn no_two_reads_are_the_same_as_long_as_it_lasts() {
        let mut rig = Rig::block(&[
            "on = 'cc.config_generation.rd'\nnth = '1..'\ndo = 'gen.churn'\nuntil = 'nth=600'",
        ]);
        let mut last = rig.read(cc(C::ConfigGeneration));
        for _ in 1..599 {
            let next = rig.read(cc(C::ConfigGeneration));
            assert_ne!(next, last);
            last = next;
        }
        rig.read(cc(C::ConfigGeneration));
        assert_eq!(rig.read(cc(C::ConfigGeneration)), 0);
    }
}

//! `gen.freeze`

use crate::fault::catalogue::{Needs, OURS, VIRTIO, Verb};
use crate::fault::reg::{How, Place, Shown};
use crate::spec::{CommonCfg, Field};
use crate::trace::Legality;

/// The generation does not change with the configuration.
pub static VERB: Verb = Verb {
    name: "gen.freeze",
    summary: "config_generation reads as it was read last, whatever changes: at a read of it that is the trigger, or from any other trigger on until the next reset, or as `until` says.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A device changes config_generation whenever a driver could see two accesses of its configuration disagree.",
    section: "2.5.3, 4.1.4.3.1",
    args: &[],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "live"
do = "gen.freeze"
until = "forever"
"#,
    build: |_, shape| {
        let place = Place::of(Field::Common(CommonCfg::ConfigGeneration), shape);
        Ok(Box::new(Shown::new(place, How::Frozen, Legality::Illegal)))
    },
};

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::CommonCfg as C;
    use crate::trace::Input;

    #[test]
    fn the_generation_stays_what_it_was_until_the_reset() {
        let mut rig = Rig::block(&["on = 'host:now'\ndo = 'gen.freeze'"]);
        let before = rig.read(cc(C::ConfigGeneration));
        rig.host("now");
        let change = Input::Config {
            offset: 0,
            bytes: vec![1],
        };
        rig.input(change);
        assert_eq!(rig.read(cc(C::ConfigGeneration)), before);
        rig.write(cc(C::DeviceStatus), 0);
        assert_eq!(rig.read(cc(C::ConfigGeneration)), before + 1);
    }
}

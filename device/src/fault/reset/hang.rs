//! `reset.hang`

use crate::fault::act::Act;
use crate::fault::bench::Bench;
use crate::fault::catalogue::{Needs, OURS, VIRTIO, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Legality};

/// A reset does not complete.
pub static VERB: Verb = Verb {
    name: "reset.hang",
    summary: "After the write of 0, device_status reads as before: until the driver resets again (`until = \"once\"`), or as `until` says.",
    classes: &[(Legality::Grey, "")],
    sentence: "A device shows 0 in device_status once a reset is done; no text says that it has to be done at all.",
    section: "4.1.4.3.1, 4.1.4.3.2",
    args: &[],
    needs: Needs::Reset,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "reset.begin"
nth = "2.."
do = "reset.hang"
until = "90s"
"#,
    build: |_, _| Ok(Box::new(Hang)),
};

#[derive(Clone, Debug)]
struct Hang;

impl Act for Hang {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Grey
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "status".to_owned()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let until = bench.ends_at;
        bench.hold_status(until, None);
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig, cc};
    use crate::spec::CommonCfg;

    #[test]
    fn a_reset_never_ends_but_the_next_one_does() {
        let mut rig = Rig::block(&["on = 'reset.begin'\ndo = 'reset.hang'"]);
        rig.bring_up_intx();
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        rig.now += 3_600_000 * MS;
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xf);
        assert_eq!(rig.injector.deadline(), None);
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0);
    }

    #[test]
    fn resets_hang_for_a_time_counted_from_the_first_that_did() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0);
        rig.bring_up_after_reset();
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xf);
        rig.now += 60_000 * MS;
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xf);
        rig.now += 31_000 * MS;
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0);
    }
}

//! `reset.slow`

use super::length::Length;
use crate::fault::act::Act;
use crate::fault::bench::Bench;
use crate::fault::catalogue::{Needs, OURS, VIRTIO, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Legality};

/// A reset takes its time.
pub static VERB: Verb = Verb {
    name: "reset.slow",
    summary: "After the write of 0, device_status reads as before for a time or for so many reads (as 1 if it was 0 already).",
    classes: &[(Legality::Legal, "")],
    sentence: "A device shows 0 in device_status once a reset is done; no text says how soon, and the driver waits for it.",
    section: "4.1.4.3.1, 4.1.4.3.2",
    args: &Length::args(
        "how long the reset takes",
        "how many reads of device_status the reset takes, in place of a time",
    ),
    needs: Needs::Reset,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "reset.begin"
nth = "1.."
do = "reset.slow"
args = { t = "1500ms" }
"#,
    build: |args, _| Ok(Box::new(Slow(Length::of(args)?))),
};

#[derive(Clone, Debug)]
struct Slow(Length);

impl Act for Slow {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Legal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "status".to_owned()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let (until, reads) = self.0.from(bench.now);
        bench.hold_status(until, reads);
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig, cc};
    use crate::spec::CommonCfg;
    use crate::trace::{Effect, Input};

    #[test]
    fn the_old_status_is_shown_until_the_time_is_over() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.bring_up();
        let outcome = rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(outcome.fired[0].id, "reset.slow");
        assert!(
            outcome.shown.contains(&Effect::Stop),
            "the device itself is reset"
        );
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xf);
        rig.now += 1_499 * MS;
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xf);
        assert!(rig.injector.world().resetting);
        rig.now += 2 * MS;
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0);
        assert!(!rig.injector.world().resetting);
    }

    #[test]
    fn the_old_status_is_shown_for_so_many_reads() {
        let mut rig = Rig::block(&["on = 'reset.begin'\ndo = 'reset.slow'\nargs = { reads = 2 }"]);
        rig.bring_up();
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(rig.injector.deadline(), None);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xf);
        assert!(rig.injector.world().resetting);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xf);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0);
        assert!(!rig.injector.world().resetting);
    }

    #[test]
    fn a_device_that_nobody_touched_shows_a_bit() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 1);
    }

    #[test]
    fn the_end_of_the_reset_is_an_occasion() {
        let mut rig = Rig::block(&[super::VERB.example, "on = 'reset.end'\ndo = 'isr.stale'"]);
        let outcome = rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(outcome.fired.len(), 1);
        let end = rig.injector.deadline().unwrap();
        assert_eq!(end, rig.now + 1_500 * MS);
        let outcome = rig.at(end, Input::Time);
        assert_eq!(outcome.fired[0].fault, "isr.stale");
        assert_eq!(rig.injector.deadline(), None);
    }

    #[test]
    fn the_time_has_to_be_given_with_its_unit() {
        let missing = Rig::refused("on = 'reset.begin'\ndo = 'reset.slow'");
        assert_eq!(
            missing.message,
            "`reset.slow` needs the argument `t`: how long the reset takes"
        );
        let wrong = Rig::refused("on = 'reset.begin'\ndo = 'reset.slow'\nargs = { t = 1500 }");
        assert_eq!(
            wrong.message,
            "t = 1500: expected a time with its unit, such as \"1500ms\""
        );
        let trigger = Rig::refused("on = 'live'\ndo = 'reset.slow'\nargs = { t = '1s' }");
        assert_eq!(
            trigger.message,
            "`reset.slow` can't act on `live`: expected `reset.begin` or `status.=0`"
        );
    }
}

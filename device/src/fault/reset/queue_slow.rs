//! `qreset.slow`

use super::length::Length;
use super::queue::{object, reset_queue};
use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{Needs, OURS, VIRTIO, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Legality};

/// The reset of a queue takes its time.
pub static VERB: Verb = Verb {
    name: "qreset.slow",
    summary: "After the write of 1, the queue's queue_reset reads 1 for a time or for so many reads, or until the device is reset.",
    classes: &[(Legality::Legal, "")],
    sentence: "A device shows 1 in queue_reset as long as the reset of the queue goes on; no text says how long that may be, and the driver waits for 0.",
    section: "4.1.4.3.1, 4.1.4.3.2",
    args: &Length::args(
        "how long the reset of the queue takes",
        "how many reads of queue_reset the reset takes, in place of a time",
    ),
    needs: Needs::QueueReset,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "cc.queue_reset.wr"
nth = "1.."
do = "qreset.slow"
args = { t = "20ms" }
"#,
    build: |args, _| Ok(Box::new(Slow(Length::of(args)?))),
};

#[derive(Clone, Debug)]
struct Slow(Length);

impl Act for Slow {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Legal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        object(occasion)
    }

    fn applies(&self, occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        reset_queue(occasion, scene.world).is_some()
    }

    fn fire(&mut self, occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        if let Some(queue) = reset_queue(occasion, bench.world) {
            let (until, reads) = self.0.from(bench.now);
            bench.hold_queue_reset(queue, until, reads);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig, cc};
    use crate::spec::CommonCfg as C;
    use crate::trace::Effect;

    #[test]
    fn the_queue_is_shown_to_be_reset_until_the_time_is_over() {
        let mut rig = Rig::resettable(&[super::VERB.example]);
        rig.bring_up_resettable();
        rig.write(cc(C::QueueSelect), 1);
        let outcome = rig.write(cc(C::QueueReset), 1);
        assert_eq!(outcome.fired[0].id, "qreset.slow");
        assert_eq!(outcome.fired[0].object, "q1");
        assert!(
            outcome.shown.contains(&Effect::StopQueue { queue: 1 }),
            "the queue itself is reset"
        );
        assert_eq!(rig.read(cc(C::QueueReset)), 1);
        rig.now += 19 * MS;
        assert_eq!(rig.read(cc(C::QueueReset)), 1);
        rig.now += MS;
        assert_eq!(rig.read(cc(C::QueueReset)), 0);
    }

    #[test]
    fn the_queue_is_shown_to_be_reset_for_so_many_reads() {
        let fault = "on = 'cc.queue_reset.wr'\ndo = 'qreset.slow'\nargs = { reads = 2 }";
        let mut rig = Rig::resettable(&[fault]);
        rig.bring_up_resettable();
        rig.write(cc(C::QueueReset), 1);
        assert_eq!(rig.read(cc(C::QueueReset)), 1);
        assert_eq!(rig.read(cc(C::QueueReset)), 1);
        assert_eq!(rig.read(cc(C::QueueReset)), 0);
    }

    #[test]
    fn the_other_queue_and_the_rest_of_the_device_go_on() {
        let mut rig = Rig::resettable(&[super::VERB.example]);
        rig.bring_up_resettable();
        rig.write(cc(C::QueueReset), 1);
        assert_eq!(rig.read(cc(C::QueueReset)), 1);
        assert_eq!(rig.read(cc(C::QueueEnable)), 0);
        rig.write(cc(C::QueueSelect), 1);
        assert_eq!(rig.read(cc(C::QueueReset)), 0);
        assert_eq!(rig.read(cc(C::QueueEnable)), 1);
        assert_eq!(rig.read(cc(C::DeviceStatus)), 0xf);
    }

    #[test]
    fn the_reset_of_the_device_ends_that_of_its_queues() {
        let mut rig = Rig::resettable(&[super::VERB.example]);
        rig.bring_up_resettable();
        rig.write(cc(C::QueueReset), 1);
        rig.write(cc(C::DeviceStatus), 0);
        assert_eq!(rig.read(cc(C::QueueReset)), 0);
    }

    #[test]
    fn a_write_that_resets_no_queue_is_no_occasion() {
        let mut rig = Rig::resettable(&[super::VERB.example]);
        rig.bring_up();
        assert!(
            rig.write(cc(C::QueueReset), 1).fired.is_empty(),
            "RING_RESET was not agreed on"
        );
        let mut rig = Rig::resettable(&[super::VERB.example]);
        rig.bring_up_resettable();
        assert!(rig.write(cc(C::QueueReset), 0).fired.is_empty());
        rig.write(cc(C::QueueSelect), 7);
        assert!(
            rig.write(cc(C::QueueReset), 1).fired.is_empty(),
            "there is no such queue"
        );
    }

    #[test]
    fn it_acts_on_the_write_of_queue_reset_alone_and_needs_its_time() {
        let missing = Rig::refused("on = 'cc.queue_reset.wr'\ndo = 'qreset.slow'");
        assert_eq!(
            missing.message,
            "`qreset.slow` needs the argument `t`: how long the reset of the queue takes"
        );
        let trigger =
            Rig::refused("on = 'cc.queue_reset.rd'\ndo = 'qreset.slow'\nargs = { t = '1s' }");
        assert_eq!(
            trigger.message,
            "`qreset.slow` can't act on `cc.queue_reset.rd`: expected `cc.queue_reset.wr`"
        );
    }
}

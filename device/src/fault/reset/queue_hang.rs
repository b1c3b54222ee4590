//! `qreset.hang`

use super::queue::{object, reset_queue};
use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{Needs, OURS, VIRTIO, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Legality};

/// The reset of a queue does not complete.
pub static VERB: Verb = Verb {
    name: "qreset.hang",
    summary: "After the write of 1, the queue's queue_reset reads 1: until the device is reset (`until = \"once\"`), or as `until` says.",
    classes: &[(Legality::Grey, "")],
    sentence: "A device shows 0 in queue_reset once the reset of the queue is done; no text says that it has to be done at all.",
    section: "4.1.4.3.1, 4.1.4.3.2",
    args: &[],
    needs: Needs::QueueReset,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "cc.queue_reset.wr"
nth = "2.."
do = "qreset.hang"
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

    fn object(&self, occasion: &Occasion<'_>) -> String {
        object(occasion)
    }

    fn applies(&self, occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        reset_queue(occasion, scene.world).is_some()
    }

    fn fire(&mut self, occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        if let Some(queue) = reset_queue(occasion, bench.world) {
            let until = bench.ends_at;
            bench.hold_queue_reset(queue, until, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig, cc};
    use crate::spec::CommonCfg as C;

    #[test]
    fn the_reset_of_a_queue_never_ends_but_with_that_of_the_device() {
        let mut rig = Rig::resettable(&["on = 'cc.queue_reset.wr'\ndo = 'qreset.hang'"]);
        rig.bring_up_resettable();
        rig.write(cc(C::QueueReset), 1);
        rig.now += 3_600_000 * MS;
        assert_eq!(rig.read(cc(C::QueueReset)), 1);
        rig.write(cc(C::QueueReset), 1);
        assert_eq!(rig.read(cc(C::QueueReset)), 1, "once more does not help");
        rig.write(cc(C::DeviceStatus), 0);
        rig.bring_up_resettable();
        rig.write(cc(C::QueueReset), 1);
        assert_eq!(rig.read(cc(C::QueueReset)), 0);
    }

    #[test]
    fn resets_of_queues_hang_for_a_time_counted_from_the_first_that_did() {
        let mut rig = Rig::resettable(&[super::VERB.example]);
        rig.bring_up_resettable();
        rig.write(cc(C::QueueReset), 1);
        assert_eq!(rig.read(cc(C::QueueReset)), 0);
        rig.write(cc(C::QueueReset), 1);
        rig.now += 60_000 * MS;
        rig.write(cc(C::QueueSelect), 1);
        rig.write(cc(C::QueueReset), 1);
        assert_eq!(rig.read(cc(C::QueueReset)), 1);
        rig.now += 31_000 * MS;
        assert_eq!(rig.read(cc(C::QueueReset)), 0);
        rig.write(cc(C::QueueSelect), 0);
        assert_eq!(rig.read(cc(C::QueueReset)), 0);
    }

    #[test]
    fn another_fault_can_end_it() {
        let mut rig = Rig::resettable(&[
            "on = 'cc.queue_reset.wr'\ndo = 'qreset.hang'\nuntil = 'fault:over'",
            "id = 'over'\non = 'host:over'\ndo = 'isr.stale'",
        ]);
        rig.bring_up_resettable();
        rig.write(cc(C::QueueReset), 1);
        assert_eq!(rig.read(cc(C::QueueReset)), 1);
        rig.host("over");
        assert_eq!(rig.read(cc(C::QueueReset)), 0);
    }
}

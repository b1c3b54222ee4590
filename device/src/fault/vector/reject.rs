//! `vector.reject`

use crate::fault::act::{Act, Firing};
use crate::fault::catalogue::{Needs, OURS, VIRTIO, Verb};
use crate::fault::trigger::Occasion;
use crate::spec::NO_VECTOR;
use crate::trace::{Access, Device, Legality};

/// The device does not take the vector; it reads back as none.
pub static VERB: Verb = Verb {
    name: "vector.reject",
    summary: "The device can't map the event to the vector: the field reads back 0xFFFF and the event stays unmapped.",
    classes: &[(Legality::Legal, "")],
    sentence: "A device that can't map an event to the vector asked for says so by returning NO_VECTOR when the field is read.",
    section: "4.1.5.1.2.1",
    args: &[],
    needs: Needs::VectorWrite,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "cc.queue_msix_vector.wr"
where = "val != 0xFFFF"
nth = "1.."
do = "vector.reject"
"#,
    build: |_, _| Ok(Box::new(Reject)),
};

#[derive(Clone, Debug)]
struct Reject;

impl Act for Reject {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Legal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        super::object(occasion)
    }

    fn rewrite(&mut self, access: &mut Access, firing: Firing, _world: &Device) -> bool {
        if firing.now {
            access.val = access.val.map(|val| val | u64::from(NO_VECTOR));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::{CommonCfg, NO_VECTOR};

    #[test]
    fn the_device_hears_no_vector_and_the_write_is_kept_as_the_driver_made_it() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.write(cc(CommonCfg::QueueSelect), 1);
        let outcome = rig.write(cc(CommonCfg::QueueMsixVector), 2);
        assert_eq!(outcome.fired[0].object, "q1");
        assert_eq!(rig.heard_value(&outcome), Some(NO_VECTOR.into()));
        assert_eq!(
            rig.read(cc(CommonCfg::QueueMsixVector)),
            u64::from(NO_VECTOR)
        );
        let queue = rig.injector.world().queues[1];
        assert_eq!((queue.asked, queue.vector), (Some(2), NO_VECTOR));
    }

    #[test]
    fn only_what_the_predicate_picks_is_refused() {
        let mut rig = Rig::block(&[
            "on = 'cc.queue_msix_vector.wr'\nwhere = 'q == 1'\nnth = '1..'\ndo = 'vector.reject'",
        ]);
        assert!(
            rig.write(cc(CommonCfg::QueueMsixVector), 1)
                .fired
                .is_empty()
        );
        assert_eq!(rig.read(cc(CommonCfg::QueueMsixVector)), 1);
        assert!(
            rig.write(cc(CommonCfg::ConfigMsixVector), 0)
                .fired
                .is_empty()
        );
    }
}

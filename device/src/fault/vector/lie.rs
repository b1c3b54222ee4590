//! `vector.lie`

use crate::fault::act::{Act, Firing};
use crate::fault::bench::Bench;
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::predicate::{Facts, Number};
use crate::fault::trigger::Occasion;
use crate::trace::{Access, Cause, Device, Legality, Op};

/// The vector reads back as another one than the device holds.
pub static VERB: Verb = Verb {
    name: "vector.lie",
    summary: "The vector reads back as another one; the device uses the true one. On a write, the lie lasts until the vector is written again or the device is reset, or as `until` says; on a read, for that read.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A read of a vector field returns the vector that the event is mapped to.",
    section: "4.1.5.1.2.1",
    args: &[Arg {
        name: "val",
        kind: "number, or expression",
        default: None,
        words: "the vector to show; in an expression `val` is what was written, or the true vector",
    }],
    needs: Needs::VectorAccess,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "cc.queue_msix_vector.wr"
where = "q == 0"
do = "vector.lie"
args = { val = "xor(val, 1)" }
until = "reset"
"#,
    build: |args, _| {
        let val = args.number("val")?.ok_or_else(|| args.missing("val"))?;
        Ok(Box::new(Lie {
            val,
            told: Vec::new(),
        }))
    },
};

#[derive(Clone, Debug)]
struct Lie {
    val: Number,
    /// The events that are lied about: at most one for each queue, and the configuration.
    told: Vec<(Cause, u64)>,
}

impl Lie {
    fn forget(&mut self, event: Cause) {
        self.told.retain(|(e, _)| *e != event);
    }
}

impl Act for Lie {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        super::object(occasion)
    }

    fn fire(&mut self, occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let Occasion::Access { access, .. } = occasion else {
            return;
        };
        let known = |event: &Cause| match event {
            Cause::Queue(q) => usize::from(*q) < bench.world.queues.len(),
            _ => true,
        };
        if access.op == Op::Write
            && let Some(event) = super::event(access).filter(known)
        {
            let facts = Facts {
                val: access.val,
                q: access.q,
                ..Facts::new(bench.world)
            };
            let lie = self.val.value(&facts) & 0xffff;
            self.forget(event);
            self.told.push((event, lie));
        }
    }

    fn rewrite(&mut self, access: &mut Access, firing: Firing, _world: &Device) -> bool {
        if !firing.now
            && let Some(event) = super::event(access)
        {
            self.forget(event);
        }
        true
    }

    fn show(&mut self, access: &Access, value: &mut u64, firing: Firing, facts: &Facts<'_>) {
        let Some(event) = super::event(access) else {
            return;
        };
        let told = self.told.iter().find(|(e, _)| *e == event);
        let lie = match told {
            _ if firing.now => self.val.value(facts) & 0xffff,
            Some((_, lie)) if firing.goes_on => *lie,
            _ => return,
        };
        *value = (*value & !0xffff) | lie;
    }

    fn reset(&mut self) {
        self.told.clear();
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::{CommonCfg, NO_VECTOR};

    #[test]
    fn a_lie_told_at_the_write_lasts_until_the_reset() {
        let mut rig = Rig::block(&[super::VERB.example]);
        let outcome = rig.write(cc(CommonCfg::QueueMsixVector), 2);
        assert_eq!(outcome.heard, None);
        assert_eq!(rig.read(cc(CommonCfg::QueueMsixVector)), 3);
        assert_eq!(rig.read(cc(CommonCfg::QueueMsixVector)), 3);
        assert_eq!(rig.injector.world().queues[0].vector, 2);
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(
            rig.read(cc(CommonCfg::QueueMsixVector)),
            u64::from(NO_VECTOR)
        );
    }

    #[test]
    fn a_lie_at_a_read_is_about_that_read_only() {
        let mut rig = Rig::block(&[
            "on = 'cc.config_msix_vector.rd'\ndo = 'vector.lie'\nargs = { val = 0xFFFF }",
        ]);
        rig.write(cc(CommonCfg::ConfigMsixVector), 0);
        assert_eq!(rig.read(cc(CommonCfg::ConfigMsixVector)), 0xffff);
        assert_eq!(rig.read(cc(CommonCfg::ConfigMsixVector)), 0);
    }

    #[test]
    fn another_write_ends_the_lie() {
        let mut rig =
            Rig::block(&["on = 'cc.queue_msix_vector.wr'\ndo = 'vector.lie'\nargs = { val = 9 }"]);
        rig.write(cc(CommonCfg::QueueMsixVector), 2);
        assert_eq!(rig.read(cc(CommonCfg::QueueMsixVector)), 9);
        rig.write(cc(CommonCfg::QueueMsixVector), 1);
        assert_eq!(rig.read(cc(CommonCfg::QueueMsixVector)), 1);
    }
}

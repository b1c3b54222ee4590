//! `reg.default`

use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::error::nearest;
use crate::fault::trigger::Occasion;
use crate::spec::{CommonCfg, Field, Rights, Scope};
use crate::trace::{Device, Legality};

/// A register has a wrong value after a reset.
pub static VERB: Verb = Verb {
    name: "reg.default",
    summary: "After a reset a register holds another value than it should; the device acts by it until the driver writes it.",
    classes: &[(Legality::Illegal, "")],
    sentence: "After a reset no event has a vector, no queue is enabled, and every field has the value that its text gives.",
    section: "2.4.1, 4.1.4.3.1, 4.1.5.1.2.1",
    args: &[
        Arg {
            name: "field",
            kind: "register of the common configuration that can be written",
            default: None,
            words: "the register, such as cc.queue_msix_vector",
        },
        Arg {
            name: "val",
            kind: "number",
            default: Some("0"),
            words: "the value after the reset",
        },
        Arg {
            name: "q",
            kind: "queue",
            default: Some("all"),
            words: "for a register that there is for each queue: of which one",
        },
    ],
    needs: Needs::ResetEnd,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "reset.end"
nth = "1.."
do = "reg.default"
args = { field = "cc.queue_msix_vector", val = 0 }
"#,
    build: |args, shape| {
        let name = args.word("field")?.ok_or_else(|| args.missing("field"))?;
        let register = match name.parse().map(Field::as_modern) {
            Ok(Field::Common(register)) => register,
            Ok(_) => {
                return Err(args.error(
                    "field",
                    format!("`{name}` is not in the common configuration: expected cc.<field>"),
                ));
            }
            Err(unknown) => {
                let unknown: crate::spec::UnknownField = unknown;
                return Err(args
                    .error("field", unknown.to_string())
                    .help(nearest(name, Field::names())));
            }
        };
        let once = matches!(
            register,
            CommonCfg::DeviceStatus | CommonCfg::QueueEnable | CommonCfg::QueueReset
        );
        if register.rights() != Rights::rw || once {
            return Err(args.error(
                "field",
                format!(
                    "`{name}` is not a register that keeps what is written: use `reg.override`, or `reset.partial`"
                ),
            ));
        }
        let most = u64::MAX >> (64 - 8 * u32::from(register.width()));
        let queues = u64::from(shape.queues);
        Ok(Box::new(Default {
            register,
            val: args.integer("val", 0..=most)?.unwrap_or(0),
            q: args
                .integer("q", 0..=queues.saturating_sub(1))?
                .map(|q| q as u16),
        }))
    },
};

#[derive(Clone, Debug)]
struct Default {
    register: CommonCfg,
    val: u64,
    q: Option<u16>,
}

impl Act for Default {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        let place = super::place::Place {
            field: Field::Common(self.register),
            width: self.register.width(),
        };
        place.object(self.q)
    }

    fn applies(&self, _occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        scene.state.template.is_some()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        if self.register.scope() == Scope::device {
            return bench.write_common(self.register, self.val, None);
        }
        let queues = bench.world.shape.queues;
        for q in (0..queues).filter(|q| self.q.is_none_or(|only| only == *q)) {
            bench.write_common(CommonCfg::QueueSelect, q, None);
            bench.write_common(self.register, self.val, Some(q));
        }
        bench.write_common(CommonCfg::QueueSelect, 0_u16, None);
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::{CommonCfg as C, NO_VECTOR};

    #[test]
    fn vectors_are_0_after_the_reset_until_they_are_written() {
        let mut rig = Rig::block(&[
            "on = 'reset.end'\ndo = 'reg.default'\nargs = { field = 'cc.queue_msix_vector' }",
        ]);
        assert_eq!(rig.read(cc(C::QueueMsixVector)), u64::from(NO_VECTOR));
        rig.write(cc(C::DeviceStatus), 0);
        for q in [1, 0] {
            rig.write(cc(C::QueueSelect), q);
            assert_eq!(rig.read(cc(C::QueueMsixVector)), 0);
        }
        rig.write(cc(C::QueueMsixVector), 2);
        assert_eq!(rig.read(cc(C::QueueMsixVector)), 2);
        assert_eq!(rig.read(cc(C::ConfigMsixVector)), u64::from(NO_VECTOR));
    }

    #[test]
    fn a_register_that_can_not_be_written_has_no_wrong_default() {
        for field in ["cc.num_queues", "cc.device_status", "isr"] {
            let text =
                format!("on = 'reset.end'\ndo = 'reg.default'\nargs = {{ field = '{field}' }}");
            assert!(Rig::refused(&text).message.contains(field));
        }
    }
}

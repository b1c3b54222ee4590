//! `reg.ignore_write`

use super::place::Place;
use crate::fault::act::{Act, Firing};
use crate::fault::bench::Scene;
use crate::fault::catalogue::{ALL, Needs, OURS, Verb};
use crate::fault::trigger::{Occasion, writes_status};
use crate::trace::{Access, Device, Legality};

/// The device does not take a write.
pub static VERB: Verb = Verb {
    name: "reg.ignore_write",
    summary: "The device never hears of the write that is the trigger. A reset is always heard; for one that does not come about there is `reset.hang`.",
    classes: &[(Legality::Illegal, "")],
    sentence: "What a driver writes into a register that it may write is what the device goes by from then on.",
    section: "4.1.4.3, 4.1.4.3.1",
    args: &[],
    needs: Needs::Write,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "cc.queue_enable.wr"
where = "q == 1"
do = "reg.ignore_write"
"#,
    build: |_, shape| {
        Ok(Box::new(Ignore {
            shape: Box::new(shape.clone()),
        }))
    },
};

#[derive(Clone, Debug)]
struct Ignore {
    shape: Box<crate::shape::Shape>,
}

impl Act for Ignore {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        match occasion {
            Occasion::Access { access, .. } => access.field.map_or_else(
                || "device".to_owned(),
                |field| Place::of(field, &self.shape).object(access.q),
            ),
            _ => "device".to_owned(),
        }
    }

    fn applies(&self, occasion: &Occasion<'_>, _scene: &Scene<'_>) -> bool {
        matches!(
            occasion,
            Occasion::Access { access, .. }
                if !access.resets_function() && writes_status(access) != Some(0)
        )
    }

    fn rewrite(&mut self, _access: &mut Access, firing: Firing, _world: &Device) -> bool {
        !firing.now
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::CommonCfg as C;

    #[test]
    fn the_write_is_not_heard_and_the_next_one_is() {
        let mut rig = Rig::block(&["on = 'cc.queue_select.wr'\ndo = 'reg.ignore_write'"]);
        let outcome = rig.write(cc(C::QueueSelect), 1);
        assert_eq!(outcome.heard.as_deref(), Some(&[][..]));
        assert_eq!(rig.read(cc(C::QueueSelect)), 0);
        rig.write(cc(C::QueueSelect), 1);
        assert_eq!(rig.read(cc(C::QueueSelect)), 1);
    }

    #[test]
    fn a_reset_is_always_heard() {
        let mut rig =
            Rig::block(&["on = 'cc.device_status.wr'\nnth = '1..'\ndo = 'reg.ignore_write'"]);
        assert_eq!(rig.write(cc(C::DeviceStatus), 1).fired.len(), 1);
        assert_eq!(rig.read(cc(C::DeviceStatus)), 0);
        assert!(rig.write(cc(C::DeviceStatus), 0).fired.is_empty());
    }
}

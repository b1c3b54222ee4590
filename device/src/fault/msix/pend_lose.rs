//! `msix.pend_lose`

use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene, State};
use crate::fault::catalogue::{ALL, Needs, OURS, Verb};
use crate::fault::trigger::{Carrier, Occasion};
use crate::trace::{Device, Legality};

/// A message that waited is lost.
pub static VERB: Verb = Verb {
    name: "msix.pend_lose",
    summary: "A message that waited in the pending bits, since it was masked, does not come when it is unmasked.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A message that could not be sent since it was masked is sent when it is unmasked (PCI 3.0, 6.8.2.10).",
    section: "4.1.5.1.2",
    args: &[],
    needs: Needs::Interrupt,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "irq.due[any]"
do = "msix.pend_lose"
"#,
    build: |args, shape| {
        if shape.table_size().max(shape.msi) == 0 {
            return Err(args.error(
                "",
                "`msix.pend_lose` is impossible on a device that has neither MSI-X nor MSI",
            ));
        }
        Ok(Box::new(PendLose))
    },
};

#[derive(Clone, Debug)]
struct PendLose;

impl Act for PendLose {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        match occasion {
            Occasion::Irq { cause, .. } => cause.to_string(),
            _ => "device".to_owned(),
        }
    }

    fn applies(&self, occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        let Occasion::Irq {
            entry: Some(entry),
            carrier: Carrier::Message,
            ..
        } = occasion
        else {
            return false;
        };
        State::messages(scene.world)
            .is_some_and(|(kind, _)| scene.state.pended.contains(&(kind, *entry)))
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        if let Some(fate) = &mut bench.fate {
            fate.drop = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::{Field, msix_control};
    use crate::trace::{Effect, Input};

    const USED: Input = Input::Used { queue: 0 };

    #[test]
    fn what_pended_does_not_come_and_what_did_not_pend_does() {
        let mut rig = Rig::block(&["on = 'irq.due[any]'\nnth = '1..'\ndo = 'msix.pend_lose'"]);
        rig.bring_up();
        let masked = msix_control::ENABLE | msix_control::FUNCTION_MASK;
        rig.write(Field::MsixControl, masked.into());
        assert!(matches!(
            rig.input(USED).shown.as_slice(),
            [Effect::Pended(_)]
        ));
        let outcome = rig.write(Field::MsixControl, msix_control::ENABLE.into());
        assert_eq!(outcome.fired.len(), 1);
        assert!(matches!(outcome.shown.as_slice(), [Effect::Control { .. }]));
        assert!(matches!(
            rig.input(USED).shown.as_slice(),
            [Effect::Message(_)]
        ));
    }
}

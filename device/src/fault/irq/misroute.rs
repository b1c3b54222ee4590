//! `irq.misroute`

use super::{carrier, object};
use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{ALL, Arg, Needs, OURS, Verb};
use crate::fault::trigger::{Carrier, Occasion};
use crate::trace::{Device, Legality};

/// An interrupt comes as another message.
pub static VERB: Verb = Verb {
    name: "irq.misroute",
    summary: "An interrupt comes as another message than the one that its event is mapped to.",
    classes: &[(Legality::Illegal, "")],
    sentence: "With MSI-X enabled the device notifies with the message of the entry that the event is mapped to.",
    section: "4.1.5.3.1, 4.1.5.4.1",
    args: &[Arg {
        name: "to",
        kind: "table entry, or message number",
        default: None,
        words: "the message that is sent",
    }],
    needs: Needs::Interrupt,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "irq.due[q1]"
nth = 5
do = "irq.misroute"
args = { to = 0 }
"#,
    build: |args, shape| {
        let messages = u64::from(shape.table_size().max(shape.msi));
        if messages == 0 {
            return Err(args.error(
                "to",
                "`irq.misroute` is impossible on a device that has neither MSI-X nor MSI",
            ));
        }
        let to = args
            .integer("to", 0..=messages - 1)?
            .ok_or_else(|| args.missing("to"))?;
        Ok(Box::new(Misroute { to: to as u16 }))
    },
};

#[derive(Clone, Debug)]
struct Misroute {
    to: u16,
}

impl Act for Misroute {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        object(occasion)
    }

    fn applies(&self, occasion: &Occasion<'_>, _scene: &Scene<'_>) -> bool {
        carrier(occasion) == Some(Carrier::Message)
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        if let Some(fate) = &mut bench.fate {
            fate.entry = Some(self.to);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::trace::{Effect, Input};

    #[test]
    fn the_message_is_another_one() {
        let mut rig = Rig::block(&["on = 'irq.due[q1]'\ndo = 'irq.misroute'\nargs = { to = 0 }"]);
        rig.bring_up();
        let outcome = rig.input(Input::Used { queue: 1 });
        assert!(matches!(outcome.shown.as_slice(), [Effect::Message(m)] if m.entry == 0));
        assert!(matches!(outcome.meant.unwrap().as_slice(), [Effect::Message(m)] if m.entry == 2));
    }

    #[test]
    fn there_has_to_be_such_a_message() {
        let error = Rig::refused("on = 'irq.due[q1]'\ndo = 'irq.misroute'\nargs = { to = 3 }");
        assert_eq!(error.message, "to = 3: expected a number from 0 to 2");
    }
}

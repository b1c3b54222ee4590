//! `msix.stale_route`

use crate::fault::act::{Act, Due, Firing};
use crate::fault::bench::{Bench, Fate, Scene};
use crate::fault::catalogue::{ALL, Arg, Needs, OURS, Verb};
use crate::fault::trigger::{Carrier, Occasion};
use crate::trace::{Device, Legality};

/// Messages go where they went before the table was edited.
pub static VERB: Verb = Verb {
    name: "msix.stale_route",
    summary: "The device keeps the address and data that an entry had when the fault fired. After the system has set the entry up anew, its messages go to the old place, where nobody listens any more; on vfio-user that place is the eventfd from before.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A message has the address and data that its entry holds when it is sent (PCI 3.0, 6.8.2).",
    section: "4.1.5.1.2",
    args: &[Arg {
        name: "entry",
        kind: "table entry",
        default: Some("all"),
        words: "the entry whose route is kept",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "host:keep"
do = "msix.stale_route"
args = { entry = 1 }
"#,
    build: |args, shape| {
        let table = u64::from(shape.table_size());
        if table == 0 {
            return Err(args.error(
                "entry",
                "`msix.stale_route` is impossible on a device without MSI-X",
            ));
        }
        let entry = args.integer("entry", 0..=table - 1)?.map(|e| e as u16);
        Ok(Box::new(StaleRoute { entry, kept: None }))
    },
};

#[derive(Clone, Debug)]
struct StaleRoute {
    entry: Option<u16>,
    /// How often each entry had been set up when the fault fired.
    kept: Option<Vec<u32>>,
}

impl Act for StaleRoute {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "device".to_owned()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        self.kept = Some(bench.state.wirings.clone());
    }

    fn due(&mut self, due: Due, fate: &mut Fate, firing: Firing, scene: &Scene<'_>) {
        let (Some(kept), Some(entry)) = (&self.kept, due.entry) else {
            return;
        };
        let at = usize::from(entry);
        let again = scene.state.wirings.get(at) != kept.get(at);
        let concerns = self.entry.is_none_or(|only| only == entry);
        fate.drop |= due.carrier == Carrier::Message && again && concerns && firing.goes_on;
    }

    /// A virtio reset has nothing to do with it.
    fn forget(&mut self, _lasting: bool) {}
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::trace::{Effect, Input, IrqKind};

    const USED: Input = Input::Used { queue: 0 };

    #[test]
    fn messages_are_lost_once_the_entry_was_set_up_anew() {
        let mut rig =
            Rig::block(&["on = 'host:keep'\ndo = 'msix.stale_route'\nargs = { entry = 1 }"]);
        rig.bring_up();
        rig.host("keep");
        assert!(matches!(
            rig.input(USED).shown.as_slice(),
            [Effect::Message(_)]
        ));
        rig.input(Input::Irqs {
            kind: IrqKind::Msix,
            start: 0,
            count: 3,
            wired: true,
        });
        assert!(rig.input(USED).shown.is_empty());
        let other = rig.input(Input::Used { queue: 1 });
        assert!(matches!(other.shown.as_slice(), [Effect::Message(_)]));
    }
}

//! `msix_table.clear`

use crate::fault::act::Act;
use crate::fault::bench::{Bench, Hear, Scene};
use crate::fault::catalogue::{ALL, Needs, OURS, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Input, IrqKind, Legality};

/// The device loses its MSI-X table.
pub static VERB: Verb = Verb {
    name: "msix_table.clear",
    summary: "The MSI-X table goes back to its state after power-on, as the device sees it: every entry masked. No message comes until the system sets the entries up again. What the guest reads from the table is the VMM's, and does not change.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A virtio reset concerns the virtio device; the MSI-X table is part of the PCI function, and nothing but the system's writes and a reset of the function changes it.",
    section: "2.4.1, 4.1.5.1.2.1",
    args: &[],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "reset.end"
nth = "2.."
do = "msix_table.clear"
"#,
    build: |args, shape| {
        if shape.table_size() == 0 {
            return Err(args.error(
                "",
                "`msix_table.clear` is impossible on a device without MSI-X",
            ));
        }
        Ok(Box::new(TableClear))
    },
};

#[derive(Clone, Debug)]
struct TableClear;

impl Act for TableClear {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "device".to_owned()
    }

    fn applies(&self, _occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        scene.state.wired.contains(&true)
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        bench.hear(Hear::plain(Input::Irqs {
            kind: IrqKind::Msix,
            start: 0,
            count: bench.world.shape.table_size(),
            wired: false,
        }));
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::trace::{Effect, Input, IrqKind};

    #[test]
    fn messages_wait_until_the_entries_are_set_up_again() {
        let mut rig = Rig::block(&["on = 'host:now'\ndo = 'msix_table.clear'"]);
        rig.bring_up();
        rig.host("now");
        let used = rig.input(Input::Used { queue: 0 });
        assert!(matches!(used.shown.as_slice(), [Effect::Pended(_)]));
        let wired = rig.input(Input::Irqs {
            kind: IrqKind::Msix,
            start: 0,
            count: 3,
            wired: true,
        });
        assert!(matches!(wired.shown.as_slice(), [Effect::Message(_)]));
        assert_eq!(rig.host("now").fired.len(), 0, "once");
    }
}

//! `msix.ignore_edit`

use crate::fault::act::{Act, Firing};
use crate::fault::catalogue::{ALL, Needs, OURS, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Access, Device, Legality};

/// The device does not take what is written to MSI-X message control.
pub static VERB: Verb = Verb {
    name: "msix.ignore_edit",
    summary: "The device does not take a write of MSI-X message control: MSI-X stays off, or on, or the function masked, for the device alone. What is written into the table never reaches it; for that there is `msix.stale_route`.",
    classes: &[(Legality::Illegal, "")],
    sentence: "MSI-X Enable and Function Mask are what was written last (PCI 3.0, 6.8.2.3).",
    section: "4.1.5.1.2",
    args: &[],
    needs: Needs::MsixControlWrite,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "pci.msixctl.wr"
nth = "1.."
do = "msix.ignore_edit"
"#,
    build: |args, shape| {
        if shape.table_size() == 0 {
            return Err(args.error(
                "",
                "`msix.ignore_edit` is impossible on a device without MSI-X",
            ));
        }
        Ok(Box::new(IgnoreEdit))
    },
};

#[derive(Clone, Debug)]
struct IgnoreEdit;

impl Act for IgnoreEdit {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "device".to_owned()
    }

    fn rewrite(&mut self, _access: &mut Access, firing: Firing, _world: &Device) -> bool {
        !firing.now
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::{Field, msix_control};
    use crate::trace::Mode;

    #[test]
    fn msix_stays_off_for_the_device() {
        let mut rig = Rig::block(&["on = 'pci.msixctl.wr'\ndo = 'msix.ignore_edit'"]);
        rig.write(Field::MsixControl, msix_control::ENABLE.into());
        assert_eq!(rig.injector.world().mode(), Mode::Intx);
        rig.write(Field::MsixControl, msix_control::ENABLE.into());
        assert_eq!(rig.injector.world().mode(), Mode::Msix);
    }
}

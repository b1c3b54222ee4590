//! `unplug.surprise`

use super::Happening;
use crate::fault::catalogue::{ALL, Needs, OURS, Verb};
use crate::trace::{Input, Legality};

/// The function is pulled out without a word.
pub static VERB: Verb = Verb {
    name: "unplug.surprise",
    summary: "The function is pulled out of its slot: reads give all ones, writes go nowhere, no interrupt and no DMA comes any more, and the slot tells the guest.",
    classes: &[(Legality::Legal, "")],
    sentence: "A function can be removed at any time; what is addressed to nobody is answered with all ones.",
    section: "PCI Express 3.0, 6.7; PCI 3.0, 6.1",
    args: &[],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "chain[q0]"
nth = 20
do = "unplug.surprise"
"#,
    build: |_, _| {
        Ok(Box::new(Happening {
            class: Legality::Legal,
            input: Some(Input::Unplugged),
        }))
    },
};

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::{CommonCfg, Field, PciHeader};
    use crate::trace::{Effect, Input};

    #[test]
    fn a_function_that_is_pulled_out_stops_its_backend_and_answers_all_ones() {
        let mut rig = Rig::block(&["on = 'chain[q0]'\ndo = 'unplug.surprise'"]);
        rig.bring_up();
        let outcome = rig.input(Input::Chain {
            queue: 0,
            head: 0,
            request: String::new(),
        });
        assert_eq!(outcome.fired.len(), 1);
        assert!(outcome.shown.contains(&Effect::Stop), "{:?}", outcome.shown);
        assert!(rig.injector.world().gone);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xff);
        assert_eq!(rig.read(Field::Pci(PciHeader::VendorId)), 0xffff);
        assert!(rig.write(cc(CommonCfg::DeviceStatus), 0).shown.is_empty());
        assert!(rig.input(Input::Used { queue: 0 }).shown.is_empty());
    }

    #[test]
    fn a_function_that_is_put_in_again_is_as_after_power_on() {
        let mut rig = Rig::block(&["on = 'live'\ndo = 'unplug.surprise'"]);
        rig.bring_up();
        rig.input(Input::FunctionReset);
        assert!(!rig.injector.world().gone);
        assert_eq!(rig.read(Field::Pci(PciHeader::Command)), 0);
        assert_ne!(rig.read(Field::Pci(PciHeader::VendorId)), 0xffff);
    }
}

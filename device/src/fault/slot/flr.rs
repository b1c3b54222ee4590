//! `flr`

use super::Happening;
use crate::fault::catalogue::{ALL, Needs, OURS, Verb};
use crate::trace::{Input, Legality};

/// The function is reset by somebody else than its driver.
pub static VERB: Verb = Verb {
    name: "flr",
    summary: "The function is reset behind the driver's back, as by a function level reset: registers, queues and messages are as after power-on.",
    classes: &[(Legality::Grey, "")],
    sentence: "A function level reset puts a function into the state after power-on; whoever asks for it tells the driver.",
    section: "PCI Express 3.0, 6.6.2",
    args: &[],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "complete[q0]"
nth = 20
do = "flr"
"#,
    build: |_, _| {
        Ok(Box::new(Happening {
            class: Legality::Grey,
            input: Some(Input::FunctionReset),
        }))
    },
};

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::{CommonCfg, Field, PciHeader};

    #[test]
    fn the_function_is_as_after_power_on() {
        let mut rig = Rig::block(&["on = 'host:now'\ndo = 'flr'"]);
        rig.bring_up();
        rig.host("now");
        assert_eq!(rig.read(Field::Pci(PciHeader::Command)), 0);
        rig.write(Field::Pci(PciHeader::Command), 2);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0);
    }
}

//! `d3.lose_state`

use crate::fault::act::Act;
use crate::fault::bench::{Bench, Hear};
use crate::fault::catalogue::{ALL, Needs, OURS, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Input, Legality};

/// The function wakes up as after power-on.
pub static VERB: Verb = Verb {
    name: "d3.lose_state",
    summary: "While the function slept its power was taken away: it wakes up as after power-on, with configuration space and everything else.",
    classes: &[(Legality::Legal, "")],
    sentence: "A function that comes back from D3 may have lost its context; software restores what it needs.",
    section: "PCI Power Management 1.2, 5.4.1 and 5.4.2",
    args: &[],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "d0"
do = "d3.lose_state"
"#,
    build: |_, _| Ok(Box::new(LoseState)),
};

#[derive(Clone, Debug)]
struct LoseState;

impl Act for LoseState {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Legal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "device".to_owned()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        bench.state.reset();
        bench.hear(Hear::plain(Input::FunctionReset));
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::{CommonCfg, Field, PciHeader};

    #[test]
    fn what_was_set_before_the_sleep_is_gone_after_it() {
        let mut rig = Rig::block(&["on = 'd0'\nnth = '1..'\ndo = 'd3.lose_state'"]);
        rig.bring_up();
        assert!(rig.write(Field::PowerControl, 3).fired.is_empty());
        assert_eq!(rig.write(Field::PowerControl, 0).fired.len(), 1);
        assert_eq!(rig.read(Field::Pci(PciHeader::Command)), 0);
        rig.write(Field::Pci(PciHeader::Command), 2);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0);
    }

    #[test]
    fn a_sleep_alone_loses_nothing() {
        let mut rig = Rig::block(&["on = 'd3'\nnth = 2\ndo = 'd3.lose_state'"]);
        rig.bring_up();
        rig.write(Field::PowerControl, 3);
        rig.write(Field::PowerControl, 0);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xf);
    }
}

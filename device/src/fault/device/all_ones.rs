//! `allones`

use crate::fault::act::{Act, Due, Firing};
use crate::fault::bench::{Bench, Fate, Scene};
use crate::fault::catalogue::{ALL, Needs, OURS, Verb};
use crate::fault::predicate::Facts;
use crate::fault::trigger::Occasion;
use crate::trace::{Access, Device, Legality, Op};

/// The link is dead.
pub static VERB: Verb = Verb {
    name: "allones",
    summary: "The link is dead: every read gets all ones, no write is heard, no interrupt comes, and no unplug is told; for the rest of the run, or as `until` says. What the VMM itself keeps of configuration space, such as the base addresses, reads as ever.",
    classes: &[(Legality::Grey, "")],
    sentence: "A read that nobody answers gets all ones (PCI Express 3.0, 2.3.2); no text says that a device is always there.",
    section: "4.1.1",
    args: &[],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "chain[q0]"
nth = 500
do = "allones"
until = "30s"
"#,
    build: |_, _| Ok(Box::new(AllOnes { dead: false })),
};

#[derive(Clone, Debug)]
struct AllOnes {
    dead: bool,
}

impl Act for AllOnes {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Grey
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "device".to_owned()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, _bench: &mut Bench<'_>) {
        self.dead = true;
    }

    fn rewrite(&mut self, _access: &mut Access, firing: Firing, _world: &Device) -> bool {
        !(self.dead && firing.goes_on)
    }

    fn show(&mut self, access: &Access, value: &mut u64, firing: Firing, _facts: &Facts<'_>) {
        if self.dead && firing.goes_on && access.op == Op::Read {
            *value = u64::MAX >> (64 - 8 * u32::from(access.width.clamp(1, 8)));
        }
    }

    fn due(&mut self, _due: Due, fate: &mut Fate, firing: Firing, _scene: &Scene<'_>) {
        fate.drop |= self.dead && firing.goes_on;
    }

    /// The device never heard of the reset.
    fn forget(&mut self, _lasting: bool) {}
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig, cc};
    use crate::spec::{CommonCfg as C, Field, PciHeader};
    use crate::trace::Input;

    const DEAD: &str = "on = 'host:dead'\ndo = 'allones'\nuntil = '5ms'";

    #[test]
    fn reads_get_all_ones_writes_are_lost_and_nothing_interrupts() {
        let mut rig = Rig::block(&[DEAD]);
        rig.bring_up();
        rig.host("dead");
        assert_eq!(rig.read(cc(C::DeviceStatus)), 0xff);
        assert_eq!(rig.read(Field::Pci(PciHeader::VendorId)), 0xffff);
        rig.write(cc(C::DeviceStatus), 0);
        assert_eq!(rig.read(cc(C::DeviceStatus)), 0xff);
        assert!(rig.input(Input::Used { queue: 0 }).shown.is_empty());
    }

    #[test]
    fn the_device_comes_back_as_it_was() {
        let mut rig = Rig::block(&[DEAD]);
        rig.bring_up();
        rig.host("dead");
        rig.write(cc(C::DeviceStatus), 0);
        rig.now += 5 * MS;
        assert_eq!(rig.read(cc(C::DeviceStatus)), 0xf);
        assert_eq!(rig.input(Input::Used { queue: 0 }).shown.len(), 1);
    }
}

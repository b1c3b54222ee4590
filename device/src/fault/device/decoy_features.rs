//! `decoy.features`

use toml::Value;

use crate::fault::act::{Act, Firing};
use crate::fault::bench::Bench;
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::predicate::Facts;
use crate::fault::trigger::Occasion;
use crate::spec::{CommonCfg, Field};
use crate::trace::{Access, Device, Legality, Op};

/// The device offers features that mean nothing.
pub static VERB: Verb = Verb {
    name: "decoy.features",
    summary: "device_feature reads with bits that no specification defines: at a read that is the trigger, or from any other trigger on until the next reset, or as `until` says. If the driver accepts them the device does not mind.",
    classes: &[(Legality::Grey, "")],
    sentence: "A device offers no feature bits that are not defined; a driver accepts none that it does not know.",
    section: "2.2.1, 2.2.2",
    args: &[Arg {
        name: "bits",
        kind: "bit number, or list of them, 0 to 127",
        default: Some("45"),
        words: "the feature bits that are offered beside the device's own",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "cc.device_feature.rd"
nth = "1.."
do = "decoy.features"
args = { bits = [45, 49, 60] }
"#,
    build: |args, _| {
        let wrong = |value: &Value| {
            args.error(
                "bits",
                format!("bits = {value}: expected a bit number from 0 to 127, or a list of them"),
            )
        };
        let bit = |value: &Value| {
            let number = value.as_integer().and_then(|n| u8::try_from(n).ok());
            number.filter(|n| *n < 128).map(|n| 1_u128 << n)
        };
        let bits = match args.value("bits") {
            None => Some(1 << 45),
            Some(Value::Array(list)) => list.iter().try_fold(0, |all, v| Some(all | bit(v)?)),
            Some(value) => bit(value),
        };
        match (bits.filter(|bits| *bits != 0), args.value("bits")) {
            (Some(bits), _) => Ok(Box::new(Decoy {
                bits,
                device_select: 0,
                driver_select: 0,
                offers: false,
                shown: false,
            })),
            (None, Some(value)) => Err(wrong(value)),
            (None, None) => Err(args.missing("bits")),
        }
    },
};

#[derive(Clone, Debug)]
struct Decoy {
    bits: u128,
    device_select: u32,
    driver_select: u32,
    /// Something else than a read made it offer them.
    offers: bool,
    /// The driver was shown them.
    shown: bool,
}

/// 32 of the bits.
fn word(bits: u128, select: u32) -> u64 {
    match select {
        0..4 => u64::from((bits >> (32 * select)) as u32),
        _ => 0,
    }
}

fn is_read(access: &Access) -> bool {
    access.op == Op::Read && access.register() == Some(Field::Common(CommonCfg::DeviceFeature))
}

impl Act for Decoy {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Grey
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "status".to_owned()
    }

    fn fire(&mut self, occasion: &Occasion<'_>, _bench: &mut Bench<'_>) {
        let read = matches!(
            occasion,
            Occasion::Access { access, after: false, .. } if is_read(access)
        );
        self.offers |= !read;
    }

    fn rewrite(&mut self, access: &mut Access, _firing: Firing, world: &Device) -> bool {
        let (Some(Field::Common(register)), Some(val)) = (access.register(), access.val) else {
            return true;
        };
        match register {
            CommonCfg::DeviceFeatureSelect => self.device_select = val as u32,
            CommonCfg::DriverFeatureSelect => self.driver_select = val as u32,
            // The device knows nothing of what it seems to offer.
            CommonCfg::DriverFeature if self.shown => {
                let decoys = word(self.bits & !world.offered, self.driver_select);
                access.val = Some(val & !decoys);
            }
            _ => {}
        }
        true
    }

    fn show(&mut self, access: &Access, value: &mut u64, firing: Firing, _facts: &Facts<'_>) {
        if is_read(access) && (firing.now || (self.offers && firing.goes_on)) {
            self.shown = true;
            *value |= word(self.bits, self.device_select);
        }
    }

    fn forget(&mut self, lasting: bool) {
        (self.device_select, self.driver_select) = (0, 0);
        self.offers &= lasting;
        self.shown = false;
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::CommonCfg as C;

    const DECOY: &str = "on = 'cc.device_feature.rd'\nnth = '1..'\ndo = 'decoy.features'\nargs = { bits = [45, 60] }";

    #[test]
    fn the_bits_are_offered_in_their_word_and_accepting_them_does_no_harm() {
        let mut rig = Rig::block(&[DECOY]);
        assert_eq!(rig.read(cc(C::DeviceFeature)), 0);
        rig.write(cc(C::DeviceFeatureSelect), 1);
        assert_eq!(rig.read(cc(C::DeviceFeature)), 1 | 1 << 13 | 1 << 28);
        rig.write(cc(C::DriverFeatureSelect), 1);
        let outcome = rig.write(cc(C::DriverFeature), 1 | 1 << 13);
        assert_eq!(rig.heard_value(&outcome), Some(1));
        rig.write(cc(C::DeviceStatus), 0xb);
        assert_eq!(rig.read(cc(C::DeviceStatus)), 0xb);
    }

    #[test]
    fn what_a_driver_accepts_without_having_been_offered_it_reaches_the_device() {
        let mut rig = Rig::block(&[DECOY]);
        rig.write(cc(C::DriverFeatureSelect), 1);
        let outcome = rig.write(cc(C::DriverFeature), 1 | 1 << 13);
        assert_eq!(rig.heard_value(&outcome), None, "it is not changed");
    }

    #[test]
    fn a_bit_that_can_not_be_is_refused() {
        for bits in ["128", "[1, -1]", "'MQ'", "[]"] {
            let text = format!("on = 'live'\ndo = 'decoy.features'\nargs = {{ bits = {bits} }}");
            assert!(Rig::refused(&text).message.contains("0 to 127"));
        }
    }
}

//! `status.refuse`

use crate::fault::act::{Act, Firing};
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::trigger::{Occasion, writes_status};
use crate::spec::Status;
use crate::trace::{Access, Device, Legality};

/// The device does not take a status bit.
pub static VERB: Verb = Verb {
    name: "status.refuse",
    summary: "A status bit does not stick: it reads back 0, and further writes of it in the same epoch are refused as well.",
    classes: &[
        (Legality::Legal, "FEATURES_OK"),
        (
            Legality::Grey,
            "FEATURES_OK, for a set of features that was accepted before",
        ),
        (Legality::Illegal, "any other bit"),
    ],
    sentence: "A device that can't work with the features the driver accepted does not set FEATURES_OK; it should not refuse a set that it took before.",
    section: "2.2.2, 3.1.1",
    args: &[Arg {
        name: "bit",
        kind: "status bit",
        default: Some("FEATURES_OK"),
        words: "ACK, DRIVER, FEATURES_OK, DRIVER_OK or FAILED",
    }],
    needs: Needs::StatusWrite,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "status.+FEATURES_OK"
do = "status.refuse"
args = { bit = "FEATURES_OK" }
"#,
    build: |args, _| {
        let name = args.word("bit")?.unwrap_or("FEATURES_OK");
        let bit = Status::bit_named(name)
            .filter(|bit| *bit != Status::NEEDS_RESET)
            .ok_or_else(|| {
                args.error(
                    "bit",
                    format!("`{name}` is not a bit that a driver sets: expected ACK, DRIVER, FEATURES_OK, DRIVER_OK or FAILED"),
                )
            })?;
        Ok(Box::new(Refuse {
            bit,
            refuses: false,
            took: None,
        }))
    },
};

#[derive(Clone, Debug)]
struct Refuse {
    bit: u8,
    /// It refused the bit in this epoch.
    refuses: bool,
    /// The features that were accepted last with FEATURES_OK.
    took: Option<u128>,
}

impl Act for Refuse {
    fn class(&self, world: &Device) -> Legality {
        match self.bit {
            Status::FEATURES_OK if self.took == Some(world.accepted) => Legality::Grey,
            Status::FEATURES_OK => Legality::Legal,
            _ => Legality::Illegal,
        }
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "status".to_owned()
    }

    fn rewrite(&mut self, access: &mut Access, firing: Firing, world: &Device) -> bool {
        let Some(written) = writes_status(access).filter(|status| *status != 0) else {
            return true;
        };
        self.refuses |= firing.now;
        if !self.refuses {
            if written & Status::FEATURES_OK != 0 {
                self.took = Some(world.accepted);
            }
            return true;
        }
        let heard = written & !self.bit;
        access.val = access.val.map(|val| (val & !0xff) | u64::from(heard));
        // What is left must not look like a reset.
        heard != 0
    }

    fn reset(&mut self) {
        self.refuses = false;
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::CommonCfg;
    use crate::trace::{Effect, Legality};

    #[test]
    fn the_bit_does_not_stick_for_the_whole_epoch() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.negotiate();
        let outcome = rig.write(cc(CommonCfg::DeviceStatus), 0xb);
        assert_eq!(outcome.fired[0].class, Legality::Legal);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 3);
        let outcome = rig.write(cc(CommonCfg::DeviceStatus), 0xf);
        assert!(outcome.fired.is_empty());
        assert!(!outcome.shown.iter().any(|e| matches!(e, Effect::Start(_))));
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 7);
    }

    #[test]
    fn the_next_epoch_is_another_matter() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.bring_up_after_reset();
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 7);
        rig.bring_up_after_reset();
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xf);
    }

    #[test]
    fn refusing_what_was_taken_before_is_grey() {
        let mut rig = Rig::block(&["on = 'status.+FEATURES_OK'\nnth = 2\ndo = 'status.refuse'"]);
        rig.bring_up_after_reset();
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        rig.negotiate();
        let outcome = rig.write(cc(CommonCfg::DeviceStatus), 0xb);
        assert_eq!(outcome.fired[0].class, Legality::Grey);
    }

    #[test]
    fn a_refused_first_bit_is_not_heard_as_a_reset() {
        let mut rig =
            Rig::block(&["on = 'status.+ACK'\ndo = 'status.refuse'\nargs = { bit = 'ACK' }"]);
        let epoch = rig.injector.world().epoch;
        let outcome = rig.write(cc(CommonCfg::DeviceStatus), 1);
        assert_eq!(outcome.heard, Some(vec![]));
        assert_eq!(outcome.fired[0].class, Legality::Illegal);
        assert_eq!(rig.injector.world().epoch, epoch);
    }

    #[test]
    fn only_a_bit_of_the_driver_can_be_refused() {
        let error = Rig::refused(
            "on = 'status.+ACK'\ndo = 'status.refuse'\nargs = { bit = 'NEEDS_RESET' }",
        );
        assert!(
            error.message.contains("is not a bit that a driver sets"),
            "{error}"
        );
    }
}

//! `status.override`

use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::reg::{How, Place, Shown};
use crate::spec::{CommonCfg, Field};
use crate::trace::Legality;

/// The status reads as another value.
pub static VERB: Verb = Verb {
    name: "status.override",
    summary: "device_status reads as another value than the device holds: at a read of it that is the trigger, or from any other trigger on until the next reset, or as `until` says.",
    classes: &[(Legality::Illegal, "")],
    sentence: "device_status shows the bits that the driver has set and the device has taken, and 0 after a reset.",
    section: "2.1, 2.1.2, 4.1.4.3.1",
    args: &[Arg {
        name: "val",
        kind: "number, or expression",
        default: None,
        words: "what it reads as; in an expression `val` is the true value, and ACK, DRIVER, … are its bits",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "cc.device_status.rd"
where = "bits(status, DRIVER_OK) != 0"
do = "status.override"
args = { val = 0 }
"#,
    build: |args, shape| {
        let val = args.number("val")?.ok_or_else(|| args.missing("val"))?;
        let place = Place::of(Field::Common(CommonCfg::DeviceStatus), shape);
        Ok(Box::new(Shown::new(
            place,
            How::Value(val),
            Legality::Illegal,
        )))
    },
};

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::CommonCfg as C;

    #[test]
    fn the_status_is_another_and_the_device_goes_by_the_true_one() {
        let mut rig = Rig::block(&[
            "on = 'cc.device_status.rd'\nnth = 2\ndo = 'status.override'\nargs = { val = 'val + 128' }",
        ]);
        rig.write(cc(C::DeviceStatus), 3);
        assert_eq!(rig.read(cc(C::DeviceStatus)), 3);
        assert_eq!(rig.read(cc(C::DeviceStatus)), 131);
        assert_eq!(rig.read(cc(C::DeviceStatus)), 3);
        assert_eq!(rig.injector.world().status.0, 3);
    }
}

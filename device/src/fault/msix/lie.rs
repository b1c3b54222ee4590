//! `msix.lie`

use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::reg::{How, Place, Shown};
use crate::spec::Field;
use crate::trace::Legality;

/// MSI-X message control or the pending bits read otherwise.
pub static VERB: Verb = Verb {
    name: "msix.lie",
    summary: "Message Control of the MSI-X capability, or the pending bits, read as another value than the device holds: at a read of it that is the trigger, or from any other trigger on until the next reset, or as `until` says. The masks of the table are shown by the VMM, which the device can not change.",
    classes: &[(Legality::Illegal, "")],
    sentence: "Message Control shows how many entries there are and what the driver wrote; a pending bit is set as long as its message waits (PCI 3.0, 6.8.2.3 and 6.8.2.10).",
    section: "4.1.5.1.2",
    args: &[
        Arg {
            name: "what",
            kind: "\"ctl\" or \"pba\"",
            default: Some("ctl"),
            words: "Message Control, or the first 64 pending bits",
        },
        Arg {
            name: "val",
            kind: "number, or expression",
            default: None,
            words: "what it reads as; in an expression `val` is the true value",
        },
    ],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "pci.msixctl.rd"
nth = "1.."
do = "msix.lie"
args = { what = "ctl", val = "xor(val, 0x8000)" }
"#,
    build: |args, shape| {
        if shape.table_size() == 0 {
            return Err(args.error("what", "`msix.lie` is impossible on a device without MSI-X"));
        }
        let field = match args.word("what")?.unwrap_or("ctl") {
            "ctl" => Field::MsixControl,
            "pba" => Field::Pba,
            "mask" => {
                return Err(args.error(
                    "what",
                    "the masks of the table can't be shown otherwise: the VMM keeps the table",
                ));
            }
            other => {
                return Err(args.error(
                    "what",
                    format!("what = \"{other}\": expected \"ctl\" or \"pba\""),
                ));
            }
        };
        let val = args.number("val")?.ok_or_else(|| args.missing("val"))?;
        let place = Place::of(field, shape);
        Ok(Box::new(Shown::new(
            place,
            How::Value(val),
            Legality::Illegal,
        )))
    },
};

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::Field;

    #[test]
    fn message_control_and_the_pending_bits_read_otherwise() {
        let mut rig = Rig::block(&[
            "on = 'pci.msixctl.rd'\ndo = 'msix.lie'\nargs = { val = 'xor(val, 0x8000)' }",
            "on = 'host:now'\ndo = 'msix.lie'\nargs = { what = 'pba', val = 5 }",
        ]);
        assert_eq!(rig.read(Field::MsixControl), 0x8002);
        assert_eq!(rig.read(Field::MsixControl), 0x0002);
        assert_eq!(rig.read(Field::Pba), 0);
        rig.host("now");
        assert_eq!(rig.read(Field::Pba), 5);
    }

    #[test]
    fn the_masks_of_the_table_are_the_vmms() {
        let error = Rig::refused("on = 'live'\ndo = 'msix.lie'\nargs = { what = 'mask', val = 1 }");
        assert!(error.message.contains("the VMM keeps the table"));
    }
}

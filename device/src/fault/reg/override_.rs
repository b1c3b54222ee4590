//! `reg.override`

use super::place::Place;
use super::shown::{How, Shown};
use crate::fault::catalogue::{ALL, Arg, Needs, OURS, Verb};
use crate::fault::error::nearest;
use crate::shape::Kind;
use crate::spec::{CommonCfg, Field};
use crate::trace::Legality;

/// A register reads as another value.
pub static VERB: Verb = Verb {
    name: "reg.override",
    summary: "A register reads as another value than the device holds: at a read of it that is the trigger, or from any other trigger on until the next reset, or as `until` says.",
    classes: &[
        (
            Legality::Legal,
            "cc.queue_size or cc.num_queues, with a smaller value that a device may have",
        ),
        (Legality::Illegal, "anything else"),
    ],
    sentence: "What a register reads as is what the device is and does; a queue's size and the number of queues are the device's choice.",
    section: "4.1.4.3, 4.1.4.3.1, 2.5",
    args: &[
        Arg {
            name: "field",
            kind: "register",
            default: None,
            words: "the register, such as cc.queue_size, dev.34 or pci.msixctl",
        },
        Arg {
            name: "val",
            kind: "number, or expression",
            default: None,
            words: "what it reads as; in an expression `val` is the true value",
        },
        Arg {
            name: "q",
            kind: "queue",
            default: Some("all"),
            words: "for a register that there is for each queue: of which one",
        },
        Arg {
            name: "reads",
            kind: "number",
            default: Some("as `until` says"),
            words: "for how many reads, the one at which it fires included",
        },
    ],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "cc.queue_size.rd"
where = "q == 0"
do = "reg.override"
args = { field = "cc.queue_size", val = 0 }
"#,
    build: |args, shape| {
        let name = args.word("field")?.ok_or_else(|| args.missing("field"))?;
        let field = name.parse::<Field>().map_err(|unknown| {
            args.error("field", unknown.to_string())
                .help(nearest(name, Field::names()))
        })?;
        let virtio = matches!(
            field,
            Field::Common(_) | Field::Legacy(_) | Field::Isr | Field::Device(_)
        );
        let never = match field.as_modern() {
            Field::MsixEntry(_) => Some("the VMM shows the MSI-X table, not the device"),
            Field::Notify => Some("a notification is not read"),
            Field::Port(_) | Field::PortEvents(_) if shape.kind != Kind::PortCard => {
                Some("only a port-card has ports")
            }
            _ if virtio && shape.kind == Kind::PortCard => {
                Some("a port-card has no virtio registers")
            }
            Field::Common(CommonCfg::DeviceStatus) => Some("use `status.override`"),
            Field::Common(CommonCfg::ConfigGeneration) => Some("use `gen.freeze` or `gen.churn`"),
            Field::Isr => Some("use `isr.override` or `isr.add`"),
            _ => None,
        };
        if let Some(why) = never {
            return Err(args.error("field", format!("`{name}` can't be overridden: {why}")));
        }
        let val = args.number("val")?.ok_or_else(|| args.missing("val"))?;
        let queues = u64::from(shape.queues);
        let mut shown = Shown::new(Place::of(field, shape), How::Value(val), Legality::Illegal);
        shown.q = args
            .integer("q", 0..=queues.saturating_sub(1))?
            .map(|q| q as u16);
        shown.reads = args.integer("reads", 1..=u64::MAX)?;
        Ok(Box::new(shown))
    },
};

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::{CommonCfg as C, Field};

    #[test]
    fn a_smaller_queue_is_shown_and_is_one() {
        let mut rig = Rig::block(&[
            "on = 'cc.queue_size.rd'\ndo = 'reg.override'\nargs = { field = 'cc.queue_size', val = 8 }",
        ]);
        let outcome = rig.read_outcome(cc(C::QueueSize));
        assert_eq!(rig.shown_value(&outcome), Some(8));
        assert_eq!(format!("{:?}", outcome.fired[0].class), "Legal");
        assert_eq!(rig.read(cc(C::QueueSize)), 8, "the device took it");
    }

    #[test]
    fn a_size_of_nothing_is_shown_and_is_not() {
        let mut rig = Rig::block(&[
            "on = 'cc.queue_size.rd'\ndo = 'reg.override'\nargs = { field = 'cc.queue_size', val = 0 }",
        ]);
        assert_eq!(rig.read(cc(C::QueueSize)), 0);
        assert_eq!(rig.read(cc(C::QueueSize)), 128);
    }

    #[test]
    fn it_goes_on_until_the_reset_or_for_so_many_reads() {
        let fault = "on = 'host:now'\ndo = 'reg.override'\nargs = { field = 'dev.34', val = 7 }";
        let mut rig = Rig::block(&[fault]);
        rig.host("now");
        assert_eq!(rig.read(Field::Device(34)) & 0xffff, 7);
        assert_eq!(rig.read(Field::Device(34)) & 0xffff, 7);
        rig.write(cc(C::DeviceStatus), 0);
        assert_eq!(rig.read(Field::Device(34)) & 0xffff, 0);
        let twice = "on = 'host:now'\ndo = 'reg.override'\nargs = { field = 'cc.num_queues', val = 'val + 5', reads = 2 }";
        let mut rig = Rig::block(&[twice]);
        rig.host("now");
        let mut read = || rig.read(cc(C::NumQueues));
        assert_eq!([read(), read(), read()], [7, 7, 2]);
    }

    #[test]
    fn what_has_a_fault_of_its_own_is_refused() {
        for (field, expected) in [
            ("cc.device_status", "use `status.override`"),
            ("msix.0", "the VMM shows the MSI-X table"),
            ("port.doorbell", "only a port-card has ports"),
            ("cc.queue_sise", "is not a register"),
        ] {
            let text = format!(
                "on = 'live'\ndo = 'reg.override'\nargs = {{ field = '{field}', val = 1 }}"
            );
            let error = Rig::refused(&text);
            assert!(error.message.contains(expected), "{}", error.message);
        }
    }
}

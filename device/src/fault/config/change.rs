//! `cfg.change`

use toml::Value;

use crate::fault::act::Act;
use crate::fault::args::Args;
use crate::fault::bench::{Bench, Hear};
use crate::fault::catalogue::{Arg, BOTH, Needs, VIRTIO, Verb};
use crate::fault::error::{FaultError, nearest};
use crate::fault::host::config_input;
use crate::fault::trigger::Occasion;
use crate::shape::Attach;
use crate::spec::{ConfigField, DeviceType, NetConfig};
use crate::trace::{Cause, Device, Legality};

/// The device configuration changes.
pub static VERB: Verb = Verb {
    name: "cfg.change",
    summary: "A field of the device configuration takes another value, with its interrupt, without one, or together with the next interrupt of a queue.",
    classes: &[
        (Legality::Legal, "irq = true or \"merge:q<n>\""),
        (
            Legality::Illegal,
            "irq = false: nobody is told; or field = \"mtu\", which stays as it is (5.1.4.1)",
        ),
    ],
    sentence: "When the configuration changes, the device sends a configuration change notification.",
    section: "4.1.5.4, 4.1.4.5.1",
    args: &[
        Arg {
            name: "field",
            kind: "field of the device's configuration",
            default: Some("capacity"),
            words: "the field that changes",
        },
        Arg {
            name: "val",
            kind: "number",
            default: None,
            words: "its new value (capacity: sectors of 512 bytes)",
        },
        Arg {
            name: "add",
            kind: "number",
            default: Some(""),
            words: "in place of `val`: what is added to its value; only for capacity, which is known",
        },
        Arg {
            name: "from",
            kind: "number",
            default: Some(""),
            words: "with `to`, in place of `val`: the value that it takes if it has that of `to` already; only for capacity",
        },
        Arg {
            name: "to",
            kind: "number",
            default: Some(""),
            words: "with `from`: the value that it takes, so that repeated changes go back and forth",
        },
        Arg {
            name: "irq",
            kind: "true, false or \"merge:q<n>\"",
            default: Some("true"),
            words: "whether the driver is told, and with which queue's interrupt",
        },
    ],
    needs: Needs::Anything,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "complete[q0]"
nth = 100
do = "cfg.change"
args = { field = "capacity", add = 2048, irq = "merge:q0" }
"#,
    build: |args, shape| {
        let name = args.word("field")?.unwrap_or("capacity");
        let device = shape.kind.device_type().unwrap_or(&DeviceType::BLOCK);
        let field = device.config_named(name).ok_or_else(|| {
            args.error(
                "field",
                format!("`{name}` is not a field of {}", device.structure),
            )
            .help(nearest(name, device.config.iter().map(|f| f.name)))
        })?;
        let value = To::read(args, field)?;
        let told = match args.value("irq") {
            None | Some(Value::Boolean(true)) => Told::Now,
            Some(Value::Boolean(false)) => Told::Never,
            Some(Value::String(text)) => {
                let queue = text.strip_prefix("merge:").and_then(|c| c.parse().ok());
                match queue {
                    Some(Cause::Queue(q)) if q < shape.queues => Told::With(Cause::Queue(q)),
                    Some(Cause::Queue(_)) => {
                        return Err(args.error(
                            "irq",
                            format!(
                                "irq = \"{text}\": the device has queues 0 to {}",
                                shape.queues.saturating_sub(1)
                            ),
                        ));
                    }
                    _ => {
                        return Err(args.error(
                            "irq",
                            format!("irq = \"{text}\": expected true, false or \"merge:q<n>\""),
                        ));
                    }
                }
            }
            Some(other) => {
                return Err(args.error(
                    "irq",
                    format!("irq = {other}: expected true, false or \"merge:q<n>\""),
                ));
            }
        };
        if shape.attach == Attach::VhostUser && matches!(told, Told::With(_)) {
            return Err(args.error(
                "irq",
                "\"merge:…\" is impossible with attach = \"vhost-user\": QEMU sends the messages there",
            ));
        }
        Ok(Box::new(Change { field, value, told }))
    },
};

#[derive(Clone, Copy, Debug)]
enum To {
    Value(u64),
    Sum(u64),
    Either { from: u64, to: u64 },
}

impl To {
    fn read(args: &Args<'_>, field: &ConfigField) -> Result<Self, FaultError> {
        let number = |name| args.integer(name, 0..=field.most());
        let known = |name: &str| {
            if field.name == "capacity" {
                return Ok(());
            }
            Err(args.error(
                name,
                format!(
                    "the value of `{}` is not known: expected `val`, or `field = \"capacity\"`",
                    field.name
                ),
            ))
        };
        match (
            number("val")?,
            number("add")?,
            number("from")?,
            number("to")?,
        ) {
            (Some(val), None, None, None) => Ok(Self::Value(val)),
            (None, Some(add), None, None) => known("add").map(|()| Self::Sum(add)),
            (None, None, Some(from), Some(to)) => known("from").map(|()| Self::Either { from, to }),
            (None, None, Some(_), None) => Err(args.missing("to")),
            (None, None, None, Some(_)) => Err(args.missing("from")),
            (None, None, None, None) => Err(args.missing("val")),
            (_, Some(_), _, _) => Err(args.error("add", "expected either `val` or `add`")),
            _ => Err(args.error("from", "expected either `val`, or `from` and `to`")),
        }
    }

    fn value(self, now: u64) -> u64 {
        match self {
            Self::Value(value) => value,
            Self::Sum(add) => now.wrapping_add(add),
            Self::Either { from, to } if now == to => from,
            Self::Either { to, .. } => to,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Told {
    Now,
    Never,
    With(Cause),
}

#[derive(Clone, Debug)]
struct Change {
    field: &'static ConfigField,
    value: To,
    told: Told,
}

impl Act for Change {
    fn class(&self, _world: &Device) -> Legality {
        match self.told {
            Told::Never => Legality::Illegal,
            _ if self.field == &NetConfig::Mtu.field() => Legality::Illegal,
            _ => Legality::Legal,
        }
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        Cause::Config.to_string()
    }

    fn fire(&mut self, occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let value = self.value.value(bench.state.config_value(self.field));
        let Some(input) = config_input(self.field, value) else {
            return;
        };
        match self.told {
            Told::Now => bench.hear(Hear::plain(input)),
            Told::Never => bench.hear(Hear {
                muted: true,
                ..Hear::plain(input)
            }),
            Told::With(with) => {
                let due_now = matches!(
                    occasion,
                    Occasion::Irq { sent: false, cause, .. } if *cause == with
                );
                bench.merge(with, input, due_now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::Field;
    use crate::trace::{Cause, Effect, Input};

    fn capacity(sectors: u64) -> Input {
        Input::Config {
            offset: 0,
            bytes: sectors.to_le_bytes().to_vec(),
        }
    }

    #[test]
    fn the_driver_is_told_of_a_change() {
        let mut rig = Rig::block(&["on = 'host:grow'\ndo = 'cfg.change'\nargs = { val = 4096 }"]);
        rig.bring_up();
        let outcome = rig.host("grow");
        assert_eq!(outcome.heard.unwrap()[0], capacity(4096));
        assert!(
            matches!(outcome.shown.as_slice(), [Effect::Message(m)] if m.cause == Cause::Config)
        );
        assert_eq!(rig.read(Field::Device(0)), 4096);
    }

    #[test]
    fn a_sum_is_taken_of_the_value_as_it_is() {
        let mut rig =
            Rig::block(&["on = 'host:grow'\nnth = '1..'\ndo = 'cfg.change'\nargs = { add = 8 }"]);
        rig.bring_up();
        rig.host("grow");
        assert_eq!(rig.read(Field::Device(0)), 2048 + 8);
        rig.input(capacity(100));
        rig.host("grow");
        assert_eq!(rig.read(Field::Device(0)), 108);
    }

    #[test]
    fn nobody_is_told_of_a_silent_change() {
        let mut rig =
            Rig::block(&["on = 'host:grow'\ndo = 'cfg.change'\nargs = { val = 1, irq = false }"]);
        rig.bring_up();
        let outcome = rig.host("grow");
        assert!(outcome.shown.is_empty());
        assert_eq!(rig.read(Field::Device(0)), 1);
    }

    #[test]
    fn one_isr_value_carries_both_events() {
        let mut rig = Rig::block(&[
            "on = 'complete[q0]'\ndo = 'cfg.change'\nargs = { val = 1, irq = 'merge:q0' }",
        ]);
        rig.bring_up_intx();
        let outcome = rig.input(Input::Complete {
            queue: 0,
            head: 0,
            len: 1,
        });
        assert_eq!((outcome.fired.len(), outcome.shown.len()), (1, 0));
        assert_eq!(outcome.heard, None);
        let outcome = rig.input(Input::Used { queue: 0 });
        assert_eq!(
            outcome.heard,
            Some(vec![Input::Used { queue: 0 }, capacity(1)])
        );
        assert_eq!(outcome.shown.as_slice(), [Effect::Pin(true)]);
        assert_eq!(rig.read(Field::Isr), 3);
    }

    #[test]
    fn one_message_carries_both_events_where_they_share_it() {
        let mut rig = Rig::block_with(
            "queues = 2\nmsix = 1",
            &[
                "on = 'irq.due[q0]'\nnth = 2\ndo = 'cfg.change'\nargs = { val = 1, irq = 'merge:q0' }",
            ],
        );
        rig.bring_up_on(0, 0);
        assert_eq!(rig.input(Input::Used { queue: 0 }).shown.len(), 1);
        let outcome = rig.input(Input::Used { queue: 0 });
        assert!(
            matches!(outcome.shown.as_slice(), [Effect::Message(m)] if m.cause == Cause::Queue(0))
        );
        assert_eq!(rig.read(Field::Device(0)), 1);
    }

    #[test]
    fn what_can_not_be_done_is_refused() {
        for (args, message) in [
            (
                "",
                "`cfg.change` needs the argument `val`: its new value (capacity: sectors of 512 bytes)",
            ),
            (
                "field = 'seg_maximum', val = 1",
                "`seg_maximum` is not a field of virtio_blk_config",
            ),
            (
                "field = 'writeback', val = 256",
                "val = 256: expected a number from 0 to 255",
            ),
            (
                "field = 'seg_max', add = 1",
                "the value of `seg_max` is not known: expected `val`, or `field = \"capacity\"`",
            ),
            (
                "val = 1, irq = 'merge:q7'",
                "irq = \"merge:q7\": the device has queues 0 to 1",
            ),
            (
                "val = 1, irq = 'later'",
                "irq = \"later\": expected true, false or \"merge:q<n>\"",
            ),
            (
                "val = 1, vall = 2",
                "`cfg.change` has no argument `vall`: it has field, val, add, from, to, irq",
            ),
        ] {
            let error = Rig::refused(&format!(
                "on = 'live'\ndo = 'cfg.change'\nargs = {{ {args} }}"
            ));
            assert_eq!(error.message, message);
        }
    }

    #[test]
    fn it_goes_back_and_forth_between_two_values() {
        let mut rig = Rig::block(&[
            "on = 'host:now'\nnth = '1..'\ndo = 'cfg.change'\nargs = { from = 0xffffffff, to = 0x100000000 }",
        ]);
        let mut change = || {
            rig.host("now");
            let low = rig.read(Field::Device(0)) & 0xffff_ffff;
            low | rig.read(Field::Device(4)) << 32
        };
        assert_eq!(
            [change(), change(), change()],
            [1 << 32, 0xffff_ffff, 1 << 32]
        );
        let error = Rig::refused("on = 'live'\ndo = 'cfg.change'\nargs = { from = 1 }");
        assert!(error.message.contains("to"), "{}", error.message);
    }
}

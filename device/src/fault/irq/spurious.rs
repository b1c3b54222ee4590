//! `irq.spurious`

use toml::Value;

use super::{GAP, gap};
use crate::endpoint::Nanos;
use crate::fault::act::Act;
use crate::fault::bench::{Bench, MAX_SENT, Scene, State};
use crate::fault::catalogue::{ALL, Arg, BOTH, Needs, Verb};
use crate::fault::trigger::{Occasion, Source};
use crate::shape::{Attach, Kind};
use crate::trace::{Cause, Device, Effect, IrqKind, Legality};

/// An interrupt comes for nothing.
pub static VERB: Verb = Verb {
    name: "irq.spurious",
    summary: "Interrupts come although nothing happened. On the line: one assertion, which ends when the driver reads the ISR status and finds 0.",
    classes: &[
        (Legality::Legal, "src: the message of an event"),
        (Legality::Grey, "entry: a message whatever is mapped to it"),
    ],
    sentence: "A driver copes with a notification for which there is nothing to do.",
    section: "2.7.7.1, 4.1.5.3",
    args: &[
        Arg {
            name: "src",
            kind: "q<n>, cfg or port<n>",
            default: None,
            words: "the event whose message is sent; or `entry` in its place",
        },
        Arg {
            name: "entry",
            kind: "table entry, message number, or \"all\"",
            default: Some(""),
            words: "in place of `src`: the message that is sent, or all that the device can send",
        },
        Arg {
            name: "n",
            kind: "number, up to 4096 messages in all",
            default: Some("1"),
            words: "how often; on the line always once",
        },
        GAP,
    ],
    needs: Needs::Anything,
    attachments: BOTH,
    kinds: ALL,
    example: r#"
on = "status.+DRIVER_OK!"
do = "irq.spurious"
args = { src = "cfg" }
"#,
    build: |args, shape| {
        let messages = u64::from(shape.table_size().max(shape.msi));
        let what = match (args.word("src"), args.value("entry")) {
            (Ok(Some(_)) | Err(_), Some(_)) => {
                return Err(args.error("entry", "expected either `src` or `entry`"));
            }
            (Err(error), None) => return Err(error),
            (Ok(None), None) => return Err(args.missing("src")),
            (Ok(Some(text)), None) => match (Source::parse(text), shape.kind) {
                (Ok(Source::Event(cause @ Cause::Queue(q))), kind)
                    if kind.is_virtio() && q < shape.queues =>
                {
                    What::Event(cause)
                }
                (Ok(Source::Event(Cause::Config)), kind) if kind.is_virtio() => {
                    What::Event(Cause::Config)
                }
                (Ok(Source::Event(cause @ Cause::Port(p))), Kind::PortCard)
                    if u16::from(p) < shape.ports =>
                {
                    What::Event(cause)
                }
                _ => {
                    let expected = if shape.kind.is_virtio() {
                        format!("q0 to q{} or cfg", shape.queues.saturating_sub(1))
                    } else {
                        format!("port0 to port{}", shape.ports.saturating_sub(1))
                    };
                    return Err(args.error("src", format!("src = \"{text}\": expected {expected}")));
                }
            },
            (Ok(None), Some(_)) if shape.attach == Attach::VhostUser => {
                return Err(args
                    .error("entry", "`entry` is impossible with attach = \"vhost-user\": QEMU owns the MSI-X table there")
                    .help("use `src`".to_owned()));
            }
            (Ok(None), Some(Value::String(text))) if text == "all" => What::All,
            (Ok(None), Some(_)) if messages == 0 => {
                return Err(args.error("entry", "the device has neither MSI-X nor MSI"));
            }
            (Ok(None), Some(Value::Integer(_))) => {
                let entry = args.integer("entry", 0..=messages - 1)?.unwrap_or(0);
                What::Entry(entry as u16)
            }
            (Ok(None), Some(other)) => {
                return Err(args.error(
                    "entry",
                    format!("entry = {other}: expected a number or \"all\""),
                ));
            }
        };
        let each = match what {
            What::All => MAX_SENT / messages.max(1),
            _ => MAX_SENT,
        };
        let times = args.integer("n", 1..=each)?.unwrap_or(1);
        let gap = gap(args)?;
        Ok(Box::new(Spurious { what, times, gap }))
    },
};

#[derive(Clone, Copy, Debug)]
enum What {
    Event(Cause),
    Entry(u16),
    All,
}

#[derive(Clone, Debug)]
struct Spurious {
    what: What,
    times: u64,
    gap: Nanos,
}

impl Spurious {
    /// The messages that it would send now.
    fn messages(&self, state: &State, world: &Device) -> Vec<(IrqKind, u16)> {
        let Some((kind, count)) = State::messages(world) else {
            return Vec::new();
        };
        let wanted = match self.what {
            What::Event(cause) => match State::mapped(world, cause) {
                Some((_, entry)) => entry..entry + 1,
                None => 0..0,
            },
            What::Entry(entry) => entry..entry + 1,
            What::All => 0..count,
        };
        wanted
            .filter(|entry| state.may_send(world, kind, *entry))
            .map(|entry| (kind, entry))
            .collect()
    }
}

fn behind_qemu(world: &Device) -> bool {
    world.shape.attach == Attach::VhostUser
}

impl Act for Spurious {
    fn class(&self, _world: &Device) -> Legality {
        match self.what {
            What::Event(_) => Legality::Legal,
            What::Entry(_) | What::All => Legality::Grey,
        }
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        match self.what {
            What::Event(cause) => cause.to_string(),
            What::Entry(entry) => format!("e{entry}"),
            What::All => "device".to_owned(),
        }
    }

    fn applies(&self, _occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        behind_qemu(scene.world)
            || !self.messages(scene.state, scene.world).is_empty()
            || (State::may_assert(scene.world) && !scene.state.line.shown)
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        if behind_qemu(bench.world) {
            let effect = match self.what {
                What::Event(Cause::Queue(queue)) => Effect::Call { queue },
                _ => Effect::ConfigChanged,
            };
            bench.emit(effect, self.times, self.gap);
            return;
        }
        let messages = self.messages(bench.state, bench.world);
        for (kind, entry) in &messages {
            bench.send(*kind, *entry, self.times, self.gap);
        }
        if messages.is_empty() {
            bench.state.line.extra = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig};
    use crate::spec::Field;
    use crate::trace::{Cause, Effect, Input, Message};

    fn sent(effects: &[Effect]) -> Vec<Message> {
        effects
            .iter()
            .filter_map(|e| match e {
                Effect::Message(m) => Some(*m),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn the_message_of_an_event_comes_for_nothing() {
        let mut rig =
            Rig::block(&["on = 'host:now'\ndo = 'irq.spurious'\nargs = { src = 'q1', n = 2 }"]);
        rig.bring_up();
        for outcome in [rig.host("now"), rig.at(rig.now + MS, Input::Time)] {
            let messages = sent(&outcome.shown);
            let told: Vec<_> = messages.iter().map(|m| (m.entry, m.cause)).collect();
            assert_eq!(told, [(2, Cause::None)]);
        }
        assert_eq!(rig.injector.deadline(), None);
    }

    #[test]
    fn without_a_gap_all_come_at_once() {
        let mut rig = Rig::block(&[
            "on = 'host:now'\ndo = 'irq.spurious'\nargs = { src = 'q1', n = 5, gap = '0s' }",
        ]);
        rig.bring_up();
        assert_eq!(rig.host("now").shown.len(), 5);
        assert_eq!(rig.injector.deadline(), None);
    }

    #[test]
    fn every_entry_that_is_wired_fires() {
        let mut rig = Rig::block_with(
            "queues = 2\nmsix = 8",
            &["on = 'host:now'\ndo = 'irq.spurious'\nargs = { entry = 'all' }"],
        );
        rig.bring_up();
        let entries: Vec<_> = sent(&rig.host("now").shown)
            .iter()
            .map(|m| m.entry)
            .collect();
        assert_eq!(entries, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn on_the_line_it_is_one_pulse_with_isr_0() {
        let mut rig =
            Rig::block(&["on = 'host:now'\ndo = 'irq.spurious'\nargs = { entry = 'all', n = 3 }"]);
        rig.bring_up_intx();
        assert_eq!(rig.host("now").shown.as_slice(), [Effect::Pin(true)]);
        let outcome = rig.read_outcome(Field::Isr);
        assert_eq!(
            outcome.shown.as_slice(),
            [Effect::Value(0), Effect::Pin(false)]
        );
    }

    #[test]
    fn a_real_interrupt_during_the_pulse_is_not_lost() {
        let mut rig = Rig::block(&["on = 'host:now'\ndo = 'irq.spurious'\nargs = { src = 'q0' }"]);
        rig.bring_up_intx();
        rig.host("now");
        rig.input(Input::Used { queue: 0 });
        assert!(rig.injector.world().pin);
        assert_eq!(rig.read(Field::Isr), 1);
        assert!(!rig.injector.world().pin);
    }

    #[test]
    fn it_does_not_fire_before_anything_can_be_sent() {
        let mut rig = Rig::block_with(
            "queues = 1\npin = false",
            &["on = 'host:now'\ndo = 'irq.spurious'\nargs = { entry = 0 }"],
        );
        assert!(rig.host("now").fired.is_empty());
        rig.bring_up();
        assert_eq!(rig.host("now").fired.len(), 1);
    }

    #[test]
    fn behind_qemu_it_is_a_call() {
        let mut rig = Rig::block_with(
            "attach = 'vhost-user'\nqueues = 2",
            &["on = 'host:now'\ndo = 'irq.spurious'\nargs = { src = 'q1' }"],
        );
        assert_eq!(
            rig.host("now").shown.as_slice(),
            [Effect::Call { queue: 1 }]
        );
    }

    #[test]
    fn what_can_not_be_sent_is_refused() {
        for (args, message) in [
            (
                "",
                "`irq.spurious` needs the argument `src`: the event whose message is sent; or `entry` in its place",
            ),
            ("src = 'q0', entry = 1", "expected either `src` or `entry`"),
            ("src = 'q2'", "src = \"q2\": expected q0 to q1 or cfg"),
            ("entry = 3", "entry = 3: expected a number from 0 to 2"),
            (
                "entry = 'every'",
                "entry = \"every\": expected a number or \"all\"",
            ),
            (
                "entry = 'all', n = 2000",
                "n = 2000: expected a number from 1 to 1365",
            ),
        ] {
            let error = Rig::refused(&format!(
                "on = 'live'\ndo = 'irq.spurious'\nargs = {{ {args} }}"
            ));
            assert_eq!(error.message, message);
        }
    }
}

//! `irq.delay`

use super::{carrier, object};
use crate::endpoint::Nanos;
use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{ALL, Arg, BOTH, Needs, Verb};
use crate::fault::trigger::{Carrier, Occasion};
use crate::trace::{Device, Legality};

/// An interrupt comes late.
pub static VERB: Verb = Verb {
    name: "irq.delay",
    summary: "An interrupt comes later than it is due: after a time, or with a command of the host, which lets all come that was kept until then, in order. A reset forgets it; a line that the driver has served in between is not raised.",
    classes: &[(Legality::Legal, "")],
    sentence: "A device sends a notification when buffers are used; no text says how soon.",
    section: "2.3, 4.1.5.3",
    args: &[
        Arg {
            name: "t",
            kind: "time",
            default: None,
            words: "how much later; or `host` in its place",
        },
        Arg {
            name: "rand",
            kind: "time",
            default: Some("0s"),
            words: "up to this much is added to `t`, from the seed",
        },
        Arg {
            name: "host",
            kind: "text",
            default: None,
            words: "the command of the host until which it is kept, instead of for a time",
        },
    ],
    needs: Needs::Interrupt,
    attachments: BOTH,
    kinds: ALL,
    example: r#"
on = "irq.due[any]"
nth = "*/10"
do = "irq.delay"
args = { t = "5ms", rand = "20ms" }
"#,
    build: |args, _| {
        let (time, rand) = (args.time("t")?, args.time("rand")?);
        let until = match (time, args.word("host")?) {
            (None, None) => return Err(args.missing("t")),
            (Some(time), None) => Until::Time {
                time,
                rand: rand.unwrap_or(0),
            },
            (None, Some(command)) if rand.is_none() => Until::Host(command.to_owned()),
            _ => {
                let message = "`irq.delay` takes a time (`t`, `rand`) or a command (`host`)";
                return Err(args.error("host", message));
            }
        };
        Ok(Box::new(Delay { until }))
    },
};

#[derive(Clone, Debug)]
struct Delay {
    until: Until,
}

#[derive(Clone, Debug)]
enum Until {
    Time { time: Nanos, rand: Nanos },
    Host(String),
}

impl Act for Delay {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Legal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        object(occasion)
    }

    fn applies(&self, occasion: &Occasion<'_>, _scene: &Scene<'_>) -> bool {
        carrier(occasion) != Some(Carrier::Line { up: true })
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let Some(fate) = &mut bench.fate else {
            return;
        };
        match self.until {
            Until::Time { time, rand } => {
                let delay = time.saturating_add(bench.rng.u64(0..=rand));
                fate.delay = Some(fate.delay.unwrap_or(0).saturating_add(delay));
            }
            Until::Host(_) => fate.kept = Some(bench.index),
        }
    }

    fn released_by(&self, command: &str) -> bool {
        matches!(&self.until, Until::Host(host) if host == command)
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::bench::MAX_HELD;
    use crate::fault::testing::{MS, Rig, cc};
    use crate::spec::{CommonCfg, Field};
    use crate::trace::{Cause, Effect, Input};

    const LATE: &str = "on = 'irq.due[q0]'\ndo = 'irq.delay'\nargs = { t = '5ms' }";

    #[test]
    fn a_message_comes_when_its_time_has_come() {
        let mut rig = Rig::block(&[LATE]);
        rig.bring_up();
        let outcome = rig.input(Input::Used { queue: 0 });
        assert!(outcome.shown.is_empty());
        assert_eq!(rig.injector.deadline(), Some(rig.now + 5 * MS));
        assert!(rig.at(rig.now + 4 * MS, Input::Time).shown.is_empty());
        let outcome = rig.at(rig.now + MS, Input::Time);
        assert!(matches!(outcome.shown.as_slice(), [Effect::Message(_)]));
        assert_eq!(outcome.meant.unwrap().len(), 0);
        assert_eq!(rig.injector.deadline(), None);
    }

    #[test]
    fn a_reset_forgets_what_was_late() {
        let mut rig = Rig::block(&[LATE]);
        rig.bring_up();
        rig.input(Input::Used { queue: 0 });
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert_eq!(rig.injector.deadline(), None);
        assert!(rig.at(rig.now + 10 * MS, Input::Time).shown.is_empty());
    }

    #[test]
    fn the_line_rises_late_unless_it_was_served_in_between() {
        let mut rig = Rig::block(&[
            "on = 'irq.due[q0]'\nnth = '1..'\ndo = 'irq.delay'\nargs = { t = '5ms' }",
        ]);
        rig.bring_up_intx();
        assert!(rig.input(Input::Used { queue: 0 }).shown.is_empty());
        let outcome = rig.at(rig.now + 5 * MS, Input::Time);
        assert_eq!(outcome.shown.as_slice(), [Effect::Pin(true)]);
        assert_eq!(rig.read(Field::Isr), 1);
        rig.input(Input::Used { queue: 0 });
        assert_eq!(rig.read(Field::Isr), 1);
        assert_eq!(rig.injector.deadline(), None);
        assert!(rig.at(rig.now + 10 * MS, Input::Time).shown.is_empty());
    }

    const KEPT: &str =
        "on = 'irq.due[any]'\nnth = '1..'\ndo = 'irq.delay'\nargs = { host = 'now' }";

    #[test]
    fn what_is_kept_comes_in_order_when_the_host_says() {
        let mut rig = Rig::block(&[KEPT]);
        rig.bring_up();
        for queue in [1, 0] {
            assert!(rig.input(Input::Used { queue }).shown.is_empty());
        }
        assert_eq!(rig.injector.deadline(), None);
        assert!(rig.at(rig.now + 60_000 * MS, Input::Time).shown.is_empty());
        assert!(rig.host("later").shown.is_empty());
        let causes: Vec<_> = messages(&rig.host("now").shown);
        assert_eq!(causes, [Cause::Queue(1), Cause::Queue(0)]);
        assert!(rig.host("now").shown.is_empty());
        assert!(rig.input(Input::Used { queue: 0 }).shown.is_empty());
        assert_eq!(messages(&rig.host("now").shown), [Cause::Queue(0)]);
    }

    #[test]
    fn a_reset_forgets_what_is_kept() {
        let mut rig = Rig::block(&[KEPT]);
        rig.bring_up();
        rig.input(Input::Used { queue: 0 });
        rig.write(cc(CommonCfg::DeviceStatus), 0);
        assert!(rig.host("now").shown.is_empty());
    }

    #[test]
    fn the_line_stays_down_until_the_host_says_unless_it_was_served_in_between() {
        let mut rig = Rig::block(&[KEPT]);
        rig.bring_up_intx();
        assert!(rig.input(Input::Used { queue: 0 }).shown.is_empty());
        assert!(rig.input(Input::Used { queue: 1 }).shown.is_empty());
        assert_eq!(rig.host("now").shown.as_slice(), [Effect::Pin(true)]);
        assert_eq!(rig.read(Field::Isr), 1);
        rig.input(Input::Used { queue: 0 });
        assert_eq!(rig.read(Field::Isr), 1);
        assert!(rig.host("now").shown.is_empty());
    }

    #[test]
    fn a_call_behind_another_transport_is_kept_too() {
        let mut rig = Rig::block_with("queues = 2\nattach = 'vhost-user'", &[KEPT]);
        assert!(rig.input(Input::Used { queue: 1 }).shown.is_empty());
        let call = Effect::Call { queue: 1 };
        assert_eq!(rig.host("now").shown.as_slice(), [call]);
    }

    #[test]
    fn of_what_is_kept_only_so_much_is_remembered() {
        let mut rig = Rig::block(&[KEPT]);
        rig.bring_up();
        for _ in 0..MAX_HELD {
            assert!(rig.input(Input::Used { queue: 0 }).shown.is_empty());
        }
        assert_eq!(
            messages(&rig.input(Input::Used { queue: 0 }).shown).len(),
            1
        );
        assert_eq!(messages(&rig.host("now").shown).len(), MAX_HELD);
    }

    #[test]
    fn an_interrupt_is_late_by_a_time_or_until_a_command() {
        for (args, message) in [
            (
                "{}",
                "`irq.delay` needs the argument `t`: how much later; or `host` in its place",
            ),
            (
                "{ t = '5ms', host = 'now' }",
                "`irq.delay` takes a time (`t`, `rand`) or a command (`host`)",
            ),
            (
                "{ rand = '5ms', host = 'now' }",
                "`irq.delay` takes a time (`t`, `rand`) or a command (`host`)",
            ),
        ] {
            let text = format!("on = 'irq.due[q0]'\ndo = 'irq.delay'\nargs = {args}");
            assert_eq!(Rig::refused(&text).message, message);
        }
    }

    fn messages(effects: &[Effect]) -> Vec<Cause> {
        let messages = effects.iter().filter_map(|effect| match effect {
            Effect::Message(message) => Some(message.cause),
            _ => None,
        });
        messages.collect()
    }

    #[test]
    fn a_random_part_is_the_same_for_the_same_seed() {
        let deadline = || {
            let mut rig = Rig::block(&[
                "on = 'irq.due[any]'\ndo = 'irq.delay'\nargs = { t = '5ms', rand = '20ms' }",
            ]);
            rig.bring_up();
            rig.input(Input::Used { queue: 0 });
            rig.injector.deadline().unwrap() - rig.now
        };
        assert_eq!(deadline(), deadline());
        assert!((5 * MS..=25 * MS).contains(&deadline()));
    }
}

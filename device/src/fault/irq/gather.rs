//! `irq.coalesce` and `irq.simul`

use smallvec::SmallVec;
use toml::Value;

use super::object;
use crate::endpoint::Nanos;
use crate::fault::act::{Act, Due, Firing};
use crate::fault::args::Args;
use crate::fault::bench::{Bench, Fate, Scene};
use crate::fault::catalogue::{ALL, Arg, Needs, OURS, Verb};
use crate::fault::error::FaultError;
use crate::fault::trigger::{Carrier, Occasion, Source};
use crate::shape::{Kind, Shape};
use crate::trace::{Cause, Device, Effect, Legality};

/// The most events that can be gathered.
const MOST: usize = 16;

const ARGS: &[Arg] = &[
    Arg {
        name: "srcs",
        kind: "list of q<n>, cfg or port<n>",
        default: None,
        words: "the events whose interrupts are gathered",
    },
    Arg {
        name: "t",
        kind: "time",
        default: Some("10ms"),
        words: "how long the first is held back at most",
    },
];

/// Several interrupts come as one.
pub static COALESCE: Verb = Verb {
    name: "irq.coalesce",
    summary: "From an interrupt that is the trigger on, the interrupts of these events are held back until each of them is due, or a time is over; those with the same message come as one, and so does all that is on the line.",
    classes: &[(Legality::Legal, "")],
    sentence: "One interrupt may stand for several events; the driver looks at every event that it may stand for.",
    section: "4.1.5.4.2, 4.1.5.5, 2.3",
    args: ARGS,
    needs: Needs::Interrupt,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "irq.due[q0]"
nth = 4
do = "irq.coalesce"
args = { srcs = ["q0", "cfg"], t = "50ms" }
"#,
    build: |args, shape| Gather::read(args, shape, true),
};

/// Several interrupts come at the same time.
pub static SIMUL: Verb = Verb {
    name: "irq.simul",
    summary: "From an interrupt that is the trigger on, the interrupts of these events are held back until each of them is due, or a time is over, and then all come back to back.",
    classes: &[(Legality::Legal, "")],
    sentence: "Interrupts of different events are independent of each other, in time too.",
    section: "4.1.5.3, 2.3",
    args: ARGS,
    needs: Needs::Interrupt,
    attachments: OURS,
    kinds: ALL,
    example: r#"
on = "irq.due[any]"
nth = "1.."
do = "irq.simul"
args = { srcs = ["q0", "q1"], t = "5ms" }
"#,
    build: |args, shape| Gather::read(args, shape, false),
};

#[derive(Clone, Debug)]
struct Gather {
    srcs: SmallVec<[Cause; 4]>,
    time: Nanos,
    /// Those with the same message come as one.
    one: bool,
    /// The fault's position, and when the time is over.
    open: Option<(usize, Nanos)>,
    /// The events that are due.
    came: SmallVec<[Cause; 4]>,
}

impl Gather {
    fn read(args: &Args<'_>, shape: &Shape, one: bool) -> Result<Box<dyn Act>, FaultError> {
        let list = match args.value("srcs") {
            None => return Err(args.missing("srcs")),
            Some(Value::Array(list)) => list.as_slice(),
            Some(other) => {
                return Err(args.error(
                    "srcs",
                    format!("srcs = {other}: expected a list such as [\"q0\", \"cfg\"]"),
                ));
            }
        };
        let mut srcs = SmallVec::new();
        for entry in list {
            let known = entry.as_str().and_then(|text| Source::parse(text).ok());
            match (known, shape.kind) {
                (Some(Source::Event(cause @ Cause::Queue(q))), kind)
                    if kind != Kind::PortCard && q < shape.queues =>
                {
                    srcs.push(cause);
                }
                (Some(Source::Event(Cause::Config)), kind) if kind != Kind::PortCard => {
                    srcs.push(Cause::Config);
                }
                (Some(Source::Event(cause @ Cause::Port(p))), Kind::PortCard)
                    if u16::from(p) < shape.ports =>
                {
                    srcs.push(cause);
                }
                _ => {
                    return Err(
                        args.error("srcs", format!("{entry} is not an event of the device"))
                    );
                }
            }
        }
        srcs.sort_unstable();
        srcs.dedup();
        if srcs.len() < 2 || srcs.len() > MOST {
            return Err(args.error("srcs", format!("expected 2 to {MOST} different events")));
        }
        Ok(Box::new(Self {
            srcs,
            time: args.time("t")?.unwrap_or(10_000_000),
            one,
            open: None,
            came: SmallVec::new(),
        }))
    }
}

impl Act for Gather {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Legal
    }

    fn object(&self, occasion: &Occasion<'_>) -> String {
        object(occasion)
    }

    fn applies(&self, occasion: &Occasion<'_>, _scene: &Scene<'_>) -> bool {
        match occasion {
            Occasion::Irq { cause, carrier, .. } => {
                self.srcs.contains(cause) && *carrier != Carrier::Line { up: true }
            }
            _ => false,
        }
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        // What is open already goes on.
        if self.open.is_none_or(|(_, end)| end <= bench.now) {
            self.came.clear();
            let end = bench.now.saturating_add(self.time);
            self.open = Some((bench.index, end));
        }
    }

    fn due(&mut self, due: Due, fate: &mut Fate, _firing: Firing, scene: &Scene<'_>) {
        let Some((by, end)) = self.open.filter(|(_, end)| due.now < *end) else {
            return;
        };
        if fate.drop || !self.srcs.contains(&due.cause) {
            return;
        }
        if !self.came.contains(&due.cause) {
            self.came.push(due.cause);
        }
        let message = due.carrier == Carrier::Message;
        let waits = |held: &crate::fault::bench::Held| match held.effect {
            Effect::Message(m) => held.by == Some(by) && Some(m.entry) == due.entry,
            _ => false,
        };
        if message && self.one && scene.state.held.iter().any(waits) {
            fate.drop = true;
        }
        if self.came.len() == self.srcs.len() {
            self.open = None;
            fate.together = Some(by);
            // A message goes with the others; the line rises now.
            fate.delay = message.then_some(0);
        } else {
            fate.delay = Some(end - due.now);
        }
        fate.by = message.then_some(by);
    }

    fn reset(&mut self) {
        self.open = None;
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::Outcome;
    use crate::fault::testing::{MS, Rig};
    use crate::spec::Field;
    use crate::trace::{Effect, Input};

    fn entries(outcome: &Outcome) -> Vec<u16> {
        let entry = |e: &Effect| match e {
            Effect::Message(m) => Some(m.entry),
            _ => None,
        };
        outcome.shown.iter().filter_map(entry).collect()
    }

    fn change() -> Input {
        Input::Config {
            offset: 0,
            bytes: vec![1],
        }
    }

    const USED: Input = Input::Used { queue: 0 };
    const BOTH: &str = "on = 'irq.due[q0]'\ndo = 'irq.coalesce'\nargs = { srcs = ['cfg', 'q0'] }";

    #[test]
    fn two_events_of_one_message_come_as_one_once_both_are_due() {
        let mut rig = Rig::block(&[BOTH]);
        rig.bring_up_on(0, 0);
        assert!(entries(&rig.input(USED)).is_empty());
        assert!(entries(&rig.input(change())).is_empty());
        assert_eq!(rig.injector.deadline(), Some(rig.now));
        assert_eq!(entries(&rig.input(Input::Time)), [0]);
        assert_eq!(entries(&rig.input(USED)), [0], "the next one is free");
    }

    #[test]
    fn on_the_line_both_bits_are_read_at_once() {
        let mut rig = Rig::block(&[BOTH]);
        rig.bring_up_intx();
        assert!(rig.input(USED).shown.is_empty());
        assert_eq!(rig.input(change()).shown.as_slice(), [Effect::Pin(true)]);
        assert_eq!(rig.read(Field::Isr), 3);
    }

    #[test]
    fn what_does_not_come_in_time_is_not_waited_for() {
        let mut rig = Rig::block(&[BOTH]);
        rig.bring_up();
        rig.input(USED);
        let later = rig.now + 10 * MS;
        assert_eq!(rig.injector.deadline(), Some(later));
        assert_eq!(entries(&rig.at(later, Input::Time)), [1]);
        assert_eq!(entries(&rig.input(change())), [0]);
    }

    #[test]
    fn messages_of_several_queues_come_back_to_back() {
        let mut rig = Rig::block(&[
            "on = 'irq.due[any]'\nnth = '1..'\ndo = 'irq.simul'\nargs = { srcs = ['q0', 'q1'] }",
        ]);
        rig.bring_up();
        for _ in 0..3 {
            assert!(entries(&rig.input(Input::Used { queue: 1 })).is_empty());
            assert!(entries(&rig.input(USED)).is_empty());
            assert_eq!(entries(&rig.input(Input::Time)), [2, 1]);
        }
    }

    #[test]
    fn events_that_are_not_there_can_not_be_gathered() {
        for (srcs, expected) in [
            ("['q0', 'q7']", "is not an event of the device"),
            ("['q0', 'q0']", "expected 2 to 16 different events"),
            ("'q0'", "expected a list"),
            ("['q0', 'e1']", "is not an event of the device"),
        ] {
            let text = format!("on = 'irq.due[any]'\ndo = 'irq.simul'\nargs = {{ srcs = {srcs} }}");
            let error = Rig::refused(&text);
            assert!(error.message.contains(expected), "{}", error.message);
        }
    }
}

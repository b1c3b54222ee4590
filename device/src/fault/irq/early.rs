//! `irq.early`

use crate::fault::act::{Act, Due, Firing};
use crate::fault::bench::{Bench, Fate, Scene, State};
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::predicate::Facts;
use crate::fault::trigger::{Occasion, Source};
use crate::spec::{Field, isr};
use crate::trace::{Access, Cause, Device, Effect, Legality, Message, Op};

/// The most interrupts that can be ahead of their events.
const MOST_AHEAD: u32 = 64;

/// An interrupt comes before what it tells of.
pub static VERB: Verb = Verb {
    name: "irq.early",
    summary: "A queue's interrupt comes now, before the buffers are used; when they are, none comes.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A device sends the notification after it has made the buffers used.",
    section: "2.7.8.2, 2.7.7.2, 4.1.5.3",
    args: &[Arg {
        name: "src",
        kind: "q<n>",
        default: None,
        words: "the queue whose interrupt comes early",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "chain[q0]"
nth = 5
do = "irq.early"
args = { src = "q0" }
"#,
    build: |args, shape| {
        let text = args.word("src")?.ok_or_else(|| args.missing("src"))?;
        match Source::parse(text) {
            Ok(Source::Event(cause @ Cause::Queue(q))) if q < shape.queues => Ok(Box::new(Early {
                cause,
                ahead: 0,
                bit: false,
            })),
            _ => Err(args.error(
                "src",
                format!(
                    "src = \"{text}\": expected q0 to q{}",
                    shape.queues.saturating_sub(1)
                ),
            )),
        }
    },
};

#[derive(Clone, Debug)]
struct Early {
    cause: Cause,
    /// Interrupts that came before their event.
    ahead: u32,
    /// The ISR status tells of one.
    bit: bool,
}

impl Act for Early {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        self.cause.to_string()
    }

    fn applies(&self, _occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        let (world, state) = (scene.world, scene.state);
        let message = State::mapped(world, self.cause)
            .is_some_and(|(kind, entry)| state.may_send(world, kind, entry));
        self.ahead < MOST_AHEAD
            && world.live()
            && (message || (State::may_assert(world) && !state.line.shown))
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        self.ahead += 1;
        match State::mapped(bench.world, self.cause) {
            Some((kind, entry)) => {
                let cause = self.cause;
                bench.emit(Effect::Message(Message { kind, entry, cause }), 1, 0);
            }
            None => {
                self.bit = true;
                bench.state.line.extra = true;
            }
        }
    }

    fn due(&mut self, due: Due, fate: &mut Fate, _firing: Firing, _scene: &Scene<'_>) {
        if due.cause == self.cause && self.ahead > 0 {
            self.ahead -= 1;
            fate.drop = true;
        }
    }

    fn show(&mut self, access: &Access, value: &mut u64, _firing: Firing, _facts: &Facts<'_>) {
        if access.op == Op::Read && access.register() == Some(Field::Isr) && self.bit {
            self.bit = false;
            *value |= u64::from(isr::QUEUE);
        }
    }

    fn reset(&mut self) {
        (self.ahead, self.bit) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::Rig;
    use crate::spec::Field;
    use crate::trace::{Effect, Input};

    const EARLY: &str = "on = 'chain[q0]'\ndo = 'irq.early'\nargs = { src = 'q0' }";

    fn chain() -> Input {
        Input::Chain {
            queue: 0,
            head: 0,
            request: String::new(),
        }
    }

    #[test]
    fn the_message_comes_with_the_fetch_and_not_with_the_use() {
        let mut rig = Rig::block(&[EARLY]);
        rig.bring_up();
        let shown = rig.input(chain()).shown;
        assert!(matches!(shown.as_slice(), [Effect::Message(m)] if m.entry == 1));
        assert!(rig.input(Input::Used { queue: 0 }).shown.is_empty());
        assert_eq!(rig.input(Input::Used { queue: 0 }).shown.len(), 1);
    }

    #[test]
    fn the_line_rises_with_the_fetch_and_the_isr_status_says_so() {
        let mut rig = Rig::block(&[EARLY]);
        rig.bring_up_intx();
        assert_eq!(rig.input(chain()).shown.as_slice(), [Effect::Pin(true)]);
        assert_eq!(rig.read(Field::Isr), 1);
        assert!(rig.input(Input::Used { queue: 0 }).shown.is_empty());
        assert_eq!(rig.read(Field::Isr), 1, "the device itself tells it");
    }
}

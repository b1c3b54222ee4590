//! One step, in order.

mod occasions;
mod present;

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::{Injector, MAX_HEARD, MAX_SHOWN, Outcome};
use crate::endpoint::{Endpoint, Nanos};
use crate::fault::bench::{Hear, Plan};
use crate::fault::trigger::Occasion;
use crate::shape::Attach;
use crate::spec::{Field, PortCard, Status, command};
use crate::trace::{Access, Cause, Effect, Effects, Input, Op, Part};

/// What a step has come to so far.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub now: Nanos,
    pub outcome: Outcome,
    pub plan: Plan,
    /// Faults that fired and may set off others.
    pub followed: VecDeque<String>,
    /// Faults that fired at the access, before it took effect.
    pub at_access: SmallVec<[usize; 2]>,
    /// A reset that was held up is over.
    pub reset_ended: bool,
    /// `device_status` before the step.
    status_before: Status,
    heard: SmallVec<[Heard; 2]>,
    meant: Effects,
    /// What a read was shown.
    value: Option<u64>,
}

#[derive(Clone, Debug)]
enum Heard {
    /// The input as it came.
    Input,
    Other(Input),
}

/// How the device's answer to an input is treated.
#[derive(Clone, Copy, Debug, Default)]
struct Manner {
    /// It is the input of the step, not an addition.
    main: bool,
    muted: bool,
    merged: bool,
}

impl<E: Endpoint> Injector<E> {
    /// Takes one input at time `now`, in nanoseconds on any clock that does not go back.
    pub fn step(&mut self, now: Nanos, input: &Input) -> Outcome {
        if self.armed.is_empty() {
            let shown = self.inner.step(now, input);
            self.world.hear(input, self.part(input));
            self.world.ask(input);
            self.world.show(input, &shown);
            return Outcome {
                shown,
                ..Outcome::default()
            };
        }
        if self.world.gone && matches!(input, Input::Access(_)) {
            // Nothing is there that could misbehave.
            let shown = self.inner.step(now, input);
            return Outcome {
                shown,
                ..Outcome::default()
            };
        }
        self.begin(now);
        let mut run = Run {
            now,
            status_before: self.world.status,
            ..Run::default()
        };
        self.before(&mut run, input);
        self.hear_more(&mut run);
        self.hear_input(&mut run, input);
        self.merge(&mut run, input);
        self.hear_more(&mut run);
        self.after(&mut run, input);
        self.hear_more(&mut run);
        self.settle_line(&mut run);
        self.finish(run, input)
    }

    fn part(&self, input: &Input) -> Part {
        match input {
            Input::Chain { .. }
            | Input::Complete { .. }
            | Input::Kick { .. }
            | Input::Vhost { .. } => Part::Backend,
            _ if self.world.shape.attach == Attach::VhostUser => Part::Backend,
            _ => Part::Function,
        }
    }

    /// What faults let the device hear beside the input.
    fn hear_more(&mut self, run: &mut Run) {
        self.emit(run);
        while let Some(hear) = run.plan.hears.pop_front() {
            let Hear {
                input,
                muted,
                merged,
            } = hear;
            if run.heard.len() >= MAX_HEARD {
                continue;
            }
            run.heard.push(Heard::Other(input.clone()));
            let manner = Manner {
                main: false,
                muted,
                merged,
            };
            self.hear(run, &input, manner);
            self.emit(run);
        }
    }

    /// Shows what faults send beside the device.
    fn emit(&mut self, run: &mut Run) {
        while !run.plan.emits.is_empty() {
            for effect in std::mem::take(&mut run.plan.emits) {
                if run.outcome.shown.len() < MAX_SHOWN {
                    self.send(run, effect);
                }
            }
        }
    }

    /// The device hears the input, as faults leave it.
    fn hear_input(&mut self, run: &mut Run, input: &Input) {
        let manner = Manner {
            main: true,
            ..Manner::default()
        };
        let Input::Access(access) = input else {
            run.heard.push(Heard::Input);
            self.hear(run, input, manner);
            return;
        };
        if access.op == Op::Write {
            let mut rewritten = *access;
            for index in 0..self.armed.len() {
                let firing = self.firing(run, index);
                let act = &mut self.armed[index].fault.act;
                if !act.rewrite(&mut rewritten, firing, &self.world) {
                    return;
                }
            }
            if rewritten != *access {
                let input = Input::Access(rewritten);
                run.heard.push(Heard::Other(input.clone()));
                self.hear(run, &input, manner);
                return;
            }
        } else if reads_isr(access) {
            self.state.line.extra = false;
        }
        run.heard.push(Heard::Input);
        self.hear(run, input, manner);
    }

    fn hear(&mut self, run: &mut Run, input: &Input, manner: Manner) {
        let was_live = self.world.live();
        let was_master = self.world.command & command::BUS_MASTER != 0;
        let (was_asleep, was_gone) = (self.world.asleep(), self.world.gone);
        let mut effects = self.inner.step(run.now, input);
        if self.rings
            && let Input::Complete { queue, head, len } = input
        {
            let (queue, id, len) = (*queue, u32::from(*head), *len);
            effects.push(Effect::Complete { queue, id, len });
        }
        let part = self.part(input);
        self.world.hear(input, part);
        self.state.hears(input);
        for effect in &effects {
            if let Effect::Control { command, msix, msi } = effect {
                (
                    self.world.command,
                    self.world.msix_control,
                    self.world.msi_control,
                ) = (*command, *msix, *msi);
            }
        }
        run.meant.extend(effects.iter().cloned());
        let meant_before = run.meant.len() - effects.len();
        self.present(run, input, effects, manner, meant_before);
        if self.world.live() != was_live {
            self.state.live_since = self.world.live().then_some(run.now);
            if !was_live {
                self.occur(run, Occasion::Live, None);
            }
        }
        if was_master && self.world.command & command::BUS_MASTER == 0 {
            self.state.instance = self.state.instance.wrapping_add(1);
            self.occur(run, Occasion::BusMasterOff, None);
        }
        match (was_asleep, self.world.asleep()) {
            (false, true) => self.occur(run, Occasion::Sleeps, None),
            (true, false) => self.occur(run, Occasion::Wakes, None),
            _ => {}
        }
        if self.world.gone && !was_gone {
            self.state.reset();
            self.occur(run, Occasion::Unplugged, None);
        }
    }

    /// Configuration changes that waited for this interrupt.
    fn merge(&mut self, run: &mut Run, input: &Input) {
        let Input::Used { queue } = input else { return };
        let cause = Cause::Queue(*queue);
        for _ in 0..self.state.merging.len() {
            let Some((with, input)) = self.state.merging.pop_front() else {
                return;
            };
            if with == cause {
                run.plan.hears.push_back(Hear {
                    merged: true,
                    ..Hear::plain(input)
                });
            } else {
                self.state.merging.push_back((with, input));
            }
        }
    }

    fn finish(&mut self, run: Run, input: &Input) -> Outcome {
        let Run {
            mut outcome,
            heard,
            meant,
            ..
        } = run;
        self.world.ask(input);
        self.world.show(input, &outcome.shown);
        if !matches!(heard.as_slice(), [Heard::Input]) {
            let heard = heard.into_iter().map(|h| match h {
                Heard::Input => input.clone(),
                Heard::Other(input) => input,
            });
            outcome.heard = Some(heard.collect());
        }
        outcome.meant = (meant != outcome.shown).then_some(meant);
        outcome
    }
}

/// The read by which a driver takes note of the line.
fn reads_isr(access: &Access) -> bool {
    access.op == Op::Read
        && matches!(
            access.register(),
            Some(Field::Isr | Field::Port(PortCard::IntStatus))
        )
}

//! One step, in order.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::interrupts::{already, causes};
use super::{Injector, MAX_HEARD, MAX_SHOWN, Outcome, facts};
use crate::endpoint::{Endpoint, Nanos};
use crate::fault::bench::{Hear, MAX_SENT, Plan, Scene};
use crate::fault::trigger::{Carrier, Occasion, On, writes_status};
use crate::shape::Attach;
use crate::spec::{CommonCfg, Field, PortCard, Status, command};
use crate::trace::{Access, Cause, Effect, Effects, Input, Mode, Op, Part, RingWrite};

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

    /// The triggers that come before the input takes effect.
    fn before(&mut self, run: &mut Run, input: &Input) {
        match input {
            Input::Access(access) => {
                let resets = resets(input);
                if resets {
                    self.reset_begins(run, access.resets_function());
                }
                self.serves(access);
                let occasion = self.access_occasion(access, false, access.val);
                self.occur(run, occasion, None);
                self.armed.iter_mut().for_each(|a| a.saw(access));
                if resets {
                    self.forget_hang();
                }
            }
            Input::FunctionReset => {
                self.reset_begins(run, true);
                self.forget_hang();
            }
            Input::Chain { queue, .. } => {
                let queue = *queue;
                self.is_served(|cause| cause == Cause::Queue(queue));
                self.occur(run, Occasion::Chain(queue), None);
            }
            Input::Complete { queue, len, .. } => {
                let (queue, len) = (*queue, *len);
                self.occur(run, Occasion::Complete { queue, len }, None);
            }
            Input::Kick { queue } => self.occur(run, Occasion::Notified(*queue), None),
            Input::Host(host) => {
                let command = host.command.as_str();
                let free = self.state.rings.release(run.now, Some(command));
                run.plan.emits.extend(free);
                for (index, armed) in self.armed.iter().enumerate() {
                    if armed.fault.act.released_by(command) {
                        self.state.let_go(index, run.now);
                    }
                }
                self.occur(run, Occasion::Host(command), None);
            }
            Input::Time => {
                let free = self.state.rings.release(run.now, None);
                run.plan.emits.extend(free);
                self.time_comes(run);
            }
            _ => {}
        }
    }

    fn access_occasion<'a>(
        &self,
        access: &'a Access,
        after: bool,
        value: Option<u64>,
    ) -> Occasion<'a> {
        let written = writes_status(access).unwrap_or(0);
        Occasion::Access {
            access,
            after,
            value,
            adds: written & !self.world.status.0,
        }
    }

    /// What an access shows the driver to have looked at.
    fn serves(&mut self, access: &Access) {
        match (access.op, access.register()) {
            (Op::Write, Some(Field::Notify)) => {
                self.is_served(|cause| access.q.map(Cause::Queue) == Some(cause));
            }
            (
                Op::Read,
                Some(
                    Field::Device(_)
                    | Field::Common(CommonCfg::ConfigGeneration | CommonCfg::DeviceStatus),
                ),
            ) => self.is_served(|cause| cause == Cause::Config),
            (Op::Read, Some(Field::PortEvents(port))) => {
                self.is_served(|cause| cause == Cause::Port(port));
            }
            _ => {}
        }
    }

    fn reset_begins(&mut self, run: &mut Run, function: bool) {
        if function {
            self.state.hold = None;
        }
        self.state.reset();
        self.state.reset_since = Some(run.now);
        let epoch = self.world.epoch;
        for armed in &mut self.armed {
            let lasting = armed.counter.lasts(run.now, epoch);
            armed.fault.act.forget(lasting);
            if let On::IrqUnserved { .. } = armed.fault.trigger.on {
                armed.timer = None;
            }
        }
        if function {
            self.occur(run, Occasion::FunctionReset, None);
        }
        self.occur(run, Occasion::ResetBegin, None);
    }

    /// A reset that hung ends with the next one, unless that hangs too.
    fn forget_hang(&mut self) {
        let epoch = self.world.epoch;
        self.state
            .hold
            .take_if(|hold| hold.until.is_none() && hold.epoch != epoch);
    }

    fn time_comes(&mut self, run: &mut Run) {
        for index in self.timers_due(run.now) {
            self.occur(run, Occasion::Time(index), None);
        }
        let mut later = std::mem::take(&mut self.state.later);
        later.sort_by_key(|(at, _)| *at);
        let due = later.partition_point(|(at, _)| *at <= run.now);
        self.state.later = later.split_off(due);
        for (_, index) in later {
            let occasion = Occasion::Time(index);
            let scene = Scene {
                world: &self.world,
                state: &self.state,
            };
            if self.armed[index].fault.act.applies(&occasion, &scene) {
                self.fire(run, index, &occasion, None);
                self.follow(run);
            }
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

    /// Shows the effects of one input, as faults leave them.
    fn present(
        &mut self,
        run: &mut Run,
        input: &Input,
        effects: Effects,
        manner: Manner,
        meant_before: usize,
    ) {
        let mut raised = false;
        for effect in effects {
            match effect {
                Effect::Value(value) => {
                    let value = self.value(run, input, value, manner);
                    run.outcome.shown.push(Effect::Value(value));
                }
                Effect::Pended(_) | Effect::Unmapped { .. } if manner.muted => {}
                Effect::Pended(message) => {
                    self.state.waits(message, true);
                    run.outcome.shown.push(effect);
                }
                Effect::Message(_) | Effect::Call { .. } | Effect::ConfigChanged
                    if manner.muted => {}
                Effect::Message(message)
                    if manner.merged && already(&run.meant[..meant_before], message) => {}
                Effect::Message(message) => {
                    let (cause, entry) = (message.cause, Some(message.entry));
                    self.interrupt(run, effect, cause, entry, Carrier::Message);
                }
                Effect::Call { queue } => {
                    self.interrupt(run, effect, Cause::Queue(queue), None, Carrier::Call);
                }
                Effect::ConfigChanged => {
                    self.interrupt(run, effect, Cause::Config, None, Carrier::Call);
                }
                Effect::Complete { queue, id, len } => self.complete(run, queue, id, len),
                Effect::Pin(level) => {
                    raised |= level;
                    self.pin(run, input, level, manner.muted);
                }
                other => run.outcome.shown.push(other),
            }
        }
        // The device wants the line up already, and a fault held it down: this is the next interrupt.
        if !raised
            && !manner.muted
            && !self.state.line.is_free()
            && self.state.line.meant
            && !self.state.line.shown
            && self.world.mode() == Mode::Intx
        {
            let causes = causes(input);
            if !causes.is_empty() {
                self.line_due(run, &causes);
            }
        }
        self.settle_line(run);
    }

    /// A chain becomes used, as faults leave it.
    fn complete(&mut self, run: &mut Run, queue: u16, id: u32, len: u32) {
        let used = std::mem::take(&mut run.plan.used);
        let rings = &mut self.state.rings;
        let element = Effect::Complete {
            queue,
            id: used.id.unwrap_or(id),
            len: used.len.unwrap_or(len),
        };
        if rings.stands_still(queue) {
            rings.stalled.push_back((queue, element));
            return;
        }
        let kept = rings.completes(queue);
        if kept > 0 {
            let write = RingWrite::Jump(kept);
            run.plan.emits.push(Effect::Ring { queue, write });
        }
        let waiting = rings.swapped.iter().position(|(q, _)| *q == queue);
        if used.later && waiting.is_none() {
            rings.swapped.push((queue, element));
            return;
        }
        for _ in 0..used.times.min(MAX_SENT) {
            run.plan.emits.push(element.clone());
        }
        if let Some(place) = waiting {
            run.plan.emits.push(rings.swapped.swap_remove(place).1);
        }
        let writes = used.writes.into_iter();
        run.plan
            .emits
            .extend(writes.map(|write| Effect::Ring { queue, write }));
    }

    /// The value that a read is shown.
    fn value(&mut self, run: &mut Run, input: &Input, meant: u64, manner: Manner) -> u64 {
        let Input::Access(access) = input else {
            return meant;
        };
        if access.op != Op::Read || !manner.main {
            return meant;
        }
        let mut value = meant;
        let occasion = Occasion::Access {
            access,
            after: true,
            value: Some(meant),
            adds: 0,
        };
        for index in 0..self.armed.len() {
            let firing = self.firing(run, index);
            let armed = &mut self.armed[index];
            let known = facts(&occasion, &self.world, &self.state, &[], run.now);
            armed.fault.act.show(access, &mut value, firing, &known);
        }
        if access.register() == Some(Field::Common(CommonCfg::DeviceStatus)) {
            run.reset_ended |= self.release_hold(run.now);
            if let Some(hold) = &mut self.state.hold {
                value = (value & !0xff) | u64::from(hold.status);
                hold.reads = hold.reads.map(|reads| reads.saturating_sub(1));
                if hold.reads == Some(0) {
                    self.state.hold = None;
                    run.reset_ended = true;
                }
            }
        }
        if access.field == Some(Field::Common(CommonCfg::QueueReset))
            && let Some(queue) = access.q
            && self.state.queue_resets(queue, run.now)
        {
            value |= 1;
        }
        run.value = Some(value);
        value
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

    /// The triggers that come when the input has taken effect, and what is late.
    fn after(&mut self, run: &mut Run, input: &Input) {
        if let Input::Access(access) = input {
            let value = run.value.or(access.val);
            let adds = writes_status(access).unwrap_or(0) & self.world.status.0;
            let occasion = Occasion::Access {
                access,
                after: true,
                value,
                adds: adds & !run.status_before.0,
            };
            self.occur(run, occasion, None);
        }
        if resets(input) {
            if input == &Input::FunctionReset || function_reset(input) {
                self.state.instance = self.state.instance.wrapping_add(1);
            }
            run.reset_ended |= self.state.hold.is_none();
        }
        if *input == Input::Time {
            run.reset_ended |= self.release_hold(run.now);
            let line = &mut self.state.line;
            if line.rises.is_some_and(|at| at <= run.now) {
                line.comes();
            }
            line.up_until.take_if(|at| *at <= run.now);
        }
        if std::mem::take(&mut run.reset_ended) {
            self.occur(run, Occasion::ResetEnd, None);
        }
        if matches!(
            input,
            Input::Time | Input::Host(_) | Input::Irqs { .. } | Input::Access(_)
        ) {
            self.send_late(run, matches!(input, Input::Time | Input::Host(_)));
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

fn resets(input: &Input) -> bool {
    match input {
        Input::FunctionReset => true,
        Input::Access(access) => access.resets_function() || writes_status(access) == Some(0),
        _ => false,
    }
}

fn function_reset(input: &Input) -> bool {
    matches!(input, Input::Access(access) if access.resets_function())
}

/// The read by which a driver takes note of the line.
fn reads_isr(access: &Access) -> bool {
    access.op == Op::Read
        && matches!(
            access.register(),
            Some(Field::Isr | Field::Port(PortCard::IntStatus))
        )
}

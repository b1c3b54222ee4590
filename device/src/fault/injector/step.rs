//! One step, in order.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::{Injector, MAX_HEARD, Outcome, facts};
use crate::endpoint::{Endpoint, Nanos};
use crate::fault::bench::{Fate, Hear, Held, MAX_HELD, Plan, Scene, State};
use crate::fault::trigger::{Carrier, Occasion, writes_status};
use crate::shape::Attach;
use crate::spec::{CommonCfg, Field, PortCard, Status, command};
use crate::trace::{Access, Cause, Effect, Effects, Input, Message, Mode, Op, Part};

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
            Input::Chain { queue, .. } => self.occur(run, Occasion::Chain(*queue), None),
            Input::Complete { queue, len, .. } => {
                let (queue, len) = (*queue, *len);
                self.occur(run, Occasion::Complete { queue, len }, None);
            }
            Input::Kick { queue } => self.occur(run, Occasion::Notified(*queue), None),
            Input::Host(host) => self.occur(run, Occasion::Host(&host.command), None),
            Input::Time => self.time_comes(run),
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

    fn reset_begins(&mut self, run: &mut Run, function: bool) {
        if function {
            self.state.hold = None;
        }
        self.state.reset();
        self.state.reset_since = Some(run.now);
        for armed in &mut self.armed {
            armed.fault.act.reset();
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

    fn emit(&mut self, run: &mut Run) {
        for effect in std::mem::take(&mut run.plan.emits) {
            self.send(run, effect);
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
        let effects = self.inner.step(run.now, input);
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

    /// A message or call is due: what becomes of it?
    fn interrupt(
        &mut self,
        run: &mut Run,
        effect: Effect,
        cause: Cause,
        entry: Option<u16>,
        carrier: Carrier,
    ) {
        let mut fate = Fate::default();
        let due = Occasion::Irq {
            sent: false,
            cause,
            entry,
            carrier,
        };
        self.occur(run, due, Some(&mut fate));
        if fate.drop {
            return;
        }
        let effect = match (effect, fate.entry) {
            (Effect::Message(message), Some(entry)) => {
                Effect::Message(Message { entry, ..message })
            }
            (effect, _) => effect,
        };
        for _ in 0..fate.copies {
            match fate.delay {
                Some(delay) if self.state.held.len() < MAX_HELD => self.state.held.push(Held {
                    at: run.now.saturating_add(delay),
                    effect: effect.clone(),
                    waits: false,
                }),
                _ => self.send(run, effect.clone()),
            }
        }
    }

    /// Shows an interrupt, and says that it was sent.
    fn send(&mut self, run: &mut Run, effect: Effect) {
        let sent = match &effect {
            Effect::Message(m) => Some((m.cause, Some(m.entry), Carrier::Message)),
            Effect::Call { queue } => Some((Cause::Queue(*queue), None, Carrier::Call)),
            Effect::ConfigChanged => Some((Cause::Config, None, Carrier::Call)),
            _ => None,
        };
        run.outcome.shown.push(effect);
        if let Some((cause, entry, carrier)) = sent {
            let occasion = Occasion::Irq {
                sent: true,
                cause,
                entry,
                carrier,
            };
            self.occur(run, occasion, None);
        }
    }

    /// The device moves the line.
    fn pin(&mut self, run: &mut Run, input: &Input, level: bool, muted: bool) {
        let was_free = self.state.line.is_free();
        self.state.line.wants(level);
        if level && muted {
            self.state.line.dropped = !self.state.line.shown;
        } else if level {
            let causes = match causes(input) {
                causes if causes.is_empty() => SmallVec::from_slice(&[Cause::None]),
                causes => causes,
            };
            self.line_due(run, &causes);
        }
        if was_free && self.state.line.is_free() {
            // Nothing of ours is in the way: what the device says is shown as it says it.
            self.state.line.shown = level;
            run.outcome.shown.push(Effect::Pin(level));
            if level {
                self.line_sent(run);
            }
        } else {
            self.settle_line(run);
        }
    }

    /// The line is to rise for these events.
    fn line_due(&mut self, run: &mut Run, causes: &[Cause]) {
        let up = self.state.line.shown;
        let (mut now, mut later) = (false, None);
        for cause in causes {
            let mut fate = Fate::default();
            let due = Occasion::Irq {
                sent: false,
                cause: *cause,
                entry: None,
                carrier: Carrier::Line { up },
            };
            self.occur(run, due, Some(&mut fate));
            match fate {
                Fate { drop: true, .. } => {}
                Fate { delay: Some(t), .. } => {
                    let at = run.now.saturating_add(t);
                    later = Some(later.map_or(at, |l: Nanos| l.min(at)));
                }
                _ => now = true,
            }
            self.state.line.cause = *cause;
        }
        let line = &mut self.state.line;
        match later {
            _ if now || up => line.let_go(),
            Some(at) => {
                line.dropped = false;
                line.rises = Some(line.rises.map_or(at, |r| r.min(at)));
            }
            // An earlier one that comes late comes all the same.
            None => line.dropped = line.rises.is_none(),
        }
    }

    fn line_sent(&mut self, run: &mut Run) {
        let occasion = Occasion::Irq {
            sent: true,
            cause: self.state.line.cause,
            entry: None,
            carrier: Carrier::Line { up: true },
        };
        self.occur(run, occasion, None);
    }

    /// Shows the level of the line, if it is not what is shown.
    fn settle_line(&mut self, run: &mut Run) {
        let line = &mut self.state.line;
        let level = line.level(State::may_assert(&self.world));
        if level != line.shown {
            line.shown = level;
            run.outcome.shown.push(Effect::Pin(level));
            if level {
                self.line_sent(run);
            }
        }
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
        if access.field == Some(Field::Common(CommonCfg::DeviceStatus)) {
            run.reset_ended |= self.release_hold(run.now);
            if let Some(hold) = self.state.hold {
                value = (value & !0xff) | u64::from(hold.status);
            }
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
            if self.state.line.rises.is_some_and(|at| at <= run.now) {
                self.state.line.rises = None;
            }
        }
        if std::mem::take(&mut run.reset_ended) {
            self.occur(run, Occasion::ResetEnd, None);
        }
        if matches!(input, Input::Time | Input::Irqs { .. } | Input::Access(_)) {
            self.send_late(run);
        }
    }

    /// Sends what was held until now. What can't be sent for the moment waits on; what can't be sent
    /// any more, since the kind of interrupt changed, is forgotten.
    fn send_late(&mut self, run: &mut Run) {
        if self.state.held.iter().all(|h| h.at > run.now) {
            return;
        }
        let mut held = std::mem::take(&mut self.state.held);
        held.sort_by_key(|h| h.at);
        for mut late in held {
            let (gone, possible) = match &late.effect {
                Effect::Message(m) => (
                    State::messages(&self.world).map(|(kind, _)| kind) != Some(m.kind),
                    self.state.may_send(&self.world, m.kind, m.entry),
                ),
                _ => (false, true),
            };
            if gone {
                continue;
            }
            if late.at > run.now || !possible {
                late.waits = late.at <= run.now;
                self.state.held.push(late);
            } else {
                self.send(run, late.effect);
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

/// Whether the same message is among what the device meant.
fn already(meant: &[Effect], message: Message) -> bool {
    meant.iter().any(|effect| {
        matches!(effect, Effect::Message(m) if (m.kind, m.entry) == (message.kind, message.entry))
    })
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
            access.field,
            Some(Field::Isr | Field::Port(PortCard::IntStatus))
        )
}

/// The events that an input brings to the line.
fn causes(input: &Input) -> SmallVec<[Cause; 2]> {
    match input {
        Input::Used { queue } => SmallVec::from_slice(&[Cause::Queue(*queue)]),
        Input::Config { .. } | Input::Broken => SmallVec::from_slice(&[Cause::Config]),
        Input::Access(access)
            if access.op == Op::Write && access.field == Some(Field::Port(PortCard::Doorbell)) =>
        {
            let bells = access.val.unwrap_or(0);
            (0..PortCard::MAX_PORTS as u8)
                .filter(|port| bells & (1 << port) != 0)
                .map(Cause::Port)
                .collect()
        }
        _ => SmallVec::new(),
    }
}

//! Interrupts on their way out: messages, calls and the line, as faults leave them.

use smallvec::SmallVec;

use super::step::Run;
use super::{Injector, MAX_SHOWN};
use crate::endpoint::{Endpoint, Nanos};
use crate::fault::act::{Due, Firing};
use crate::fault::bench::{Fate, Held, MAX_HELD, Scene, State};
use crate::fault::trigger::{Carrier, Occasion};
use crate::spec::{Field, PortCard};
use crate::trace::{Cause, Effect, Input, Message, Op};

impl<E: Endpoint> Injector<E> {
    /// A message or call is due: what becomes of it?
    pub(super) fn interrupt(
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
        let due = Due {
            cause,
            entry,
            carrier,
            now: run.now,
        };
        self.acts_on(run, due, &mut fate);
        if let Effect::Message(message) = &effect {
            self.state.waits(*message, false);
        }
        if fate.drop {
            return;
        }
        let effect = match (effect, fate.entry) {
            (Effect::Message(message), Some(entry)) => {
                Effect::Message(Message { entry, ..message })
            }
            (effect, _) => effect,
        };
        let interrupt = Held {
            at: run.now.saturating_add(fate.delay.unwrap_or(0)),
            effect,
            times: fate.copies,
            gap: fate.gap,
            waits: false,
            by: fate.by,
            kept: fate.kept,
        };
        if (fate.delay.is_some() || fate.kept.is_some()) && self.state.held.len() < MAX_HELD {
            self.state.held.push(interrupt);
        } else {
            self.release(run, interrupt);
        }
    }

    /// What faults that fired before do to an interrupt, and how the line is treated by them.
    fn acts_on(&mut self, run: &Run, due: Due, fate: &mut Fate) {
        let epoch = self.world.epoch;
        for armed in &mut self.armed {
            let firing = Firing {
                now: false,
                goes_on: armed.counter.goes_on(run.now, epoch),
            };
            let scene = Scene {
                world: &self.world,
                state: &self.state,
            };
            armed.fault.act.due(due, fate, firing, &scene);
        }
        if let Some(by) = fate.together {
            self.state.let_come(by, run.now);
        }
    }

    /// Sends what has its time, and holds what comes a gap later, so that copies never come closer to
    /// each other than that. What there is no room to hold comes at once.
    fn release(&mut self, run: &mut Run, mut held: Held) {
        self.send(run, held.effect.clone());
        held.times = held.times.saturating_sub(1);
        if held.gap > 0 && held.times > 0 && self.state.held.len() < MAX_HELD {
            held.at = run.now.saturating_add(held.gap);
            held.waits = false;
            self.state.held.push(held);
            return;
        }
        for _ in 0..held.times {
            if run.outcome.shown.len() < MAX_SHOWN {
                self.send(run, held.effect.clone());
            }
        }
    }

    /// Shows an interrupt, and says that it was sent.
    pub(super) fn send(&mut self, run: &mut Run, effect: Effect) {
        let sent = match &effect {
            Effect::Message(m) => Some((m.cause, Some(m.entry), Carrier::Message)),
            Effect::Call { queue } => Some((Cause::Queue(*queue), None, Carrier::Call)),
            Effect::ConfigChanged => Some((Cause::Config, None, Carrier::Call)),
            _ => None,
        };
        run.outcome.shown.push(effect);
        if let Some((cause, entry, carrier)) = sent {
            self.awaits_service(run.now, cause, entry);
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
    pub(super) fn pin(&mut self, run: &mut Run, input: &Input, level: bool, muted: bool) {
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
    pub(super) fn line_due(&mut self, run: &mut Run, causes: &[Cause]) {
        let up = self.state.line.shown;
        let (mut now, mut later, mut kept) = (false, None, None);
        for cause in causes {
            let mut fate = Fate::default();
            let carrier = Carrier::Line { up };
            let due = Occasion::Irq {
                sent: false,
                cause: *cause,
                entry: None,
                carrier,
            };
            self.occur(run, due, Some(&mut fate));
            let due = Due {
                cause: *cause,
                entry: None,
                carrier,
                now: run.now,
            };
            self.acts_on(run, due, &mut fate);
            match fate {
                Fate { drop: true, .. } => {}
                Fate { kept: Some(by), .. } => kept = Some(by),
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
            // An earlier one that comes late comes all the same.
            None if kept.is_none() => line.dropped = !line.is_late(),
            _ => {
                line.dropped = false;
                line.kept = line.kept.or(kept);
                if let Some(at) = later {
                    line.rises = Some(line.rises.map_or(at, |r| r.min(at)));
                }
            }
        }
    }

    fn line_sent(&mut self, run: &mut Run) {
        self.awaits_service(run.now, self.state.line.cause, None);
        let occasion = Occasion::Irq {
            sent: true,
            cause: self.state.line.cause,
            entry: None,
            carrier: Carrier::Line { up: true },
        };
        self.occur(run, occasion, None);
    }

    /// Shows the level of the line, if it is not what is shown.
    pub(super) fn settle_line(&mut self, run: &mut Run) {
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

    /// Sends what was held until now; unless it is its time that has come (`on_time`), only what could
    /// not be sent when it had. What can't be sent for the moment waits on; what can't be sent any more,
    /// since the kind of interrupt changed, is forgotten.
    pub(super) fn send_late(&mut self, run: &mut Run, on_time: bool) {
        let now = run.now;
        let is_due = |held: &Held| held.kept.is_none() && held.at <= now;
        if !self.state.held.iter().any(is_due) {
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
            if !is_due(&late) || !(on_time || late.waits) {
                self.state.held.push(late);
            } else if !possible {
                late.waits = true;
                self.state.held.push(late);
            } else {
                self.release(run, late);
            }
        }
    }
}

/// Whether the same message is among what the device meant.
pub(super) fn already(meant: &[Effect], message: Message) -> bool {
    meant.iter().any(|effect| {
        matches!(effect, Effect::Message(m) if (m.kind, m.entry) == (message.kind, message.entry))
    })
}

/// The events that an input brings to the line.
pub(super) fn causes(input: &Input) -> SmallVec<[Cause; 2]> {
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

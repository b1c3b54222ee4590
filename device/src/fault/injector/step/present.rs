//! What the driver is shown of the device's answer, as faults leave it.

use super::{Manner, Run};
use crate::endpoint::Endpoint;
use crate::fault::bench::MAX_SENT;
use crate::fault::injector::interrupts::{already, causes};
use crate::fault::injector::{Injector, facts};
use crate::fault::trigger::{Carrier, Occasion};
use crate::spec::{CommonCfg, Field};
use crate::trace::{Cause, Effect, Effects, Input, Mode, Op, RingWrite};

impl<E: Endpoint> Injector<E> {
    /// Shows the effects of one input, as faults leave them.
    pub(super) fn present(
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
}

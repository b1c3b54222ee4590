//! What a step gives faults to fire at, before and after its input takes effect.

use super::Run;
use crate::endpoint::Endpoint;
use crate::fault::bench::Scene;
use crate::fault::injector::Injector;
use crate::fault::trigger::{Occasion, On, writes_status};
use crate::spec::{CommonCfg, Field};
use crate::trace::{Access, Cause, Input, Op};

impl<E: Endpoint> Injector<E> {
    /// The triggers that come before the input takes effect.
    pub(super) fn before(&mut self, run: &mut Run, input: &Input) {
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

    /// The triggers that come when the input has taken effect, and what is late.
    pub(super) fn after(&mut self, run: &mut Run, input: &Input) {
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

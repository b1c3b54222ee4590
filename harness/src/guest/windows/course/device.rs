//! What becomes of the devices: their nodes are looked at, one after the other, until a driver has
//! started each or has not.

use super::order::{Ended, Stage, Time};
use super::script::setting_failed;
use super::way::{Course, Doing};
use crate::guest::agent::AgentError;
use crate::guest::windows::words::{Node, Settled};

/// How often a device node is looked at.
pub(super) const LOOK: Time = Time::from_millis(300);

impl Course {
    /// Begins with a device, at this time.
    pub(super) fn begin_device(&mut self, now: Time, dev: usize) {
        self.since = now;
        self.seen = (0, Node::default());
        match self.devices.get(dev).map(|d| (d.bus, d.settings.clone())) {
            Some((bus, Some(settings))) => {
                self.doing = Some(Doing::Settings(dev));
                self.script(&format!("interrupts {bus} {settings}"), self.limits.device);
            }
            _ => self.look(dev),
        }
    }

    /// What was to be set at a node was set, or was not: then the scenario can't be run as
    /// it is written.
    pub(super) fn set(&mut self, dev: usize, ran: &Result<Ended, AgentError>) {
        match setting_failed(dev, ran) {
            Some(error) => self.line(error),
            None => self.look(dev),
        }
    }

    /// Has the node of a device looked at.
    pub(super) fn look(&mut self, dev: usize) {
        let bus = self.devices.get(dev).map_or(0, |device| device.bus);
        self.look = None;
        self.doing = Some(Doing::Looking(dev));
        self.script(&format!("node {bus} 0"), self.limits.device);
    }

    /// The node was looked at. Whether it took too long is asked here, when nothing is under way.
    pub(super) fn looked(&mut self, now: Time, dev: usize, ran: Result<Ended, AgentError>) {
        let node = match ran {
            Ok(ended) => Node::parse(&ended.output).unwrap_or_default(),
            Err(error) => {
                self.line(format!("harness: the node of device {dev}: {error}"));
                Node::default()
            }
        };
        match self.seen.1 == node {
            true => self.seen.0 += 1,
            false => self.seen = (1, node),
        }
        match self.seen.1.settled(self.seen.0) {
            Settled::No if now >= self.since + self.limits.device => self.late(now, dev),
            Settled::No => self.look = Some((dev, now + LOOK)),
            Settled::Started | Settled::Problem => {
                self.told(dev);
                let done = self.after_look.take().map(|awaited| awaited.done);
                self.settled(now, dev, done);
            }
        }
    }

    /// A device was not started in time. What a driver does not do is its conduct, and no error.
    fn late(&mut self, now: Time, dev: usize) {
        let words = self.seen.1.words();
        self.line(format!(
            "harness: stage `device`: device {dev} was not started within {} s: {words}",
            self.limits.device.as_secs_f64()
        ));
        let has_problem = self.seen.1.found && self.seen.1.problem != 0;
        if has_problem {
            self.told(dev);
        }
        let done = self.after_look.take().map(|awaited| awaited.late);
        if has_problem || done.is_some() {
            return self.settled(now, dev, done);
        }
        // It stays as it is; whoever waits for it runs out of time.
        self.stage = Stage::Work;
        self.work();
    }

    /// Tells what has become of a device.
    fn told(&mut self, dev: usize) {
        let node = self.seen.1.clone();
        self.line(format!("harness: device {dev}: {}", node.words()));
        let queues = self.devices.get(dev).map_or(0, |device| device.queues);
        self.line(node.line(dev, queues));
    }

    /// What has become of a device is known: what comes after it. `done`: the answer of a command that has
    /// waited for it.
    fn settled(&mut self, now: Time, dev: usize, done: Option<String>) {
        if let Some(done) = done {
            self.line(done);
            return self.work();
        }
        if dev + 1 < self.devices.len() {
            return self.begin_device(now, dev + 1);
        }
        self.is_ready();
    }

    pub(super) fn is_ready(&mut self) {
        self.stage = Stage::Work;
        self.line("MISFIRE: ready".to_owned());
        self.work();
    }
}

//! Devices that come and go: what happens to slots, one thing after the other, beside whatever command
//! runs. The slots are ours (decision 0010); Windows is told by the script, which has its Plug and Play
//! look, and says what has become of the device.

use std::collections::VecDeque;

use super::device::LOOK;
use super::order::{Answer, Do, Place, Time};
use super::script::{script, setting_failed};
use crate::guest::Slot;
use crate::guest::windows::words::{Node, Settled};

/// What the agent is doing for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// The device is let go; how that is called.
    Out(usize, &'static str),
    /// The device is looked for.
    In(usize),
    /// Its settings are made.
    Settings(usize),
    /// Its node is looked at.
    Looking(usize),
}

/// What happens to slots.
#[derive(Debug)]
pub(super) struct Slots {
    limit: Time,
    places: Vec<Place>,
    waiting: VecDeque<(usize, Slot)>,
    doing: Option<Doing>,
    /// A device whose node is looked at again, and when.
    look: Option<(usize, Time)>,
    /// When it was put in.
    since: Time,
    /// How often its node was seen as it is, and how.
    seen: (u32, Node),
    out: VecDeque<Do>,
}

impl Slots {
    /// A device may take `limit` to go or to come.
    pub fn new(limit: Time) -> Self {
        Self {
            limit,
            places: Vec::new(),
            waiting: VecDeque::new(),
            doing: None,
            look: None,
            since: Time::ZERO,
            seen: (0, Node::default()),
            out: VecDeque::new(),
        }
    }

    /// Where the devices are.
    pub fn places(&mut self, places: &[Place]) {
        self.places = places.to_vec();
    }

    /// Something happens to a slot.
    pub fn happens(&mut self, now: Time, dev: usize, happens: Slot) {
        self.waiting.push_back((dev, happens));
        self.next(now);
    }

    /// What there is to do.
    pub fn take(&mut self) -> Option<Do> {
        self.out.pop_front()
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn deadline(&self) -> Option<Time> {
        self.look.map(|(_, at)| at)
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Time) {
        if let Some((dev, at)) = self.look
            && now >= at
        {
            self.look(dev);
        }
    }

    /// The agent came back.
    pub fn answer(&mut self, now: Time, answer: Answer) {
        let (Some(doing), Answer::Ran(ran)) = (self.doing.take(), answer) else {
            return;
        };
        if let Doing::Settings(dev) = doing {
            return match setting_failed(dev, &ran) {
                Some(error) => self.line(error),
                None => self.look(dev),
            };
        }
        let (output, error) = match ran {
            Ok(ended) => (ended.output, None),
            Err(error) => (String::new(), Some(error)),
        };
        if let Some(error) = &error {
            self.line(format!("harness: a slot: {error}"));
        }
        let says = |word: &str| output.lines().any(|line| line.trim() == word);
        match doing {
            Doing::Out(dev, how) => {
                if says("MISFIRE: slot gone") {
                    self.line(format!("MISFIRE: dev {dev} removed {how}"));
                } else {
                    // It is the driver's conduct: whoever waits for it runs out of time.
                    let said = output.trim().replace("\r\n", " | ");
                    self.line(format!("harness: device {dev} was not let go: {said}"));
                }
            }
            Doing::In(dev) => {
                (self.since, self.seen) = (now, (0, Node::default()));
                return match self.settings(dev) {
                    Some(settings) => self.order(Doing::Settings(dev), &settings),
                    None => self.look(dev),
                };
            }
            Doing::Settings(_) => {}
            Doing::Looking(dev) => {
                let node = Node::parse(&output).unwrap_or_default();
                return self.looked(now, dev, node);
            }
        }
        self.next(now);
    }

    /// Begins with what happened next.
    fn next(&mut self, now: Time) {
        if self.doing.is_some() || self.look.is_some() {
            return;
        }
        let Some((dev, happens)) = self.waiting.pop_front() else {
            return;
        };
        self.since = now;
        let bus = self.bus(dev);
        match happens {
            Slot::LetGo { kept, surprise } => {
                let (how, called) = match (surprise, kept) {
                    (true, _) => ("surprise", "surprise"),
                    // Nobody but us asks the system to let it go.
                    (false, true) => ("orderly", "orderly"),
                    (false, false) => ("eject", "orderly"),
                };
                let args = format!("slot-out {bus} how={how}");
                self.order(Doing::Out(dev, called), &args);
            }
            Slot::PutIn => self.order(Doing::In(dev), &format!("slot-in {bus}")),
        }
    }

    fn order(&mut self, doing: Doing, args: &str) {
        self.doing = Some(doing);
        self.out.push_back(Do::Beside(script(args), self.limit));
    }

    fn look(&mut self, dev: usize) {
        self.look = None;
        let bus = self.bus(dev);
        self.order(Doing::Looking(dev), &format!("node {bus} 0"));
    }

    fn looked(&mut self, now: Time, dev: usize, node: Node) {
        match self.seen.1 == node {
            true => self.seen.0 += 1,
            false => self.seen = (1, node),
        }
        let (times, node) = &self.seen;
        let late = now >= self.since + self.limit;
        if node.settled(*times) == Settled::No && !late {
            self.look = Some((dev, now + LOOK));
            return;
        }
        let (words, line) = (node.words(), node.line(dev, self.queues(dev)));
        let settled = node.found && (node.problem != 0 || node.settled(*times) != Settled::No);
        self.line(format!("harness: device {dev}: {words}"));
        if settled {
            self.line(line);
        }
        self.next(now);
    }

    fn line(&mut self, line: String) {
        self.out.push_back(Do::Line(line));
    }

    fn bus(&self, dev: usize) -> i64 {
        self.places.get(dev).map_or(0, |place| place.bus)
    }

    fn queues(&self, dev: usize) -> u16 {
        self.places.get(dev).map_or(0, |place| place.queues)
    }

    fn settings(&self, dev: usize) -> Option<String> {
        let place = self.places.get(dev)?;
        let settings = place.settings.as_ref()?;
        Some(format!("interrupts {} {settings}", place.bus))
    }
}

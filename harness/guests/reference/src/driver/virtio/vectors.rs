//! Which message each event of the device gets, and writing it down in the device.
//!
//! A vector for the configuration and for each queue; too few messages, or a refusal: one for all;
//! refused again: no messages, a line (virtio 1.3, 4.1.5.1.2).

use super::spec::NO_VECTOR;
use super::transport::Transport;
use crate::dbg_print;
use crate::driver::mistake::{Mistake, Mistakes};
use crate::nt::interrupt::Info;
use alloc::{vec, vec::Vec};
use core::fmt;

/// How the device's events are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Message 0 is the configuration, message `i + 1` is the `i`th queue in use.
    PerQueue,
    /// Message 0 is everything.
    Shared,
    /// Message 0 is the configuration; the queues have none and are polled.
    Polled,
    /// No vectors: the ISR status tells.
    IsrStatus,
}

/// The plans to try, in order, for so many messages and queues.
pub fn plans(messages: usize, queues: usize, poll: bool, mistakes: Mistakes) -> Vec<Plan> {
    if poll && messages > 0 {
        return vec![Plan::Polled];
    }
    let enough = messages > queues || mistakes.has(Mistake::ASSUME_ALL_MESSAGES);
    let share = messages > 0 && !mistakes.has(Mistake::NO_SHARED_VECTOR_FALLBACK);
    let mut plans = Vec::new();
    if enough {
        plans.push(Plan::PerQueue);
    }
    if share {
        plans.push(Plan::Shared);
    }
    plans
}

/// An event that can have a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Config,
    Queue(u16),
}

/// `0xffff` for no vector.
struct Vector(u16);

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == NO_VECTOR {
            f.write_str("0xffff")
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Queue(n) => write!(f, "queue {n}"),
        }
    }
}

/// Writes vectors as a plan says.
pub struct Mapper<'a> {
    /// The device.
    pub transport: &'a Transport,
    /// The messages that are there, by number.
    pub messages: &'a [Info],
    /// The numbers of the queues in use.
    pub queues: &'a [u16],
    /// Whether vectors have been written before, in another life of the device.
    pub again: bool,
    /// What to do wrong.
    pub mistakes: Mistakes,
}

impl Mapper<'_> {
    /// Maps the configuration. `false` when the device refuses.
    pub fn map_config(&self, plan: Plan) -> bool {
        !self.maps_config() || self.map(Event::Config, self.vector(plan, Event::Config))
    }

    fn maps_config(&self) -> bool {
        let once = self.again && self.mistakes.has(Mistake::CONFIG_VECTOR_ONCE);
        !once && !self.mistakes.has(Mistake::CONFIG_VECTOR_NOT_MAPPED)
    }

    /// Maps the queues in use. `false` when the device refuses one.
    pub fn map_queues(&self, plan: Plan) -> bool {
        if plan == Plan::Polled {
            return true;
        }
        let mut queues = self.queues.iter().map(|&index| Event::Queue(index));
        queues.all(|event| self.map(event, self.vector(plan, event)))
    }

    /// Maps one queue. `false` when the device refuses.
    pub fn map_queue(&self, plan: Plan, index: u16) -> bool {
        let event = Event::Queue(index);
        self.map(event, self.vector(plan, event))
    }

    fn vector(&self, plan: Plan, event: Event) -> u16 {
        let message = match (plan, event) {
            (Plan::PerQueue, Event::Queue(index)) => {
                let place = self.queues.iter().position(|&queue| queue == index);
                place.map_or(0, |place| place + 1)
            }
            (Plan::PerQueue, Event::Config)
                if self.mistakes.has(Mistake::CONFIG_ON_LAST_MESSAGE) =>
            {
                self.queues.len()
            }
            _ => 0,
        };
        let Some(info) = self.messages.get(message) else {
            return message as u16;
        };
        if self.mistakes.has(Mistake::APIC_VECTOR_AS_INDEX) {
            info.vector as u16
        } else {
            info.message_number as u16
        }
    }

    fn map(&self, event: Event, vector: u16) -> bool {
        if let Event::Queue(n) = event {
            self.transport.select(n);
        }
        match event {
            Event::Config => self.transport.set_config_vector(vector),
            Event::Queue(_) => self.transport.set_queue_vector(vector),
        }
        let unchecked =
            event == Event::Config && self.mistakes.has(Mistake::CONFIG_VECTOR_UNCHECKED);
        let unread = self.mistakes.has(Mistake::NO_READ_BACK)
            || self.transport.is_legacy()
                && self.mistakes.has(Mistake::LEGACY_VECTOR_NOT_READ_BACK);
        if unchecked || unread {
            dbg_print!("VIRTIO: {event} vector written {vector}");
            return true;
        }
        let read = self.read(event);
        dbg_print!(
            "VIRTIO: {event} vector written {vector} read back {}",
            Vector(read)
        );
        if self.mistakes.has(Mistake::ACCEPTS_ANY_READ_BACK) {
            return read != NO_VECTOR;
        }
        let is_ignored = event == Event::Config
            && read == NO_VECTOR
            && self.mistakes.has(Mistake::CONFIG_REFUSAL_IGNORED);
        is_ignored || read == vector
    }

    /// The vector that the device says it has for the event; a queue is selected.
    fn read(&self, event: Event) -> u16 {
        match event {
            Event::Config => self.transport.config_vector(),
            Event::Queue(_) => self.transport.queue_vector(),
        }
    }

    /// Says which vector each event has.
    pub fn report(&self, plan: Plan) {
        let mapped = match plan {
            Plan::Polled => &[],
            _ => self.queues,
        };
        let queues = mapped.iter().map(|&index| Event::Queue(index));
        let config = self.maps_config().then_some(Event::Config);
        for event in config.into_iter().chain(queues) {
            dbg_print!("VIRTIO: {event} uses vector {}", self.vector(plan, event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistaken(name: &str) -> Mistakes {
        Mistakes::parse(name).unwrap()
    }

    #[test]
    fn a_vector_for_each_is_tried_first_when_there_are_enough() {
        let right = Mistakes::default();
        assert_eq!(plans(3, 2, false, right), [Plan::PerQueue, Plan::Shared]);
        assert_eq!(plans(2, 2, false, right), [Plan::Shared]);
        assert_eq!(plans(0, 2, false, right), []);
        assert_eq!(plans(3, 2, true, right), [Plan::Polled]);
        assert_eq!(plans(0, 2, true, right), []);
    }

    #[test]
    fn the_mistakes_leave_a_plan_out_or_add_one() {
        let no_sharing = mistaken("no-shared-vector-fallback");
        assert_eq!(plans(3, 2, false, no_sharing), [Plan::PerQueue]);
        assert_eq!(plans(1, 2, false, no_sharing), []);
        let assuming = mistaken("assume-all-messages");
        assert_eq!(plans(1, 2, false, assuming), [Plan::PerQueue, Plan::Shared]);
    }
}

//! Commands that are finished and not yet used: task management can still take their outcome back.

use vm_memory::{Bytes, GuestAddress};

use super::super::device::Memory;

/// Commands that are kept at the most; what is beyond can't be aborted any more.
const MOST: usize = 4096;

/// The commands of the units that the driver does not have back. There are few at a time, and room
/// for the most: the data path takes no memory.
#[derive(Clone, Debug)]
pub struct Tasks {
    tasks: Vec<Task>,
}

/// A command.
#[derive(Clone, Copy, Debug)]
struct Task {
    queue: u16,
    head: u16,
    /// Its unit.
    unit: usize,
    id: u64,
    /// Where its response stands.
    response: GuestAddress,
}

/// A command that is finished: its unit, its id, and where its response stands.
pub type Finished = (usize, u64, GuestAddress);

/// Which commands are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of a unit that the driver gave this id.
    Id(usize, u64),
    /// All of a unit.
    Unit(usize),
    /// All of the target.
    All,
}

impl Which {
    fn means(self, task: &Task) -> bool {
        match self {
            Self::Id(unit, id) => (task.unit, task.id) == (unit, id),
            Self::Unit(unit) => task.unit == unit,
            Self::All => true,
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            tasks: Vec::with_capacity(MOST),
        }
    }
}

impl Tasks {
    /// A command in a chain of `queue` is finished: its unit, its id, and where its response stands.
    pub fn finished(&mut self, queue: u16, head: u16, (unit, id, response): Finished) {
        self.used(queue, head);
        if self.tasks.len() < MOST {
            self.tasks.push(Task {
                queue,
                head,
                unit,
                id,
                response,
            });
        }
    }

    /// The driver has a chain back.
    pub fn used(&mut self, queue: u16, head: u16) {
        self.tasks
            .retain(|task| (task.queue, task.head) != (queue, head));
    }

    /// The chains of a queue are the driver's again.
    pub fn stopped(&mut self, queue: u16) {
        self.tasks.retain(|task| task.queue != queue);
    }

    /// Whether there is such a command.
    pub fn has(&self, which: Which) -> bool {
        self.tasks.iter().any(|task| which.means(task))
    }

    /// Ends such commands with `response`.
    pub fn end(&mut self, memory: &Memory, which: Which, response: u32) {
        self.tasks.retain(|task| {
            let ends = which.means(task);
            if ends {
                // It was written before; where it can't be any more, nobody reads it.
                let _ = memory.write_slice(&[response as u8], task.response);
            }
            !ends
        });
    }
}

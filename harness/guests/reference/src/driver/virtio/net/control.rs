//! The control queue: one command at a time.

use crate::dbg_print;
use crate::driver::mistake::Mistake;
use crate::driver::virtio::base::{Base, Tally};
use crate::driver::virtio::queue::{Part, State};
use crate::driver::virtio::spec::control;
use crate::nt::dispatch;
use alloc::collections::VecDeque;

/// Where in a slot's outgoing memory a command's data lies, and how much there can be.
const DATA: usize = 16;
const MOST_DATA: usize = 32;
/// The only slot that is used.
const SLOT: usize = 0;

/// Why a command is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The device has to be told after each reset.
    Start,
    /// The device asked for it.
    Answer,
    /// A load.
    Load,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// How the log calls it.
    name: &'static str,
    kind: (u8, u8),
    data: [u8; MOST_DATA],
    length: usize,
    why: Why,
}

impl Command {
    /// A command with data, of which no more is sent than fits.
    pub fn new(name: &'static str, kind: (u8, u8), sent: &[u8], why: Why) -> Self {
        let mut data = [0; MOST_DATA];
        let length = sent.len().min(MOST_DATA);
        data[..length].copy_from_slice(&sent[..length]);
        Self {
            name,
            kind,
            data,
            length,
            why,
        }
    }
}

/// Commands, in their order.
#[derive(Default)]
pub struct Control {
    /// The queue's place, if there is one.
    pub place: Option<usize>,
    waiting: VecDeque<Command>,
    sent: Option<Command>,
    /// Commands that the device has refused.
    pub refused: u32,
}

impl Control {
    /// Adds a command behind the others. Without a queue there is nobody to obey it.
    pub fn push(&mut self, command: Command) {
        if self.place.is_some() {
            self.waiting.push_back(command);
        }
    }

    /// Forgets what is to be sent after every reset, because it is about to be added again.
    pub fn start_again(&mut self) {
        self.waiting.retain(|command| command.why != Why::Start);
    }

    /// Whether a command is not answered yet.
    pub fn is_busy(&self) -> bool {
        self.sent.is_some() || !self.waiting.is_empty()
    }

    /// Forgets the commands of a load.
    pub fn end_load(&mut self) {
        self.waiting.retain(|command| command.why != Why::Load);
    }

    /// Takes an answer, and sends the next command.
    pub fn go_on(&mut self, base: &mut Base) {
        while self.take_answer(base) && self.send(base) {
            if !base.makes(Mistake::ENDLESS_CONTROL_WAIT) {
                return;
            }
            self.wait(base);
        }
    }

    /// Whether the queue is free.
    fn take_answer(&mut self, base: &mut Base) -> bool {
        let Some(slot) = self.slot(base) else {
            return false;
        };
        match slot.state {
            State::InFlight => return false,
            // Taken back, or not sent yet.
            State::Free => self.sent = None,
            State::Done(_) => {
                let answer: u8 = slot.answer().read(0);
                slot.state = State::Free;
                slot.retried = false;
                let Some(command) = self.sent.take() else {
                    return true;
                };
                let obeyed = answer == control::OK;
                let name = command.name;
                if !obeyed {
                    dbg_print!("VIRTIO: control: {name} refused: {answer}");
                    self.refused += 1;
                } else if command.why == Why::Answer {
                    dbg_print!("VIRTIO: control: {name}");
                }
                if let Some(load) = &mut base.load {
                    Self::count(load, &command, obeyed);
                }
            }
        }
        true
    }

    fn count(load: &mut Tally, command: &Command, obeyed: bool) {
        load.resets = 0;
        if command.why == Why::Load {
            load.finished += 1;
            load.errors += u64::from(!obeyed);
        }
    }

    fn send(&mut self, base: &mut Base) -> bool {
        let deadline = base.time_limit();
        let Some(place) = self.place else {
            return false;
        };
        let Some(command) = self.waiting.pop_front() else {
            return false;
        };
        let Some(slot) = self.slot(base) else {
            return false;
        };
        let (head, data) = (slot.out(0), slot.out(DATA));
        head.write(0, command.kind.0);
        head.write(1, command.kind.1);
        for (at, byte) in command.data[..command.length].iter().enumerate() {
            data.write(at, *byte);
        }
        let data = (command.length > 0).then(|| Part::out(data, command.length as u32));
        let answer = Part::into(slot.answer(), 1);
        slot.parts = [Some(Part::out(head, 2)), data, Some(answer)];
        base.queues[place].submit(SLOT, deadline);
        self.sent = Some(command);
        true
    }

    fn slot<'a>(&self, base: &'a mut Base) -> Option<&'a mut crate::driver::virtio::queue::Slot> {
        base.active().get_mut(self.place?)?.slots.get_mut(SLOT)
    }

    /// Waits until an interrupt has told of the answer, however long that takes.
    fn wait(&self, base: &mut Base) {
        let Some(place) = self.place else { return };
        while !(dispatch::is_pending() && base.queues[place].has_used()) {
            core::hint::spin_loop();
        }
        base.take_used(place);
    }
}

//! What the driver asks a target when it starts and when the device says that something changed.

use super::REQUESTS;
use super::command::{answer, write};
use crate::dbg_print;
use crate::driver::virtio::base::Base;
use crate::driver::virtio::disk::{Answer, TAG_LIMIT};
use crate::driver::virtio::queue::{Part, State};
use crate::driver::virtio::spec::scsi::op;
use crate::hal::mmio::Mmio;
use alloc::collections::VecDeque;

/// Bytes of data that each answer has room for.
const ROOM: u32 = 256;
/// How often a command is given again to a unit that wants attention.
const MOST_TRIES: u32 = 4;

/// A command of the survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    ReportLuns,
    Inquiry,
    ReadCapacity,
    ReadLongCapacity,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::ReportLuns => "REPORT LUNS",
            Self::Inquiry => "INQUIRY",
            Self::ReadCapacity | Self::ReadLongCapacity => "READ CAPACITY",
        }
    }

    fn cdb(self) -> [u8; 16] {
        let mut cdb = [0; 16];
        let room = ROOM.to_be_bytes();
        match self {
            Self::ReportLuns => {
                cdb[0] = op::REPORT_LUNS;
                cdb[6..10].copy_from_slice(&room);
            }
            Self::Inquiry => {
                cdb[0] = op::INQUIRY;
                cdb[3..5].copy_from_slice(&room[2..]);
            }
            Self::ReadCapacity => cdb[0] = op::READ_CAPACITY_10,
            Self::ReadLongCapacity => {
                cdb[0] = op::SERVICE_ACTION_IN_16;
                cdb[1] = op::READ_CAPACITY_16;
                cdb[10..14].copy_from_slice(&room);
            }
        }
        cdb
    }
}

/// What the survey has found, and what it still asks.
#[derive(Default)]
pub struct Survey {
    waiting: VecDeque<Step>,
    sent: Option<(Step, usize)>,
    tries: u32,
    /// Logical units of the target.
    pub luns: u32,
    /// Sectors of 512 bytes of unit 0.
    pub capacity: u64,
    /// What went wrong.
    pub failed: bool,
}

impl Survey {
    /// Asks for everything.
    pub fn begin(&mut self) {
        self.ask([Step::ReportLuns, Step::Inquiry, Step::ReadCapacity]);
    }

    /// Asks for the capacity only.
    pub fn measure(&mut self) {
        self.ask([Step::ReadCapacity]);
    }

    fn ask(&mut self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            if !self.waiting.contains(&step) {
                self.waiting.push_back(step);
            }
        }
    }

    /// Whether something is not answered yet.
    pub fn is_busy(&self) -> bool {
        self.sent.is_some() || !self.waiting.is_empty()
    }

    /// Takes an answer, and asks what is next.
    pub fn go_on(&mut self, base: &mut Base) {
        let deadline = base.time_limit();
        let Some(queue) = base.active().get_mut(REQUESTS) else {
            return;
        };
        if let Some((step, n)) = self.sent {
            let slot = &mut queue.slots[n];
            match slot.state {
                State::InFlight => return,
                // Taken back: the device is being given up or started anew.
                State::Free => self.waiting.push_front(step),
                State::Done(_) => {
                    slot.state = State::Free;
                    let (answer, data) = (answer(slot), slot.data());
                    slot.tag = 0;
                    slot.retried = false;
                    self.take(step, answer, data);
                }
            }
            self.sent = None;
        }
        let Some(step) = self.waiting.front().copied() else {
            return;
        };
        let Some(n) = queue.free() else { return };
        let Some(data) = queue.data(n, ROOM as usize) else {
            return;
        };
        self.waiting.pop_front();
        let slot = &mut queue.slots[n];
        slot.tag = TAG_LIMIT;
        slot.retried = false;
        write(slot, &step.cdb(), Some(Part::into(data, ROOM)));
        queue.submit(n, deadline);
        self.sent = Some((step, n));
    }

    fn take(&mut self, step: Step, answer: Answer, data: Option<Mmio>) {
        let (Answer::Well, Some(data)) = (answer, data) else {
            self.tries += 1;
            if matches!(answer, Answer::Again(_)) && self.tries < MOST_TRIES {
                self.waiting.push_front(step);
                return;
            }
            dbg_print!("VIRTIO: scsi: {} failed: {answer:?}", step.name());
            self.failed = true;
            self.tries = 0;
            return;
        };
        self.tries = 0;
        let number = |at: usize| {
            let bytes = [0, 1, 2, 3].map(|byte| data.read::<u8>(at + byte));
            u32::from_be_bytes(bytes)
        };
        match step {
            Step::ReportLuns => {
                self.luns = number(0) / 8;
                dbg_print!("VIRTIO: scsi: {} logical units", self.luns);
            }
            Step::Inquiry => {
                let kind: u8 = data.read(0);
                dbg_print!("VIRTIO: scsi: unit 0 is of type {:#04x}", kind & 0x1f);
            }
            Step::ReadCapacity if number(0) == u32::MAX => {
                self.waiting.push_front(Step::ReadLongCapacity);
            }
            Step::ReadCapacity => self.measured(number(0).into(), number(4)),
            Step::ReadLongCapacity => {
                let last = u64::from(number(0)) << 32 | u64::from(number(4));
                self.measured(last, number(8));
            }
        }
    }

    fn measured(&mut self, last: u64, block: u32) {
        self.failed = block != 512;
        self.capacity = if self.failed {
            0
        } else {
            last.saturating_add(1)
        };
        dbg_print!(
            "VIRTIO: scsi: unit 0 has {} blocks of {block} bytes",
            last.saturating_add(1)
        );
    }
}

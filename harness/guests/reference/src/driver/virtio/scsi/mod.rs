//! A SCSI host (virtio 1.3, 5.6).

mod command;
mod survey;

use super::base::{Base, Tally};
use super::disk::Load;
use super::function::{Function, Wanted};
use super::queue::{Part, Slot, State};
use super::registers::Registers;
use super::spec::{feature, scsi};
use crate::dbg_print;
use crate::driver::Settings;
use crate::driver::args::Args;
use crate::driver::mistake::Mistake;
use crate::hal::mmio::Mmio;
use crate::nt::status::NtStatus;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use command::{DISK, LUN};
use survey::Survey;

/// Places of the queues: control, events, and from here on requests.
const CONTROL: usize = 0;
const EVENTS: usize = 1;
const REQUESTS: usize = 2;
/// Buffers for events, and the bytes of an event.
const EVENT_BUFFERS: u16 = 4;
const EVENT_SIZE: usize = 16;
/// The slot of the control queue.
const SLOT: usize = 0;

/// What was done about a request that is late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Nothing,
    Aborted,
    UnitReset,
}

/// What the driver knows of a SCSI host.
#[derive(Default)]
pub struct Scsi {
    survey: Survey,
    stage: Stage,
    /// Buffers for events are to be posted.
    listens: bool,
    /// The event that the survey under way comes of.
    event: Option<&'static str>,
    events: u32,
    load: Option<Load>,
}

impl Scsi {
    /// Asks the device to act on requests that are with it.
    fn manage(&mut self, base: &mut Base, what: u32, id: u64) -> bool {
        let deadline = base.time_limit();
        let Some(queue) = base.active().get_mut(CONTROL) else {
            return false;
        };
        let slot = &mut queue.slots[SLOT];
        if slot.state != State::Free {
            return false;
        }
        let asked = slot.out(0);
        asked.write(scsi::TMF_TYPE, 0u32);
        asked.write(scsi::TMF_SUBTYPE, what);
        for (at, byte) in LUN.iter().enumerate() {
            asked.write(scsi::TMF_LUN + at, *byte);
        }
        asked.write(scsi::TMF_ID, id);
        let answer = Part::into(slot.answer(), 1);
        slot.tag = what.into();
        slot.retried = false;
        slot.parts = [Some(Part::out(asked, scsi::TMF_SIZE)), Some(answer), None];
        queue.submit(SLOT, deadline);
        true
    }

    /// Takes the answer to a task management function.
    fn take_managed(base: &mut Base) {
        let Some(queue) = base.active().get_mut(CONTROL) else {
            return;
        };
        let slot: &mut Slot = &mut queue.slots[SLOT];
        if matches!(slot.state, State::Done(_)) {
            let response: u8 = slot.answer().read(0);
            let name = if slot.tag == u64::from(scsi::ABORT_TASK) {
                "ABORT TASK"
            } else {
                "LOGICAL UNIT RESET"
            };
            let how = match response {
                scsi::FUNCTION_COMPLETE | scsi::FUNCTION_SUCCEEDED => "done",
                scsi::FUNCTION_REJECTED => "rejected",
                _ => "failed",
            };
            dbg_print!("VIRTIO: scsi: {name} {how}");
            slot.state = State::Free;
        }
    }

    /// Takes the events that have come.
    fn take_events(&mut self, base: &mut Base) {
        base.receive(EVENTS, |data, length| {
            if length >= EVENT_SIZE {
                self.events += 1;
                self.event = Some(self.on_event(data));
            }
        });
        if self.listens {
            base.post(EVENTS, EVENT_SIZE);
        }
    }

    fn on_event(&mut self, data: Mmio) -> &'static str {
        let event: u32 = data.read(0);
        let reason: u32 = data.read(scsi::EVENT_REASON);
        let what = match (event & !scsi::EVENTS_MISSED, reason) {
            _ if event & scsi::EVENTS_MISSED != 0 => "missed",
            (scsi::EVENT_TRANSPORT_RESET, scsi::RESET_REMOVED) => "removed",
            (scsi::EVENT_TRANSPORT_RESET, scsi::RESET_RESCAN) => "rescan",
            (scsi::EVENT_TRANSPORT_RESET, _) => "reset",
            (scsi::EVENT_PARAMETER, scsi::CAPACITY_CHANGED) => "capacity",
            (scsi::EVENT_PARAMETER, _) => "parameter",
            _ => "none",
        };
        dbg_print!("VIRTIO: scsi: event {what}");
        match what {
            "removed" => self.survey.capacity = 0,
            "capacity" | "parameter" => self.survey.measure(),
            "missed" | "rescan" | "reset" => self.survey.begin(),
            _ => {}
        }
        what
    }
}

impl Function for Scsi {
    const FEATURES: u64 = feature::SCSI_HOTPLUG | feature::SCSI_CHANGE;

    fn new(_settings: Settings) -> Self {
        Self::default()
    }

    fn set_up(&mut self, base: &mut Base) -> Result<Vec<Wanted>, NtStatus> {
        let missing = NtStatus::DEVICE_CONFIGURATION_ERROR;
        let read = |config: Registers| config.read::<u32>(scsi::NUM_QUEUES);
        let offered = base.config(read).ok_or(missing)?;
        dbg_print!("VIRTIO: scsi: {offered} request queues");
        let there = base.registers()?.queues().saturating_sub(REQUESTS as u16);
        let most = base.settings.queues.min(there);
        let most = most.min(u16::try_from(offered).unwrap_or(u16::MAX));
        let used = most.min(base.queues_for_messages(REQUESTS, 1));
        self.listens = base.features & Self::FEATURES != 0;
        if used == 0 {
            return Ok(Vec::new());
        }
        let depths = [1, EVENT_BUFFERS].into_iter();
        let depths = depths.chain(core::iter::repeat_n(base.settings.depth, used.into()));
        let wanted = (0..).zip(depths);
        Ok(wanted
            .map(|(index, depth)| Wanted { index, depth })
            .collect())
    }

    fn before_live(&mut self, base: &mut Base) {
        if base.makes(Mistake::EVENTS_BEFORE_DRIVER_OK)
            && let Some(queue) = base.active().get(EVENTS)
        {
            queue.notify();
        }
    }

    fn went_live(&mut self, base: &mut Base) {
        self.stage = Stage::Nothing;
        if self.listens {
            base.post(EVENTS, EVENT_SIZE);
        }
        self.survey.begin();
        self.survey.go_on(base);
    }

    fn serve(&mut self, base: &mut Base) {
        Self::take_managed(base);
        self.take_events(base);
        self.survey.go_on(base);
        if !self.survey.is_busy()
            && let Some(event) = self.event.take()
        {
            base.change = Some(format!("event={event} capacity={}", self.survey.capacity));
        }
    }

    fn timed_out(&mut self, base: &mut Base, place: usize, n: usize) -> bool {
        let queue = &mut base.queues[place];
        let (index, id) = (queue.index, command::id(&queue.slots[n]));
        let (what, next, word) = match self.stage {
            _ if place < REQUESTS => return false,
            Stage::Nothing => (scsi::ABORT_TASK, Stage::Aborted, "aborting it"),
            Stage::Aborted => (scsi::UNIT_RESET, Stage::UnitReset, "resetting the unit"),
            Stage::UnitReset => return false,
        };
        if !self.manage(base, what, id) {
            return false;
        }
        self.stage = next;
        dbg_print!("VIRTIO: queue {index}: request timed out, {word}");
        if let Some(load) = &mut base.load {
            load.timeouts += 1;
        }
        let limit = base.time_limit();
        let queue = &mut base.queues[place];
        queue.slots[n].wait_until(limit, queue.patience);
        true
    }

    fn config_changed(&mut self, base: &mut Base) -> String {
        let read = |config: Registers| config.read::<u32>(scsi::SEG_MAX);
        let segments = base.config(read).unwrap_or_default();
        format!("seg_max={segments}")
    }

    fn is_settled(&self) -> bool {
        !self.survey.is_busy()
    }

    fn begin(&mut self, base: &mut Base, args: &Args) -> Result<(), &'static str> {
        self.load = Some(Load::new(base, args, &DISK, |_| true)?);
        Ok(())
    }

    fn go_on(&mut self, base: &mut Base, tally: &mut Tally) -> bool {
        let Some(load) = &mut self.load else {
            return true;
        };
        if !load.is_open() {
            if self.survey.is_busy() {
                return false;
            }
            if let Err(reason) = load.open(base, self.survey.capacity) {
                tally.reason = Some(reason);
                return true;
            }
        }
        let finished = tally.finished;
        let over = load.go_on(base, tally);
        if tally.finished != finished {
            self.stage = Stage::Nothing;
        }
        over
    }

    fn counted(&self) -> &'static str {
        "blocks"
    }

    fn state(&self) -> String {
        format!(
            "luns={} capacity={} events={}",
            self.survey.luns, self.survey.capacity, self.events
        )
    }
}

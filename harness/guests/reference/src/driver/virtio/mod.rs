//! The virtio block driver: bring-up by the checklist, a vector for each queue if it can, one for
//! all if it must, a line at last; and everything anew after each reset.

mod bring_up;
mod interrupt;
mod load;
mod queue;
pub mod spec;
mod transport;
mod vectors;

use super::args::Args;
use super::mistake::Mistake;
use super::{Outcome, Running, Settings, Style, Workload};
use crate::dbg_print;
use crate::nt::dispatch;
use crate::nt::interrupt::{Config, Info};
use crate::nt::pnp::{Driver, WdfDevice};
use crate::nt::policy::Kind;
use crate::nt::resources::Requirement;
use crate::nt::status::NtStatus;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use interrupt::Isr;
use load::Load;
use queue::Queue;
use transport::Transport;
use vectors::Plan;

/// Messages that the driver can use: one for the configuration and one for each queue.
const MOST_MESSAGES: usize = 17;

/// The driver's device context.
pub struct Block {
    settings: Settings,
    isr: &'static Isr,
    transport: Option<Transport>,
    /// The messages that were granted and have an object, by number.
    messages: Vec<Info>,
    plan: Plan,
    /// Vectors have been written since the device was added.
    programmed: bool,
    status: u8,
    features: u64,
    queues: Vec<Queue>,
    /// Queues in use.
    used: u16,
    capacity: u64,
    generation: u8,
    /// DRIVER_OK is set.
    live: bool,
    needs_reset: bool,
    ring_error: bool,
    change: Option<String>,
    changes: u32,
    resets: u32,
    lost: u32,
    load: Option<Load>,
}

impl Block {
    /// The driver of one device.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            isr: Box::leak(Box::new(Isr::new(settings.mistakes))),
            transport: None,
            messages: Vec::new(),
            plan: Plan::IsrStatus,
            programmed: false,
            status: 0,
            features: 0,
            queues: Vec::new(),
            used: 0,
            capacity: 0,
            generation: 0,
            live: false,
            needs_reset: false,
            ring_error: false,
            change: None,
            changes: 0,
            resets: 0,
            lost: 0,
            load: None,
        }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.settings.mistakes.has(mistake)
    }

    /// Prints what PnP has handed out and, for the style that does it here, creates an object for
    /// each message or for the line.
    fn create_interrupts(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let (raw, translated) = (
            device.resources.raw.clone(),
            device.resources.translated.clone(),
        );
        let mut counted = 0;
        for (n, (raw, translated)) in raw.iter().zip(&translated).enumerate() {
            if !translated.is_message() {
                dbg_print!(
                    "INT: INTx Level={} Vector={} Affinity={:#x} Flags={:#x}",
                    translated.level(),
                    translated.vector(),
                    translated.affinity(),
                    translated.flags
                );
                if self.makes(Mistake::NoIntxFallback) {
                    dbg_print!("VIRTIO: line-based interrupts are not supported");
                    return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
                }
                self.create(device, n)?;
                continue;
            }
            let count = if self.makes(Mistake::CountFromTranslated) {
                translated.message_count()
            } else {
                raw.message_count()
            };
            dbg_print!(
                "INT: MSI/MSI-X Level={} Vector={} Affinity={:#x} MessageCount={count} Flags={:#x}",
                translated.level(),
                translated.vector(),
                translated.affinity(),
                translated.flags
            );
            counted += usize::from(count);
            if !self.makes(Mistake::OneObjectPerPort) {
                (0..count).try_for_each(|_| self.create(device, n))?;
            } else if n == 0 {
                (0..=self.settings.queues).try_for_each(|_| self.create(device, 0))?;
            }
        }
        if counted == 0 && device.message_kind().is_some() {
            dbg_print!("VIRTIO: no message was granted");
            device.request_line();
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        Ok(())
    }

    fn create(&self, device: &mut WdfDevice, descriptor: usize) -> Result<(), NtStatus> {
        if self.settings.style == Style::Add {
            return Ok(());
        }
        let config = Config {
            raw: Some(descriptor),
            translated: Some(descriptor),
        };
        device.interrupt_create(config, self.isr).map(|_| ())
    }
}

impl Driver for Block {
    fn device_add(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        if self.settings.style == Style::Add {
            for _ in 0..MOST_MESSAGES {
                device.interrupt_create(Config::default(), self.isr)?;
            }
        }
        Ok(())
    }

    /// Asks for no more MSI-X messages than the driver can use, whatever the table's size.
    fn filter_requirements(&mut self, requirements: &mut Vec<Requirement>) {
        super::keep_messages(requirements, MOST_MESSAGES);
    }

    fn prepare_hardware(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        self.transport = Transport::find(device.function);
        if self.transport.is_none() {
            dbg_print!("VIRTIO: no usable capabilities");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        self.create_interrupts(device)?;
        let infos: Vec<_> = (0..device.interrupt_count())
            .filter_map(|handle| device.interrupt_info(handle))
            .collect();
        for info in &infos {
            dbg_print!(
                "WDFINT: MessageSignaled={} MessageNumber={} Vector={} Irql={} Affinity={:#x}",
                u8::from(info.message_signaled),
                info.message_number,
                info.vector,
                info.irql,
                info.affinity
            );
        }
        if infos.is_empty() {
            dbg_print!("VIRTIO: no interrupt was assigned");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        self.messages = infos;
        self.messages.retain(|info| info.message_signaled);
        self.negotiate().inspect_err(|_| self.give_up())
    }

    fn d0_entry(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        self.configure(device)
    }

    fn interrupts_enabled(&mut self, _device: &mut WdfDevice) -> Result<(), NtStatus> {
        self.go_live();
        Ok(())
    }

    fn d0_exit(&mut self, _device: &mut WdfDevice) {
        self.quiesce();
    }

    fn release_hardware(&mut self, _device: &mut WdfDevice) {
        self.quiesce();
        self.isr.read_from(None);
        self.messages.clear();
    }

    fn dpc(&mut self, device: &mut WdfDevice, handle: usize) {
        let message = device
            .interrupt_info(handle)
            .map_or(0, |info| info.message_number);
        self.on_message(message);
    }

    fn work(&mut self, device: &mut WdfDevice) {
        let broken = core::mem::take(&mut self.ring_error);
        let needs_reset = core::mem::take(&mut self.needs_reset);
        if needs_reset {
            dbg_print!("VIRTIO: needs reset");
        }
        if self.live && (needs_reset || broken) {
            self.recover(device);
        }
    }
}

impl Workload for Block {
    fn running(&self, device: &WdfDevice) -> Running {
        let (mode, used) = match (self.plan, device.message_kind()) {
            (Plan::PerQueue, _) => ("msix", usize::from(self.used) + 1),
            (Plan::Shared, _) => ("msix-shared", 1),
            (Plan::IsrStatus, Some(Kind::Msi | Kind::Msix)) => ("msi", 1),
            (Plan::IsrStatus, None) => ("intx", 0),
        };
        Running {
            mode,
            used,
            queues: self.used.into(),
        }
    }

    fn begin(&mut self, _device: &mut WdfDevice, args: &Args) -> Result<(), &'static str> {
        self.begin_load(args)
    }

    fn poll(&mut self, device: &mut WdfDevice) -> Option<Outcome> {
        self.poll_load(device)
    }

    fn deadline(&self) -> u64 {
        self.queues
            .iter()
            .flat_map(|queue| &queue.slots)
            .filter(|slot| slot.state == queue::State::InFlight)
            .map(|slot| slot.deadline)
            .min()
            .unwrap_or(u64::MAX)
    }

    fn state(&mut self, device: &WdfDevice) -> String {
        let status = self.transport.map_or(0, |transport| transport.status());
        let counters = dispatch::counters(device.index);
        format!(
            "status={status:#04x} queues={} capacity={} isr={} dpc={} unclaimed={} changes={} resets={} lost={}",
            self.used,
            self.capacity,
            counters.isr.iter().sum::<u32>(),
            counters.dpc.iter().sum::<u32>(),
            counters.unclaimed,
            self.changes,
            self.resets,
            self.lost
        )
    }

    fn take_change(&mut self) -> Option<String> {
        self.change.take()
    }
}

//! Virtio drivers: what all kinds share (`base`, `bring_up`, `arrival`, `watch`) and what each kind
//! does with its queues (`function`, and a folder or file for each).

mod arrival;
mod base;
pub mod block;
mod bring_up;
mod console;
mod disk;

mod function;
mod interrupt;
mod layout;
mod legacy;
mod net;
pub mod pattern;
mod queue;
mod queue_reset;
mod receive;
mod registers;
mod resources;
mod ring;
mod rng;
mod scsi;
mod slip;
pub mod spec;
mod suspend;
mod transport;
mod vectors;
mod watch;

use super::args::Args;
use super::mistake::Mistake;
use super::{Outcome, Running, Settings, Style, Workload};
use crate::hal::{pci, time};
use crate::nt::dispatch;
use crate::nt::interrupt::Config;
use crate::nt::pnp::{Driver, WdfDevice};
use crate::nt::policy::Kind;
use crate::nt::resources::Requirement;
use crate::nt::status::NtStatus;
use crate::{dbg_print, driver};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use base::Base;
use block::Block;
use console::Console;

use function::Function;
use net::Net;
use rng::Rng;
use scsi::Scsi;
use spec::status;
use vectors::Plan;

/// Messages that a driver can use: one for the configuration and one for each queue.
const MOST_MESSAGES: usize = 17;

/// How often queues without a vector are looked at, in microseconds.
const POLLED_EACH_US: u64 = 500;

/// The driver of a virtio block device.
pub type BlockDriver = Virtio<Block>;
/// The driver of a virtio console.
pub type ConsoleDriver = Virtio<Console>;
/// The driver of a virtio network device.
pub type NetDriver = Virtio<Net>;
/// The driver of a virtio entropy device.
pub type RngDriver = Virtio<Rng>;
/// The driver of a virtio SCSI host.
pub type ScsiDriver = Virtio<Scsi>;

/// A driver's device context.
pub struct Virtio<F> {
    base: Base,
    function: F,
}

impl<F: Function> Virtio<F> {
    /// The driver of one device.
    pub fn new(settings: Settings) -> Self {
        Self {
            base: Base::new(settings),
            function: F::new(settings),
        }
    }
}

impl<F: Function> Driver for Virtio<F> {
    fn device_add(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        if self.base.settings.style == Style::Add {
            for _ in 0..MOST_MESSAGES {
                device.interrupt_create(Config::default(), self.base.isr)?;
            }
        }
        Ok(())
    }

    /// Asks for no more MSI-X messages than the driver can use, whatever the table's size.
    fn filter_requirements(&mut self, requirements: &mut Vec<Requirement>) {
        if !self.base.makes(Mistake::WHOLE_TABLE) {
            driver::keep_messages(requirements, MOST_MESSAGES);
        }
    }

    fn prepare_hardware(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        // Whatever was set before was set by another driver.
        self.base.status = 0;
        super::meddle(device.function, self.base.settings.mistakes);
        self.base.function = Some(device.function);
        let msix = device.message_kind() == Some(Kind::Msix);
        self.base.transport = layout::find(device.function, &self.base.settings, msix);
        if self.base.transport.is_none() {
            dbg_print!("VIRTIO: no usable capabilities");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        self.base.starts += 1;
        if self.base.makes(Mistake::WRITES_CAPABILITY) {
            slip::write_capability(device.function);
        }
        self.base.take_interrupts(device)?;
        self.negotiate().inspect_err(|_| self.base.give_up())
    }

    fn d0_entry(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        if self.base.status & status::DRIVER_OK != 0 {
            // It was not reset on the way out of D0.
            self.base.live = true;
            return Ok(());
        }
        if self.base.status == 0 {
            // Out of D3: what was negotiated before is void.
            self.negotiate().inspect_err(|_| self.base.give_up())?;
        }
        self.base.configure(device)?;
        if self.base.makes(Mistake::EARLY_MESSAGE_IGNORED) {
            self.go_live();
        }
        Ok(())
    }

    fn interrupts_enabled(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        if self.base.makes(Mistake::LEAVES_MESSAGES_MASKED) {
            mask_messages(device.function);
        }
        if !self.base.live {
            self.go_live();
        }
        Ok(())
    }

    fn d0_exit(&mut self, device: &mut WdfDevice) {
        let trusts = device.goes_to_sleep() && self.base.makes(Mistake::TRUSTS_DEVICE_AFTER_D3);
        if trusts || self.base.makes(Mistake::RESET_AFTER_INTERRUPTS_OFF) {
            self.base.live = false;
            return;
        }
        self.base.quiesce();
    }

    fn release_hardware(&mut self, _device: &mut WdfDevice) {
        self.base.quiesce();
        self.base.in_vain = 0;
        self.base.isr.read_from(None);
        self.base.isr.set_ready(false);
    }

    fn surprise_removal(&mut self, _device: &mut WdfDevice) {
        self.base.forget_device();
    }

    fn dpc(&mut self, device: &mut WdfDevice, handle: usize) {
        let message = device
            .interrupt_info(handle)
            .map_or(0, |info| info.message_number);
        self.on_message(message);
    }

    fn work(&mut self, device: &mut WdfDevice) {
        let broken = core::mem::take(&mut self.base.ring_error);
        let needs_reset = core::mem::take(&mut self.base.needs_reset);
        if needs_reset {
            dbg_print!("VIRTIO: needs reset");
            if let Some(transport) = self.base.transport
                && self.base.makes(Mistake::CLEARS_NEEDS_RESET)
            {
                transport.set_status(self.base.status & !status::NEEDS_RESET);
            }
        }
        if self.base.live && (needs_reset || broken) {
            self.recover(device);
        }
        self.watch(device);
        if self.base.live {
            if self.base.plan == Plan::Polled {
                (0..self.base.used()).for_each(|place| self.base.take_used(place));
            }
            self.function.serve(&mut self.base);
        }
    }
}

/// Masks every message of a function by its MSI-X control word.
fn mask_messages(function: pci::Function) {
    const CONTROL: u16 = 2;
    const ENABLED_AND_MASKED: u16 = 0xc000;
    let capabilities = function.capabilities();
    let msix = capabilities.iter().find(|c| c.0 == pci::capability::MSIX);
    if let Some((_, at)) = msix {
        function.write16(at + CONTROL, ENABLED_AND_MASKED);
    }
}

impl<F: Function> Workload for Virtio<F> {
    fn running(&self, device: &WdfDevice) -> Running {
        let queues = self.base.used();
        let (mode, used) = match (self.base.plan, device.message_kind()) {
            (Plan::PerQueue, _) => ("msix", queues + 1),
            (Plan::Shared, _) => ("msix-shared", 1),
            (Plan::Polled, _) => ("polled", 1),
            (Plan::IsrStatus, Some(Kind::Msi | Kind::Msix)) => ("msi", 1),
            (Plan::IsrStatus, None) => ("intx", 0),
        };
        Running { mode, used, queues }
    }

    fn begin(&mut self, _device: &mut WdfDevice, args: &Args) -> Result<(), &'static str> {
        let rejects = self.base.starts > 1 && self.base.makes(Mistake::REJECTS_AFTER_STOP);
        if !self.base.live || rejects {
            return Err("stopped");
        }
        self.base.isr.set_ready(true);
        self.base.load = Some(base::Tally {
            resets: self.base.in_vain,
            ..base::Tally::default()
        });
        let begun = self.function.begin(&mut self.base, args);
        begun.inspect_err(|_| self.base.load = None)
    }

    fn poll(&mut self, _device: &mut WdfDevice) -> Option<Outcome> {
        self.base.load.as_ref()?;
        let Self { base, function } = self;
        let mut tally = base.load.take()?;
        if !base.live {
            tally.reason.get_or_insert("device");
            base.end_requests();
        }
        let over = function.go_on(base, &mut tally);
        if tally.reason.is_none() && !over {
            base.load = Some(tally);
            return None;
        }
        let fields = format!(
            "{}={} errors={} lost={} timeouts={}",
            function.counted(),
            tally.finished,
            tally.errors,
            tally.lost,
            tally.timeouts
        );
        let reason = tally.reason.or((tally.errors > 0).then_some("errors"));
        Some(Outcome { reason, fields })
    }

    fn deadline(&self) -> u64 {
        if !self.base.live {
            return u64::MAX;
        }
        let deadlines = self.base.queues.iter().filter_map(queue::Queue::deadline);
        let polled = self.base.plan == Plan::Polled;
        let own = if polled {
            time::now() + POLLED_EACH_US
        } else {
            self.function.deadline()
        };
        deadlines.fold(own, u64::min)
    }

    fn state(&mut self, device: &WdfDevice) -> String {
        let base = &self.base;
        let status = base.transport.map_or(0, |transport| transport.status());
        let counters = dispatch::counters(device.index);
        format!(
            "status={status:#04x} queues={} {} isr={} dpc={} unclaimed={} changes={} resets={} lost={}",
            base.used(),
            self.function.state(),
            counters.isr.iter().sum::<u32>(),
            counters.dpc.iter().sum::<u32>(),
            counters.unclaimed,
            base.changes,
            base.resets,
            base.lost
        )
    }

    fn reset_queue(&mut self, queue: u16) -> Result<(), &'static str> {
        self.base.reset_queue(queue)
    }

    fn suspend(&mut self) -> Result<(), &'static str> {
        self.base.suspend()
    }

    fn resume(&mut self) -> Result<(), &'static str> {
        self.base.resume()
    }

    fn take_change(&mut self) -> Option<String> {
        if self.function.is_settled() {
            self.base.change.take()
        } else {
            None
        }
    }

    fn is_settled(&self) -> bool {
        !self.base.live || self.function.is_settled()
    }
}

//! The driver that is an image: a StorPort miniport below `nt::storport`, and above it what Windows' class
//! driver for disks does, as far as loads need it.

mod load;
mod unit;

use super::args::Args;
use super::{Outcome, Running, Settings, Workload};
use crate::dbg_print;
use crate::hal::time;
use crate::nt::dispatch::{Claim, InterruptService, MOST_DEVICES, MOST_OBJECTS};
use crate::nt::interrupt::Config;
use crate::nt::pnp::{Driver, WdfDevice};
use crate::nt::resources::Requirement;
use crate::nt::status::NtStatus;
use crate::nt::storport::{Leaving, Port, driver_entry, port};
use crate::nt::vectors::irql;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use load::Load;
use unit::Units;

/// A line has no message.
struct Service {
    device: usize,
    line: bool,
}

macro_rules! services {
    ($line:literal, $($n:literal)*) => {
        [$(Service { device: $n, line: $line },)*]
    };
}
static MESSAGES: [Service; MOST_DEVICES] = services!(false, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
static LINES: [Service; MOST_DEVICES] = services!(true, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

impl InterruptService for Service {
    fn lets_others_in(&self) -> bool {
        true
    }

    fn isr(&self, message: u32) -> Claim {
        let message = (!self.line).then_some(message);
        // What it leads to is looked at by the main loop.
        if port(self.device).interrupt(message) {
            Claim::QueueDpc
        } else {
            Claim::NotMine
        }
    }
}

/// A miniport and the disks behind it.
pub struct Miniport {
    settings: Settings,
    argument: String,
    /// It is to write a crash dump at the end.
    dumps: bool,
    port: Option<&'static Port>,
    units: Units,
    load: Option<Load>,
    messages: usize,
    /// It was stopped for D3 and can be restarted from there.
    asleep: bool,
}

impl Miniport {
    /// A driver that is not loaded yet. `argument` is the registry's `DriverParameter`; `dumps`: it is to write
    /// a crash dump at the end.
    pub fn new(settings: Settings, argument: &str, dumps: bool) -> Self {
        Self {
            settings,
            argument: argument.into(),
            dumps,
            port: None,
            units: Units::default(),
            load: None,
            messages: 0,
            asleep: false,
        }
    }
}

impl Miniport {
    /// The system has crashed: the image, loaded again, writes the dump to the disk.
    pub fn dump(&mut self, device: &WdfDevice) {
        if let Some(port) = self.port {
            port.dump(device.function, &self.argument);
        }
    }
}

impl Driver for Miniport {
    fn device_add(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        driver_entry(self.dumps)?;
        let port = port(device.index);
        port.found(device.function);
        self.port = Some(port);
        Ok(())
    }

    fn filter_requirements(&mut self, _requirements: &mut Vec<Requirement>) {}

    /// An interrupt object for each message, or for the line.
    fn prepare_hardware(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let service = match device.message_kind() {
            Some(_) => &MESSAGES[device.index],
            None => &LINES[device.index],
        };
        let resources = device.resources.clone();
        for (n, raw) in resources.raw.iter().enumerate() {
            let count = if raw.is_message() {
                raw.message_count().max(1)
            } else {
                1
            };
            for _ in 0..count {
                if device.interrupt_count() < MOST_OBJECTS {
                    let config = Config {
                        raw: Some(n),
                        translated: Some(n),
                    };
                    device.interrupt_create(config, service)?;
                }
            }
        }
        self.messages = device.granted();
        Ok(())
    }

    fn d0_entry(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let port = self.port.ok_or(NtStatus::NO_SUCH_DEVICE)?;
        if self.asleep {
            return Ok(());
        }
        if device.interrupt_count() == 0 {
            dbg_print!("NT: the device has no interrupt");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        let vectors = device.resources.translated.iter().map(|d| d.vector());
        let highest = vectors.max().unwrap_or(0);
        let levels = (irql(highest as u8), highest);
        let infos = (0..device.interrupt_count()).filter_map(|n| device.interrupt_info(n));
        port.set_messages(infos.map(|i| (i.vector, i.affinity.trailing_zeros() as usize)));
        port.find_adapter(
            device.function,
            device.granted() as u32,
            levels,
            &self.argument,
        )
    }

    fn interrupts_enabled(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let port = self.port.ok_or(NtStatus::NO_SUCH_DEVICE)?;
        if !core::mem::take(&mut self.asleep) {
            port.initialize()?;
            port.started();
        } else if port.restart() == Some(true) {
            port.awake();
        } else {
            return Err(NtStatus::DEVICE_POWER_FAILURE);
        }
        self.units.find(port, self.settings.timeout_ms);
        // What was written to the device has got there before the device counts as started.
        device.function.identity();
        Ok(())
    }

    /// A miniport that can't be restarted is found and initialised anew after D3.
    fn d0_exit(&mut self, device: &mut WdfDevice) {
        if let Some(port) = self.port.filter(|port| !port.is_gone()) {
            let sleeps = device.goes_to_sleep();
            self.asleep = sleeps && port.can_restart();
            port.stop(match (sleeps, device.is_removed()) {
                (true, _) => Leaving::Sleep,
                (false, true) => Leaving::Remove,
                (false, false) => Leaving::Stop,
            });
        }
    }

    fn release_hardware(&mut self, _device: &mut WdfDevice) {}

    fn surprise_removal(&mut self, _device: &mut WdfDevice) {
        if let Some(port) = self.port {
            port.surprise_removal();
        }
    }

    fn dpc(&mut self, _device: &mut WdfDevice, _handle: usize) {}

    fn work(&mut self, _device: &mut WdfDevice) {
        if let Some(port) = self.port {
            port.run_timer(time::now());
            if port.take_change() {
                self.units.changed(port, self.settings.timeout_ms);
            }
        }
    }
}

impl Workload for Miniport {
    fn running(&self, device: &WdfDevice) -> Running {
        let mode = match device.message_kind() {
            Some(_) => "messages",
            None => "intx",
        };
        Running {
            mode,
            used: self.messages,
            queues: 0,
        }
    }

    fn begin(&mut self, _device: &mut WdfDevice, args: &Args) -> Result<(), &'static str> {
        let port = self.port.ok_or("stopped")?;
        self.load = Some(Load::new(port, &self.units, &self.settings, args)?);
        self.units.loads += 1;
        Ok(())
    }

    fn poll(&mut self, _device: &mut WdfDevice) -> Option<Outcome> {
        let port = self.port?;
        let outcome = self.load.as_mut()?.go_on(port)?;
        self.load = None;
        if outcome.reason.is_none() {
            self.units.used(port, self.settings.timeout_ms);
        }
        Some(outcome)
    }

    fn deadline(&self) -> u64 {
        let load = self.load.as_ref().map_or(u64::MAX, Load::deadline);
        let timer = self.port.map_or(u64::MAX, |port| port.run_timer(0));
        load.min(timer)
    }

    fn state(&mut self, _device: &WdfDevice) -> String {
        format!("capacity={}", self.units.first_sectors())
    }

    fn take_change(&mut self) -> Option<String> {
        let change = self.units.take_change()?;
        dbg_print!("DISK: {change} sectors");
        Some(format!("capacity={change}"))
    }
}

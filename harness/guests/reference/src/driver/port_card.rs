//! The driver of the port-card: N ports, an event on each, a message for each if there are enough.

use super::args::Args;
use super::mistake::Mistake;
use super::{Outcome, Running, Settings, Style, Workload};
use crate::dbg_print;
use crate::hal::mmio::Mmio;
use crate::hal::{Local, time};
use crate::nt::dispatch::{self, Claim, InterruptService};
use crate::nt::interrupt::Config;
use crate::nt::pnp::{Driver, WdfDevice};
use crate::nt::policy::Kind;
use crate::nt::resources::{Descriptor, Requirement};
use crate::nt::status::NtStatus;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Vendor and device of the port-card.
pub const IDENTITY: (u16, u16) = (0x1234, 0x4d46);

/// Its registers, in bytes; all are 32 bits wide.
mod register {
    pub const ID: usize = 0x000;
    pub const PORTS_PRESENT: usize = 0x004;
    pub const INT_ENABLE: usize = 0x008;
    pub const INT_STATUS: usize = 0x00c;
    pub const DOORBELL: usize = 0x010;
    pub const EVENT_COUNT: usize = 0x100;
    pub const WINDOW: usize = 0x1000;
}

/// "PORT".
const ID: u32 = 0x5452_4f50;
const PORTS_MASK: u32 = 0x1f;
const MOST_PORTS: usize = 31;

/// The ISR and what it shares with the driver.
struct PortIsr {
    state: Local<IsrState>,
    mistakes: super::Mistakes,
}

struct IsrState {
    /// The registers, where they have to be read: with a line.
    registers: Option<Mmio>,
    /// Ports whose events have been read and not yet taken by the DPC.
    latched: u32,
}

impl InterruptService for PortIsr {
    fn isr(&self, _message: u32) -> Claim {
        self.state.with(|state| {
            let Some(registers) = state.registers else {
                return Claim::QueueDpc;
            };
            if self.mistakes.has(Mistake::IntxIsrNotRead) {
                return Claim::QueueDpc;
            }
            let enabled: u32 = registers.read(register::INT_ENABLE);
            let status = registers.read::<u32>(register::INT_STATUS) & enabled;
            if status == 0 {
                return Claim::NotMine;
            }
            registers.write(register::INT_STATUS, status);
            state.latched |= status;
            Claim::QueueDpc
        })
    }
}

struct Load {
    /// Ports to ring, one write for each.
    rings: Vec<u32>,
    events: u64,
    rung: u64,
    /// Ports whose event is waited for.
    waiting: u32,
    deadline: u64,
}

/// The driver's device context.
pub struct PortCard {
    settings: Settings,
    isr: &'static PortIsr,
    registers: Option<Mmio>,
    ports: usize,
    granted: usize,
    kind: Option<Kind>,
    /// Events of each port that the DPC has seen.
    seen: [u32; MOST_PORTS],
    served: u32,
    load: Option<Load>,
}

impl PortCard {
    /// The driver of one device.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            isr: Box::leak(Box::new(PortIsr {
                state: Local::new(IsrState {
                    registers: None,
                    latched: 0,
                }),
                mistakes: settings.mistakes,
            })),
            registers: None,
            ports: 0,
            granted: 0,
            kind: None,
            seen: [0; MOST_PORTS],
            served: 0,
            load: None,
        }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.settings.mistakes.has(mistake)
    }

    fn create_interrupts(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let (raw, translated) = (
            device.resources.raw.clone(),
            device.resources.translated.clone(),
        );
        let mut counted = 0;
        for (n, (raw, translated)) in raw.iter().zip(&translated).enumerate() {
            if !translated.is_message() {
                self.create_line(device, n, translated)?;
                continue;
            }
            let count = self.count(raw, translated);
            dbg_print!(
                "Message Interrupt level {:#x}, Vector {:#x}, MessageCount {count}",
                translated.level(),
                translated.vector()
            );
            let objects = if !self.makes(Mistake::OneObjectPerPort) {
                usize::from(count)
            } else if n == 0 {
                self.ports
            } else {
                0
            };
            counted += objects;
            for _ in 0..objects {
                self.create(device, n)?;
            }
        }
        if device.message_kind().is_some() {
            dbg_print!("Created {counted} MSI interrupts.");
            if counted == 0 {
                device.request_line();
                return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
            }
        }
        Ok(())
    }

    /// The messages of a descriptor. The driver of the forum thread, which made its objects for the
    /// ports that there are, also printed the count of the wrong list.
    fn count(&self, raw: &Descriptor, translated: &Descriptor) -> u16 {
        let wrong =
            self.makes(Mistake::CountFromTranslated) || self.makes(Mistake::OneObjectPerPort);
        if wrong {
            translated.message_count()
        } else {
            raw.message_count()
        }
    }

    fn create_line(
        &mut self,
        device: &mut WdfDevice,
        n: usize,
        translated: &Descriptor,
    ) -> Result<(), NtStatus> {
        if self.makes(Mistake::NoIntxFallback) {
            dbg_print!("Legacy Interrupts Not Supported!");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        dbg_print!(
            "INT: INTx Level={} Vector={} Affinity={:#x} Flags={:#x}",
            translated.level(),
            translated.vector(),
            translated.affinity(),
            translated.flags
        );
        self.create(device, n)
    }

    fn create(&self, device: &mut WdfDevice, descriptor: usize) -> Result<(), NtStatus> {
        if self.settings.style == Style::Add {
            return Ok(());
        }
        let config = Config {
            raw: Some(descriptor),
            translated: Some(descriptor),
        };
        let handle = device.interrupt_create(config, self.isr)?;
        if let Some(info) = device.interrupt_info(handle) {
            dbg_print!(
                "Created interrupt({handle}): Signaled({}), Num({}), Vect({:#x})",
                if info.message_signaled { 'Y' } else { 'n' },
                info.message_number,
                info.vector
            );
        }
        Ok(())
    }

    /// The message that tells of a port's event.
    fn message_of(&self, port: usize) -> usize {
        if self.makes(Mistake::AssumeAllMessages) {
            return port;
        }
        match self.kind {
            Some(Kind::Msi) => port & (self.granted.max(1) - 1),
            Some(Kind::Msix) if port < self.granted => port,
            _ => 0,
        }
    }

    fn ports_of(&self, message: usize) -> u32 {
        (0..self.ports)
            .filter(|&port| self.message_of(port) == message)
            .map(|port| 1 << port)
            .sum()
    }

    fn all_ports(&self) -> u32 {
        (1 << self.ports) - 1
    }

    /// Takes the events of these ports.
    fn serve(&mut self, registers: Mmio, ports: u32) {
        for port in (0..self.ports).filter(|port| ports & 1 << port != 0) {
            let count: u32 = registers.read(register::EVENT_COUNT + 4 * port);
            if count != self.seen[port] {
                self.served += count.wrapping_sub(self.seen[port]);
                self.seen[port] = count;
                dispatch::progress();
                if let Some(load) = &mut self.load {
                    load.waiting &= !(1 << port);
                }
            }
        }
    }
}

impl Driver for PortCard {
    fn device_add(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        if self.settings.style == Style::Add {
            for _ in 0..MOST_PORTS {
                device.interrupt_create(Config::default(), self.isr)?;
            }
        }
        Ok(())
    }

    /// Asks for no more MSI-X messages than there can be ports.
    fn filter_requirements(&mut self, requirements: &mut Vec<Requirement>) {
        let mut kept = 0;
        requirements.retain(|requirement| {
            kept += usize::from(requirement.is_message());
            !requirement.is_message() || kept <= MOST_PORTS
        });
    }

    fn prepare_hardware(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let registers = device
            .function
            .bar(0, register::WINDOW)
            .filter(|registers| registers.read::<u32>(register::ID) == ID)
            .ok_or(NtStatus::DEVICE_CONFIGURATION_ERROR)?;
        let present: u32 = registers.read(register::PORTS_PRESENT);
        self.ports = (present & PORTS_MASK) as usize;
        self.registers = Some(registers);
        self.kind = device.message_kind();
        self.granted = device.granted();
        self.create_interrupts(device)?;
        if device.resources.translated.is_empty() {
            dbg_print!("No interrupt was assigned.");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        Ok(())
    }

    fn d0_entry(&mut self, _device: &mut WdfDevice) -> Result<(), NtStatus> {
        let registers = self.registers.ok_or(NtStatus::DEVICE_NOT_READY)?;
        registers.write(register::INT_ENABLE, 0u32);
        registers.write(register::INT_STATUS, self.all_ports());
        for port in 0..self.ports {
            self.seen[port] = registers.read(register::EVENT_COUNT + 4 * port);
        }
        let line = self.kind.is_none().then_some(registers);
        self.isr.state.with(|state| {
            *state = IsrState {
                registers: line,
                latched: 0,
            }
        });
        Ok(())
    }

    fn interrupts_enabled(&mut self, _device: &mut WdfDevice) -> Result<(), NtStatus> {
        let registers = self.registers.ok_or(NtStatus::DEVICE_NOT_READY)?;
        registers.write(register::INT_ENABLE, self.all_ports());
        Ok(())
    }

    fn d0_exit(&mut self, _device: &mut WdfDevice) {
        if let Some(registers) = self.registers {
            registers.write(register::INT_ENABLE, 0u32);
        }
    }

    fn release_hardware(&mut self, _device: &mut WdfDevice) {
        self.isr.state.with(|state| state.registers = None);
        self.registers = None;
    }

    fn dpc(&mut self, device: &mut WdfDevice, handle: usize) {
        let Some(registers) = self.registers else {
            return;
        };
        if self.kind.is_none() {
            let latched = self
                .isr
                .state
                .with(|state| core::mem::take(&mut state.latched));
            self.serve(registers, latched);
            return;
        }
        let message = device
            .interrupt_info(handle)
            .map_or(0, |info| info.message_number);
        let mut ports = self.ports_of(message as usize);
        if ports.count_ones() > 1 {
            ports &= registers.read::<u32>(register::INT_STATUS);
        }
        if ports != 0 {
            registers.write(register::INT_STATUS, ports);
            self.serve(registers, ports);
        }
    }

    fn work(&mut self, _device: &mut WdfDevice) {}
}

impl Workload for PortCard {
    fn running(&self, _device: &WdfDevice) -> Running {
        let mode = match self.kind {
            Some(Kind::Msi) => "msi",
            Some(Kind::Msix) if self.granted < self.ports => "msix-shared",
            Some(Kind::Msix) => "msix",
            None => "intx",
        };
        Running {
            mode,
            used: self.granted.min(self.ports),
            queues: self.ports,
        }
    }

    fn begin(&mut self, _device: &mut WdfDevice, args: &Args) -> Result<(), &'static str> {
        if args.word(1) != "port" || !args.only(&["dev", "events", "ports"]) {
            return Err("usage");
        }
        if self.ports == 0 {
            return Err("ports");
        }
        let rings = match args.get("ports") {
            None | Some("all") => (0..self.ports).map(|port| 1 << port).collect(),
            Some("both") if self.ports >= 2 => [0b11].into_iter().collect(),
            Some(port) => match port.parse::<usize>() {
                Ok(port) if port < self.ports => [1 << port].into_iter().collect(),
                _ => return Err("usage"),
            },
        };
        self.load = Some(Load {
            rings,
            events: args.number("events", 1)?,
            rung: 0,
            waiting: 0,
            deadline: u64::MAX,
        });
        Ok(())
    }

    fn poll(&mut self, _device: &mut WdfDevice) -> Option<Outcome> {
        let timeout = self.settings.timeout_ms * 1000;
        let served = self.served;
        let load = self.load.as_mut()?;
        let Some(registers) = self.registers else {
            self.load = None;
            return Some(Outcome::failed("device", String::new()));
        };
        let total = load.events * load.rings.len() as u64;
        if load.waiting == 0 && load.rung < total {
            let ring = load.rings[(load.rung % load.rings.len() as u64) as usize];
            load.rung += 1;
            load.waiting = ring;
            load.deadline = time::now() + timeout;
            registers.write(register::DOORBELL, ring);
            return None;
        }
        let late = load.waiting != 0 && time::now() >= load.deadline;
        if load.waiting != 0 && !late {
            return None;
        }
        let (rung, waiting) = (load.rung, load.waiting);
        self.load = None;
        if late {
            for port in (0..self.ports).filter(|port| waiting & 1 << port != 0) {
                dbg_print!("Port {port}: no interrupt for its event.");
            }
            let fields = format!("rung={rung} served={served} lost={}", waiting.count_ones());
            return Some(Outcome::failed("lost", fields));
        }
        Some(Outcome::ok(format!("rung={rung} served={served} lost=0")))
    }

    fn deadline(&self) -> u64 {
        self.load.as_ref().map_or(u64::MAX, |load| load.deadline)
    }

    fn state(&mut self, device: &WdfDevice) -> String {
        let counters = dispatch::counters(device.index);
        format!(
            "ports={} isr={} dpc={} unclaimed={} served={}",
            self.ports,
            counters.isr.iter().sum::<u32>(),
            counters.dpc.iter().sum::<u32>(),
            counters.unclaimed,
            self.served
        )
    }

    fn take_change(&mut self) -> Option<String> {
        None
    }
}

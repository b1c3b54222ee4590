//! The driver of the port-card: N ports, an event on each, a message for each if there are enough.

mod isr;
mod load;

use super::mistake::Mistake;
use super::{Settings, Style};
use crate::dbg_print;
use crate::hal::mmio::Mmio;
use crate::nt::dispatch;
use crate::nt::interrupt::Config;
use crate::nt::pnp::{Driver, WdfDevice};
use crate::nt::policy::Kind;
use crate::nt::resources::{Descriptor, Requirement};
use crate::nt::status::NtStatus;
use alloc::boxed::Box;
use alloc::vec::Vec;
use isr::PortIsr;
use load::Load;

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
            isr: Box::leak(Box::new(PortIsr::new(settings.mistakes))),
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
            let objects = if !self.makes(Mistake::ONE_OBJECT_PER_PORT) {
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
            self.makes(Mistake::COUNT_FROM_TRANSLATED) || self.makes(Mistake::ONE_OBJECT_PER_PORT);
        if self.makes(Mistake::COUNTS_DESCRIPTORS) {
            1
        } else if wrong {
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
        if self.makes(Mistake::NO_INTX_FALLBACK) {
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
        if self.makes(Mistake::ASSUME_ALL_MESSAGES) {
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
        super::keep_messages(requirements, MOST_PORTS);
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
        self.isr.read_from(self.kind.is_none().then_some(registers));
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
        self.isr.read_from(None);
        self.registers = None;
    }

    fn dpc(&mut self, device: &mut WdfDevice, handle: usize) {
        let Some(registers) = self.registers else {
            return;
        };
        if self.kind.is_none() {
            self.serve(registers, self.isr.take());
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

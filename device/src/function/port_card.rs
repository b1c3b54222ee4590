//! Port-card: N ports, a register that tells how many, a message for each.

use super::interrupts::Interrupts;
use super::lanes;
use super::pci::Pci;
use crate::spec::{Field, PortCard};
use crate::trace::{Access, Cause, Effect, Effects, Op};

/// The registers of a port-card.
#[derive(Clone, Debug)]
pub struct Ports {
    present: u16,
    enable: u32,
    status: u32,
    events: [u32; PortCard::MAX_PORTS as usize],
}

impl Ports {
    pub fn new(present: u16) -> Self {
        Self {
            present,
            enable: 0,
            status: 0,
            events: [0; PortCard::MAX_PORTS as usize],
        }
    }

    pub fn reset(&mut self) {
        let Self {
            present: _,
            enable,
            status,
            events,
        } = self;
        *enable = 0;
        *status = 0;
        *events = [0; PortCard::MAX_PORTS as usize];
    }

    /// Whether the line is wanted.
    pub fn line(&self) -> bool {
        self.status & self.enable != 0
    }

    /// The register at an offset in BAR 0.
    pub fn field(&self, off: u64) -> Option<Field> {
        PortCard::at(off).map(Field::Port).or_else(|| {
            let port = off.checked_sub(PortCard::EVENT_COUNT)? / 4;
            (port < u64::from(self.present)).then_some(Field::PortEvents(port as u8))
        })
    }

    pub fn access(
        &mut self,
        access: &Access,
        pci: &mut Pci,
        interrupts: &mut Interrupts,
        effects: &mut Effects,
    ) {
        let (off, width) = (access.off, access.width);
        match access.op {
            Op::Read => {
                let value = match self.field(off) {
                    Some(Field::PortEvents(port)) => u64::from(self.events[usize::from(port)]),
                    _ => lanes::read(off, width, |r| self.read(r)),
                };
                effects.push(Effect::Value(value & lanes::ones(width)));
            }
            Op::Write => {
                let mut doorbell = 0;
                for (register, bits, mask) in lanes::parts(off, width, access.val.unwrap_or(0)) {
                    match register {
                        PortCard::IntEnable => {
                            let enable = lanes::merge(self.enable.into(), bits, mask);
                            self.enable = enable as u32 & self.all();
                        }
                        PortCard::IntStatus => self.status &= !(bits as u32),
                        PortCard::Doorbell => doorbell = bits as u32 & self.all(),
                        PortCard::Id | PortCard::PortsPresent => {}
                    }
                }
                self.ring(doorbell, pci, interrupts, effects);
            }
        }
    }

    fn all(&self) -> u32 {
        (1 << self.present) - 1
    }

    fn read(&self, register: PortCard) -> u64 {
        match register {
            PortCard::Id => PortCard::Id.reset(),
            PortCard::PortsPresent => self.present.into(),
            PortCard::IntEnable => self.enable.into(),
            PortCard::IntStatus => self.status.into(),
            PortCard::Doorbell => 0,
        }
    }

    /// Every port of `mask` gets an event, all at the same time.
    fn ring(
        &mut self,
        mask: u32,
        pci: &mut Pci,
        interrupts: &mut Interrupts,
        effects: &mut Effects,
    ) {
        for port in (0..self.present).filter(|p| mask >> p & 1 != 0) {
            self.status |= 1 << port;
            let events = &mut self.events[usize::from(port)];
            *events = events.wrapping_add(1);
            if self.enable >> port & 1 == 0 {
                continue;
            }
            let cause = Cause::Port(port as u8);
            if pci.msix_enabled() {
                let entry = if port < pci.table_size() { port } else { 0 };
                interrupts.raise_entry(entry, cause, pci, effects);
            } else if pci.msi_enabled() {
                interrupts.raise_msi(port, cause, pci, effects);
            }
        }
        interrupts.set_line(self.line(), pci, effects);
    }
}

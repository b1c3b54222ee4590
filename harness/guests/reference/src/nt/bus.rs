//! The PCI bus driver: what a function can do, and its messages or line switched on and off.

use super::policy::{Assignment, Capabilities, Kind};
use crate::hal::apic;
use crate::hal::mmio::Mmio;
use crate::hal::pci::{Function, capability, command};

/// Offset of the message control word in either capability.
const CONTROL: u16 = 2;

/// Entries of an MSI-X table that are unmasked. All are programmed; unmasking costs QEMU an event
/// descriptor each, and nothing here names an entry beyond an 8-bit vector.
const UNMASKED: usize = 256;

/// Offset of control and status in the power management capability, and the state in them.
const POWER_CONTROL: u16 = 4;
const POWER_STATE: u16 = 3;

/// Bits of MSI-X.
mod msix {
    pub const TABLE: u16 = 4;
    pub const SIZE: u16 = 0x7ff;
    pub const FUNCTION_MASK: u16 = 1 << 14;
    pub const ENABLE: u16 = 1 << 15;
    pub const ENTRY: usize = 16;
    pub const ADDRESS: usize = 0;
    pub const ADDRESS_HIGH: usize = 4;
    pub const DATA: usize = 8;
    pub const VECTOR_CONTROL: usize = 12;
}

/// Bits of MSI.
mod msi {
    pub const ADDRESS: u16 = 4;
    pub const DATA_32: u16 = 8;
    pub const ADDRESS_HIGH: u16 = 8;
    pub const DATA_64: u16 = 12;
    pub const ENABLE: u16 = 1;
    pub const CAPABLE_SHIFT: u16 = 1;
    pub const ENABLED_SHIFT: u16 = 4;
    pub const WIDE: u16 = 1 << 7;
}

/// A function's message capabilities.
#[derive(Clone, Copy)]
pub struct Slot {
    function: Function,
    msix: Option<u16>,
    msi: Option<u16>,
    power: Option<u16>,
}

impl Slot {
    /// Looks the capabilities up.
    pub fn new(function: Function) -> Self {
        let capabilities = function.capabilities();
        let first = |id| capabilities.iter().find(|c| c.0 == id).map(|c| c.1);
        Self {
            function,
            msix: first(capability::MSIX),
            msi: first(capability::MSI),
            power: first(capability::POWER),
        }
    }

    /// What the function can do.
    pub fn capabilities(&self) -> Capabilities {
        let control = |at: u16| self.function.read16(at + CONTROL);
        Capabilities {
            msix: self
                .msix
                .map_or(0, |at| u32::from(control(at) & msix::SIZE) + 1),
            msi: self
                .msi
                .map_or(0, |at| 1 << (control(at) >> msi::CAPABLE_SHIFT & 7).min(5)),
            line: self
                .function
                .pin()
                .map(|pin| apic::line_of(self.function.root_slot(), pin)),
        }
    }

    /// `IRP_MN_START_DEVICE`: decoding and bus mastering on; with MSI-X the capability on and
    /// masked, and every entry of the table programmed.
    pub fn start(&self, assignment: &Assignment) {
        let ports = if self.function.has_ports() {
            command::IO
        } else {
            0
        };
        self.function.command(
            ports | command::MEMORY | command::BUS_MASTER,
            command::INTERRUPT_DISABLE,
        );
        if let (Assignment::Messages(Kind::Msix, vectors), Some(at)) = (assignment, self.msix) {
            self.control(at, msix::ENABLE | msix::FUNCTION_MASK);
            let Some(table) = self.table(at) else { return };
            for entry in 0..table.length() / msix::ENTRY {
                let message = assignment.message_of_entry(entry);
                let vector = vectors[message];
                let address = apic::message_address(assignment.processor_of(message));
                let base = entry * msix::ENTRY;
                table.write(base + msix::ADDRESS, address as u32);
                table.write(base + msix::ADDRESS_HIGH, (address >> 32) as u32);
                table.write(base + msix::DATA, u32::from(vector));
                if entry < UNMASKED {
                    table.write(base + msix::VECTOR_CONTROL, 0u32);
                }
            }
        }
    }

    fn control(&self, at: u16, value: u16) {
        self.function.write16(at + CONTROL, value);
    }

    fn table(&self, at: u16) -> Option<Mmio> {
        let place = self.function.read32(at + msix::TABLE);
        let (bar, offset) = (place as u8 & 7, (place & !7) as usize);
        let size = usize::from(self.function.read16(at + CONTROL) & msix::SIZE) + 1;
        let length = size * msix::ENTRY;
        self.function
            .bar(bar, offset + length)?
            .part(offset, length)
    }

    /// The handlers are connected: interrupts may come.
    pub fn unmask(&self, assignment: &Assignment) {
        match (assignment, self.msix, self.msi) {
            (Assignment::Messages(Kind::Msix, _), Some(at), _) => self.control(at, msix::ENABLE),
            (Assignment::Messages(Kind::Msi, vectors), _, Some(at)) => {
                let control = self.function.read16(at + CONTROL);
                let address = apic::MESSAGE_ADDRESS;
                self.function.write32(at + msi::ADDRESS, address as u32);
                let data = if control & msi::WIDE != 0 {
                    self.function
                        .write32(at + msi::ADDRESS_HIGH, (address >> 32) as u32);
                    msi::DATA_64
                } else {
                    msi::DATA_32
                };
                self.function.write16(at + data, vectors[0].into());
                let enabled = (vectors.len().ilog2() as u16) << msi::ENABLED_SHIFT;
                self.control(at, enabled | msi::ENABLE);
            }
            (Assignment::Line(input, vector), ..) => apic::connect_line(*input, *vector),
            _ => {}
        }
    }

    /// Puts the function into power state D0 to D3, as far as it can be told to.
    pub fn set_power(&self, state: u16) {
        if let Some(at) = self.power {
            let old = self.function.read16(at + POWER_CONTROL) & !POWER_STATE;
            self.function
                .write16(at + POWER_CONTROL, old | state & POWER_STATE);
        }
    }

    /// The function is gone: what is left is the line's input, if nobody else uses it.
    pub fn forget(&self, assignment: &Assignment, last: bool) {
        if let (Assignment::Line(input, _), true) = (assignment, last) {
            apic::mask(*input);
        }
    }

    /// The device stops: messages off, no more DMA. `last` says that nobody else uses the line.
    pub fn stop(&self, assignment: &Assignment, last: bool) {
        match (assignment, self.msix, self.msi) {
            (Assignment::Messages(Kind::Msix, _), Some(at), _) => self.control(at, 0),
            (Assignment::Messages(Kind::Msi, _), _, Some(at)) => self.control(at, 0),
            (Assignment::Line(input, _), ..) if last => apic::mask(*input),
            _ => {}
        }
        self.function.command(0, command::BUS_MASTER);
    }
}

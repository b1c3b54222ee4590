//! A PCI Express root port with a slot, whose function can come and go (PCI Express 3.0, 6.7 and 7.8).

use super::pci::{Function, capability, command, ports, window};
use core::ops::Range;

/// Slot on bus 0 of the first root port; the bus behind it is `FIRST_BUS`.
const FIRST_SLOT: u8 = 0x10;
const FIRST_BUS: u8 = 1;

/// Offsets in the configuration header of a bridge.
mod header {
    pub const TYPE: u16 = 0x0e;
    pub const BUSES: u16 = 0x18;
    pub const IO: u16 = 0x1c;
    pub const MEMORY: u16 = 0x20;
    pub const PREFETCHABLE: u16 = 0x24;
    /// The header type of a bridge.
    pub const BRIDGE: u8 = 1;
}

/// Offsets and bits of the PCI Express capability.
mod express {
    pub const CAPABILITIES: u16 = 0x02;
    pub const DEVICE_CONTROL: u16 = 0x08;
    pub const DEVICE_STATUS: u16 = 0x0a;
    pub const SLOT_CONTROL: u16 = 0x18;
    pub const SLOT_STATUS: u16 = 0x1a;
    pub const HAS_SLOT: u16 = 1 << 8;
    /// Power indicator and power controller.
    pub const POWER_BITS: u16 = 0x0700;
    pub const POWER_ON: u16 = 0x0100;
    pub const POWER_OFF: u16 = 0x0700;
    /// Off, with the indicator left on.
    pub const POWER_OFF_LIT: u16 = 0x0500;
    /// Correctable, non-fatal and fatal errors are reported.
    pub const REPORTED: u16 = 0b111;
    pub const CORRECTABLE: u16 = 1;
    pub const FATAL: u16 = 1 << 2;
    pub const ERRORS: u16 = 0xf;
    pub const ATTENTION: u16 = 1;
    pub const PRESENCE_CHANGED: u16 = 1 << 3;
    pub const PRESENT: u16 = 1 << 6;
    /// Bits that are cleared by writing 1.
    pub const EVENTS: u16 = 0x11f;
}

/// The slot on bus 0 of the root port in front of a bus.
pub fn slot_of_bus(bus: u8) -> u8 {
    FIRST_SLOT + (bus - FIRST_BUS)
}

/// A root port.
#[derive(Clone, Copy)]
pub struct RootPort {
    bridge: Function,
    express: u16,
}

/// The power of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Power {
    /// On.
    On,
    /// Off, and the light too: QEMU takes the function out.
    #[default]
    Off,
    /// Off, and the light stays on: QEMU resets the function and keeps it.
    OffLit,
}

/// What a slot tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// The attention button was pressed.
    pub attention: bool,
    /// Something came or went.
    pub changed: bool,
    /// The link went down without a word.
    pub down: bool,
    /// There were errors that a link has when it comes up.
    pub up: bool,
    /// Something is in the slot.
    pub present: bool,
}

impl RootPort {
    /// The root port at this place, with its buses and its memory set up. `None` for anything else.
    pub fn find(bridge: Function) -> Option<Self> {
        bridge.identity()?;
        if bridge.read8(header::TYPE) & 0x7f != header::BRIDGE {
            return None;
        }
        let (_, express) = bridge
            .capabilities()
            .into_iter()
            .find(|c| c.0 == capability::EXPRESS)?;
        if bridge.read16(express + express::CAPABILITIES) & express::HAS_SLOT == 0 {
            return None;
        }
        let bus = u32::from(bridge.slot() - FIRST_SLOT + FIRST_BUS);
        bridge.write32(header::BUSES, bus << 8 | bus << 16);
        // Nothing behind it needs memory that may be prefetched: base above limit. Of ports a window
        // has whole pages.
        let window_of = |ports: Range<u16>| ports.start >> 8 & 0xf0 | ports.end & 0xf000;
        bridge.write16(header::IO, ports(bridge.slot()).map_or(0x00f0, window_of));
        bridge.write32(header::PREFETCHABLE, 0x0000_fff0);
        let memory = window(bridge.slot());
        let (first, last) = ((memory.start >> 16) as u32, ((memory.end - 1) >> 16) as u32);
        bridge.write32(header::MEMORY, first & 0xfff0 | (last & 0xfff0) << 16);
        bridge.command(command::IO | command::MEMORY | command::BUS_MASTER, 0);
        bridge.write16(express + express::DEVICE_CONTROL, express::REPORTED);
        let port = Self { bridge, express };
        port.take_events();
        Some(port)
    }

    /// The function in the slot, whether or not it is there.
    pub fn function(self) -> Function {
        Function::new(self.bridge.slot() - FIRST_SLOT + FIRST_BUS, 0, 0)
    }

    /// What has happened since this was asked last.
    pub fn take_events(self) -> Events {
        let at = self.express + express::SLOT_STATUS;
        let status = self.bridge.read16(at);
        if status & express::EVENTS != 0 {
            // No more than what was read: an event that comes meanwhile must stay.
            self.bridge.write16(at, status & express::EVENTS);
        }
        let at = self.express + express::DEVICE_STATUS;
        let errors = self.bridge.read16(at);
        if errors & express::ERRORS != 0 {
            self.bridge.write16(at, errors & express::ERRORS);
        }
        Events {
            down: errors & express::FATAL != 0,
            up: errors & express::CORRECTABLE != 0,
            attention: status & express::ATTENTION != 0,
            changed: status & express::PRESENCE_CHANGED != 0,
            present: status & express::PRESENT != 0,
        }
    }

    /// Switches the slot's power.
    pub fn power(self, power: Power) {
        let at = self.express + express::SLOT_CONTROL;
        let others = self.bridge.read16(at) & !express::POWER_BITS;
        let bits = match power {
            Power::On => express::POWER_ON,
            Power::Off => express::POWER_OFF,
            Power::OffLit => express::POWER_OFF_LIT,
        };
        self.bridge.write16(at, others | bits);
    }
}

//! Devices that come and go as QEMU's ACPI tables have it: of each bus with a slot, bits for what came and what is
//! asked to go, and one that is written to let it go. The tables' own code does the same with these ports.

use super::MOST_SLOTS;
use crate::hal::cpu;

/// Ports of the chipset's hot-plug.
const CAME: u16 = 0xcc0;
const ASKED: u16 = 0xcc4;
const LET_GO: u16 = 0xcc8;
const BUS: u16 = 0xcd0;
/// The first slot of a bus: one behind a root port has no other.
const FIRST: u32 = 1;

/// What is known of the buses.
#[derive(Default)]
pub struct Acpi {
    /// Devices by the number of their bus, which the tables know: here the first that comes is the first device
    /// that is found.
    devices: [Option<usize>; MOST_SLOTS],
    /// Buses on which something came that was not found yet.
    came: [bool; MOST_SLOTS],
}

impl Acpi {
    /// Whether something came for this device, which is there and was not found yet.
    pub fn takes_what_came(&mut self, dev: usize) -> bool {
        for (bus, came) in self.came.iter_mut().enumerate() {
            cpu::out32(BUS, bus as u32);
            // Reading it makes it quiet.
            *came |= cpu::in32(CAME) & FIRST != 0;
        }
        let Some(bus) = self.came.iter().position(|came| *came) else {
            return false;
        };
        self.came[bus] = false;
        self.devices[bus] = Some(dev);
        true
    }

    /// Whether this device is asked to go.
    pub fn is_asked(&self, dev: usize) -> bool {
        self.select(dev) && cpu::in32(ASKED) & FIRST != 0
    }

    /// Lets this device go, if it is asked to.
    pub fn let_go(&self, dev: usize) {
        if self.is_asked(dev) {
            cpu::out32(LET_GO, FIRST);
        }
    }

    fn select(&self, dev: usize) -> bool {
        let bus = self.devices.iter().position(|of| *of == Some(dev));
        if let Some(bus) = bus {
            cpu::out32(BUS, bus as u32);
        }
        bus.is_some()
    }
}

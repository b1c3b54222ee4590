//! PCI configuration space of bus 0, by the configuration ports.

use super::cpu;
use super::mmio::Mmio;
use alloc::vec::Vec;
use core::ops::Range;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// Offsets in configuration space.
mod offset {
    pub const VENDOR: u16 = 0x00;
    pub const DEVICE: u16 = 0x02;
    pub const COMMAND: u16 = 0x04;
    pub const STATUS: u16 = 0x06;
    pub const REVISION: u16 = 0x08;
    pub const BAR0: u16 = 0x10;
    pub const CAPABILITIES: u16 = 0x34;
    pub const INTERRUPT_PIN: u16 = 0x3d;
}

/// Bits of the command register.
pub mod command {
    /// Answers to accesses of ports.
    pub const IO: u16 = 1 << 0;
    /// Answers to memory accesses.
    pub const MEMORY: u16 = 1 << 1;
    /// May write to memory: DMA and messages.
    pub const BUS_MASTER: u16 = 1 << 2;
    /// Must not drive its pin.
    pub const INTERRUPT_DISABLE: u16 = 1 << 10;
}

/// What is behind a BAR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// Its number.
    pub number: u8,
    /// Where it begins; 0 for none.
    pub start: u64,
    /// Its size in bytes.
    pub length: u32,
    /// Ports, and no memory.
    pub ports: bool,
}

impl Bar {
    /// None.
    pub const NONE: Self = Self {
        number: 0,
        start: 0,
        length: 0,
        ports: false,
    };
}

const HAS_CAPABILITIES: u16 = 1 << 4;
/// More capabilities do not fit into 192 bytes.
const MOST_CAPABILITIES: usize = 48;
/// Capability ids.
pub mod capability {
    /// Message-signaled interrupts.
    pub const MSI: u8 = 0x05;
    /// Power management.
    pub const POWER: u8 = 0x01;
    /// Vendor specific: what virtio uses.
    pub const VENDOR: u8 = 0x09;
    /// PCI Express.
    pub const EXPRESS: u8 = 0x10;
    /// MSI-X.
    pub const MSIX: u8 = 0x11;
}

/// Memory addresses for BARs that the firmware left empty: q35's hole, above its usual choice.
const WINDOW: u64 = 0xd000_0000;
/// The same for BARs that are 64 bits wide: beyond what the others can reach.
const HIGH_WINDOW: u64 = super::boot::HIGH;
/// Ports for what is in each slot of bus 0 or behind it: as few as the window of a bridge has.
const PORTS_PER_SLOT: u16 = 0x1000;
/// The slots whose functions get ports: no more fit between those of the machine and the last.
const SLOTS_WITH_PORTS: Range<u8> = 0x10..0x1e;
const FIRST_PORT: u16 = 0x2000;
/// A window's share for each slot, in bytes.
const WINDOW_PER_SLOT: u64 = 1 << 24;

/// The memory for what is in a slot of bus 0 or behind it.
pub fn window(slot: u8) -> Range<u64> {
    let start = WINDOW + u64::from(slot) * WINDOW_PER_SLOT;
    start..start + WINDOW_PER_SLOT
}

/// The ports for what is in a slot of bus 0 or behind it. `None` when there are none for it.
pub fn ports(slot: u8) -> Option<Range<u16>> {
    let n = SLOTS_WITH_PORTS
        .contains(&slot)
        .then(|| slot - SLOTS_WITH_PORTS.start)?;
    let start = FIRST_PORT + u16::from(n) * PORTS_PER_SLOT;
    Some(start..start + (PORTS_PER_SLOT - 1))
}

/// A PCI function.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    bus: u8,
    slot: u8,
    function: u8,
}

impl Function {
    /// The function at this place.
    pub const fn new(bus: u8, slot: u8, function: u8) -> Self {
        Self {
            bus,
            slot,
            function,
        }
    }

    /// Its bus.
    pub fn bus(self) -> u8 {
        self.bus
    }

    /// Its slot on the bus.
    pub fn slot(self) -> u8 {
        self.slot
    }

    /// The slot on bus 0 that leads to it: its own, or that of the root port above it.
    pub fn root_slot(self) -> u8 {
        match self.bus {
            0 => self.slot,
            bus => super::root_port::slot_of_bus(bus),
        }
    }

    /// Does something with the data port turned to `offset`. No interrupt may turn it away.
    fn at<T>(self, offset: u16, act: impl FnOnce(u16) -> T) -> T {
        cpu::without_interrupts(|| act(self.select(offset)))
    }

    fn select(self, offset: u16) -> u16 {
        let place =
            u32::from(self.bus) << 16 | u32::from(self.slot) << 11 | u32::from(self.function) << 8;
        cpu::out32(ADDRESS, ENABLE | place | u32::from(offset & 0xfc));
        DATA + (offset & 3)
    }

    /// Reads one byte.
    pub fn read8(self, offset: u16) -> u8 {
        self.at(offset, cpu::in8)
    }

    /// Reads two bytes; `offset` is even.
    pub fn read16(self, offset: u16) -> u16 {
        self.at(offset, cpu::in16)
    }

    /// Reads four bytes; `offset` is a multiple of four.
    pub fn read32(self, offset: u16) -> u32 {
        self.at(offset, cpu::in32)
    }

    /// Writes one byte.
    pub fn write8(self, offset: u16, value: u8) {
        self.at(offset, |port| cpu::out8(port, value));
    }

    /// Writes two bytes; `offset` is even.
    pub fn write16(self, offset: u16, value: u16) {
        self.at(offset, |port| cpu::out16(port, value));
    }

    /// Writes four bytes; `offset` is a multiple of four.
    pub fn write32(self, offset: u16, value: u32) {
        self.at(offset, |port| cpu::out32(port, value));
    }

    /// Vendor and device; `None` where there is no function.
    pub fn identity(self) -> Option<(u16, u16)> {
        let vendor = self.read16(offset::VENDOR);
        (vendor != 0xffff).then(|| (vendor, self.read16(offset::DEVICE)))
    }

    /// Sets and clears bits of the command register.
    pub fn command(self, set: u16, clear: u16) {
        let old = self.read16(offset::COMMAND);
        let new = (old | set) & !clear;
        if new != old {
            self.write16(offset::COMMAND, new);
        }
    }

    /// The status register. It is the device's own answer; reading it changes nothing.
    pub fn status(self) -> u16 {
        self.read16(offset::STATUS)
    }

    /// The revision id.
    pub fn revision(self) -> u8 {
        self.read8(offset::REVISION)
    }

    /// The MSI-X table; `None` without the capability.
    pub fn message_table(self) -> Option<Mmio> {
        const PLACE: u16 = 4;
        let capabilities = self.capabilities();
        let (_, at) = *capabilities.iter().find(|c| c.0 == capability::MSIX)?;
        let place = self.read32(at + PLACE);
        let (bar, offset) = (place as u8 & 7, (place & !7) as usize);
        let length = 16 * (usize::from(self.read16(at + 2) & 0x7ff) + 1);
        self.bar(bar, offset + length)?.part(offset, length)
    }

    /// The interrupt pin, 1 for INTA; `None` without one.
    pub fn pin(self) -> Option<u8> {
        let pin = self.read8(offset::INTERRUPT_PIN);
        (1..=4).contains(&pin).then_some(pin)
    }

    /// The capabilities: id and offset. A list that runs in a circle ends.
    pub fn capabilities(self) -> Vec<(u8, u16)> {
        let mut next = match self.status() & HAS_CAPABILITIES {
            0 => 0,
            _ => self.read8(offset::CAPABILITIES) & 0xfc,
        };
        let walk = core::iter::from_fn(|| {
            (next >= 0x40).then(|| {
                let at = u16::from(next);
                let head = self.read16(at);
                next = (head >> 8) as u8 & 0xfc;
                (head as u8, at)
            })
        });
        walk.take(MOST_CAPABILITIES).collect()
    }

    /// Where in configuration space a virtio device's configuration access window has its data.
    pub fn windows(self) -> Vec<u16> {
        const TYPE: u16 = 3;
        const WINDOW: u8 = 5;
        const DATA: u16 = 16;
        let capabilities = self.capabilities().into_iter();
        let vendor = capabilities.filter(|(id, _)| *id == capability::VENDOR);
        vendor
            .filter(|(_, at)| self.read8(at + TYPE) == WINDOW)
            .map(|(_, at)| at + DATA)
            .collect()
    }

    /// The first `length` bytes of the memory behind a BAR; `None` for a port BAR, an empty one, or
    /// one that is not mapped.
    pub fn bar(self, bar: u8, length: usize) -> Option<Mmio> {
        if bar > 5 {
            return None;
        }
        let at = offset::BAR0 + 4 * u16::from(bar);
        let low = self.read32(at);
        let wide = low & 7 == 4;
        let high = if wide { self.read32(at + 4) } else { 0 };
        let base = u64::from(high) << 32 | u64::from(low & !0xf);
        let mapped = high == 0 && base != 0 || super::boot::is_mapped_high(base, length as u64);
        (low & 1 == 0 && mapped).then(|| Mmio::new(base, length))
    }

    /// The first port behind a BAR; `None` when it is not one of ports, or has no place.
    pub fn ports(self, bar: u8) -> Option<u16> {
        let low = self.read32(offset::BAR0 + 4 * u16::from(bar));
        let base = low as u16 & !3;
        (low & 1 != 0 && base != 0).then_some(base)
    }

    /// Whether a BAR is one of ports that have a place.
    pub fn has_ports(self) -> bool {
        (0..6).any(|bar| self.ports(bar).is_some())
    }

    /// Size of the BAR at `at`, whose value is `old`.
    fn size(self, at: u16, old: u32) -> Option<u64> {
        self.write32(at, !0);
        let mask = self.read32(at) & !0xf;
        self.write32(at, old);
        (mask != 0).then(|| u64::from(!mask) + 1)
    }

    /// What is behind its BARs. To be asked before the function answers to accesses.
    pub fn ranges(self) -> Vec<Bar> {
        let mut ranges = Vec::new();
        let mut bar = 0;
        while bar < 6 {
            let at = offset::BAR0 + 4 * bar;
            let low = self.read32(at);
            let ports = low & 1 != 0;
            let wide = low & 7 == 4;
            let high = if wide { self.read32(at + 4) } else { 0 };
            let start = u64::from(high) << 32 | u64::from(low & if ports { !3 } else { !0xf });
            let number = bar as u8;
            bar += if wide { 2 } else { 1 };
            if start == 0 {
                continue;
            }
            let size = if ports {
                self.write32(at, !0);
                let mask = self.read32(at) & 0xfffc;
                self.write32(at, low);
                (mask != 0).then(|| u64::from(!mask & 0xffff) + 1)
            } else {
                self.size(at, low)
            };
            if let Some(size) = size {
                ranges.push(Bar {
                    number,
                    start,
                    length: size as u32,
                    ports,
                });
            }
        }
        ranges
    }

    /// Gives every empty BAR a place, as the firmware would have done.
    pub fn place_bars(self) {
        let slot = self.root_slot();
        let mut next = window(slot).start;
        let mut next_high = HIGH_WINDOW + u64::from(slot) * WINDOW_PER_SLOT;
        let mut bar = 0;
        while bar < 6 {
            let at = offset::BAR0 + 4 * bar;
            let old = self.read32(at);
            let wide = old & 7 == 4;
            bar += if wide { 2 } else { 1 };
            if old & 1 != 0 {
                // No function here has more than one such BAR.
                if let Some(ports) = ports(slot).filter(|_| old & !3 == 0) {
                    self.write32(at, u32::from(ports.start) | 1);
                }
                continue;
            }
            if old & !0xf != 0 {
                continue;
            }
            let Some(size) = self.size(at, old) else {
                continue;
            };
            // A root port passes on nothing above 4 GiB.
            let high = wide && self.bus == 0;
            let place = if high { &mut next_high } else { &mut next };
            *place = place.next_multiple_of(size);
            self.write32(at, *place as u32 | old & 0xf);
            if wide {
                self.write32(at + 4, (*place >> 32) as u32);
            }
            *place += size;
        }
    }
}

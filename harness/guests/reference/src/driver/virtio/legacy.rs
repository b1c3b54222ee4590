//! The legacy interface: the same device by its I/O ports, as drivers knew it before virtio 1.0
//! (virtio 1.3, 4.1.4.10).

use super::layout;
use super::registers::Registers;
use super::spec::{feature, legacy, ring};
use super::transport::{Fields, Transport};
use crate::dbg_print;
use crate::driver::mistake::{Mistake, Mistakes};
use crate::driver::{Interface, Settings};
use crate::hal::pci::Function;

/// The ports that carry the header and the device configuration.
const PORTS: usize = 0x100;
/// More queues no device has here.
const MOST_QUEUES: u16 = 256;
/// How often a configuration that keeps changing is read again.
const MOST_READS: usize = 16;

/// Where the registers lie that both interfaces have.
pub const FIELDS: Fields = Fields {
    status: legacy::DEVICE_STATUS,
    select: legacy::QUEUE_SELECT,
    size: legacy::QUEUE_SIZE,
    config_vector: legacy::CONFIG_MSIX_VECTOR,
    queue_vector: legacy::QUEUE_MSIX_VECTOR,
};

/// The device by its ports.
#[derive(Clone, Copy)]
pub struct Legacy {
    function: Function,
    ports: Registers,
    /// MSI-X is enabled: the header has its vectors.
    msix: bool,
    mistakes: Mistakes,
}

/// The registers of a function in the ports of its first BAR. `None` when it has none.
pub fn find(function: Function, msix: bool, mistakes: Mistakes) -> Option<Transport> {
    let Some(base) = function.ports(0) else {
        dbg_print!("VIRTIO: no ports");
        return None;
    };
    let ports = Registers::ports(base, PORTS);
    let legacy = Legacy {
        function,
        ports,
        msix,
        mistakes,
    };
    Some(Transport::legacy(
        legacy,
        ports,
        ports.part(legacy::QUEUE_NOTIFY, 2)?,
        ports.part(legacy::ISR_STATUS, 1)?,
        mistakes,
    ))
}

impl Legacy {
    /// The features that the device offers: there are 32.
    pub fn offered(self) -> u64 {
        self.ports.read::<u32>(legacy::DEVICE_FEATURES).into()
    }

    /// The features that the driver accepts.
    pub fn accept(self, features: u64) {
        self.ports.write(legacy::DRIVER_FEATURES, features as u32);
        if self.mistakes.has(Mistake::LEGACY_VERSION_1) {
            let settings = Settings {
                interface: Some(Interface::Modern),
                ..Settings::default()
            };
            if let Some(modern) = layout::find(self.function, &settings, self.msix) {
                modern.accept(features | feature::VERSION_1);
            }
        }
    }

    /// The device configuration: right behind the header, whose length MSI-X decides.
    pub fn device(self) -> Option<Registers> {
        let vectors = self.msix && !self.mistakes.has(Mistake::LEGACY_LAYOUT_FIXED);
        let header = if vectors {
            legacy::HEADER_WITH_VECTORS
        } else {
            legacy::HEADER
        };
        self.ports.part(header, PORTS)
    }

    /// Reads something of the device configuration until two readings are equal, as nothing else
    /// tells of a change in between (2.5.4). `None` when there is no end to the changes.
    pub fn config<T: PartialEq>(self, read: impl Fn(Registers) -> T) -> Option<T> {
        let device = self.device()?;
        let mut before = read(device);
        if self.mistakes.has(Mistake::CONFIG_READ_ONCE) {
            return Some(before);
        }
        for _ in 0..MOST_READS {
            let after = read(device);
            if before == after {
                return Some(after);
            }
            before = after;
        }
        None
    }

    /// How many queues there are: up to the first without a size.
    pub fn queues(self) -> u16 {
        let size = |n: &u16| {
            self.ports.write(legacy::QUEUE_SELECT, *n);
            self.ports.read::<u16>(legacy::QUEUE_SIZE)
        };
        (0..MOST_QUEUES)
            .find(|n| size(n) == 0)
            .unwrap_or(MOST_QUEUES)
    }

    /// Tells where the selected queue begins, which puts it in use.
    pub fn place_queue(self, address: u64) {
        let page = address / ring::LEGACY_ALIGN as u64;
        self.ports.write(legacy::QUEUE_ADDRESS, page as u32);
    }
}

/// What of a driver's features the legacy interface can carry, and what it adds (6.3).
pub fn features(features: u64) -> u64 {
    features & u64::from(u32::MAX) | feature::ANY_LAYOUT
}

//! Finding the structures by their capabilities (virtio 1.3, 4.1.4).

use super::legacy;
use super::registers::Registers;
use super::spec::{cap, common, device};
use super::transport::Transport;
use crate::dbg_print;
use crate::driver::mistake::Mistake;
use crate::driver::{Interface, Settings};
use crate::hal::mmio::Mmio;
use crate::hal::pci::{Function, capability};
use alloc::vec::Vec;

/// No structure that is known here needs more, but that of the notifications.
const MOST: usize = 4096;

/// A virtio capability.
#[derive(Clone, Copy)]
struct Capability {
    at: u16,
    kind: u8,
    bytes: u8,
}

struct Finder<'a> {
    function: Function,
    settings: &'a Settings,
    found: Vec<Capability>,
}

/// Finds the first usable structure of each kind, or the legacy registers where those are all that
/// there is (4.1.5.1.1.1), or where the scenario wants them. `None` when one is missing.
pub fn find(function: Function, settings: &Settings, msix: bool) -> Option<Transport> {
    let makes = |mistake| settings.mistakes.has(mistake);
    let capability = |(_, at)| Capability {
        at,
        kind: function.read8(at + cap::TYPE),
        bytes: function.read8(at + cap::LENGTH),
    };
    let all = function.capabilities().into_iter();
    let mut found: Vec<_> = all
        .filter(|&(id, _)| id == capability::VENDOR)
        .map(capability)
        .collect();
    if makes(Mistake::EXACT_REVISION) && function.revision() != 1 {
        dbg_print!("VIRTIO: revision {} is not known", function.revision());
        return None;
    }
    let is_known = |c: &Capability| cap::KNOWN.contains(&c.kind);
    if makes(Mistake::RESERVED_TYPE_REFUSED) && !found.iter().all(is_known) {
        dbg_print!("VIRTIO: a capability is not known");
        return None;
    }
    if makes(Mistake::CAPABILITIES_ASSUMED) && found.is_empty() {
        // The address that the structure was not found at.
        let common = Registers::memory(Mmio::new(0, common::SIZE));
        return Some(Transport::new(
            common,
            (common, 4),
            common,
            None,
            settings.mistakes,
        ));
    }
    let only_legacy = || {
        let id = function.identity().map_or(0, |(_, device)| device);
        found.is_empty() && device::is_legacy(id)
    };
    let by_ports = match settings.interface {
        Some(interface) => interface == Interface::Legacy,
        None => only_legacy(),
    };
    if by_ports {
        return legacy::find(function, msix, settings.mistakes);
    }
    vendor_data(function, settings, &found);
    found.retain(|c| c.bytes >= cap::SMALLEST);
    if makes(Mistake::EXACT_CAP_LEN) {
        found.retain(|c| c.bytes == cap::bytes(c.kind));
    }
    Finder {
        function,
        settings,
        found,
    }
    .transport()
}

/// Tells what the vendor says, if it is one that is known.
fn vendor_data(function: Function, settings: &Settings, found: &[Capability]) {
    for c in found.iter().filter(|c| c.kind == cap::VENDOR_DATA) {
        let unchecked = settings.mistakes.has(Mistake::VENDOR_DATA_UNCHECKED);
        if unchecked || function.read16(c.at + cap::VENDOR_ID) == cap::KNOWN_VENDOR {
            let data = function.read32(c.at + cap::VENDOR_ID + 4);
            dbg_print!("VIRTIO: vendor data {data:#x}");
        }
    }
}

impl Finder<'_> {
    fn makes(&self, mistake: Mistake) -> bool {
        self.settings.mistakes.has(mistake)
    }

    fn transport(&self) -> Option<Transport> {
        let (common, _) = self.structure(cap::COMMON)?;
        if self.makes(Mistake::WINDOW_UNSET)
            && let Some(window) = self.window()
        {
            let _ = self.function.read32(window + cap::WINDOW_DATA);
        }
        let (notify, at) = self.structure(cap::NOTIFY)?;
        let device = self.structure(cap::DEVICE).map(|found| found.0);
        let device = device.filter(|device| device.length() > 0);
        if self.makes(Mistake::CONFIG_REQUIRED) && device.is_none() {
            return None;
        }
        let exact = |device: &Registers| device.length() == 256;
        if self.makes(Mistake::EXACT_CONFIG_LENGTH) && !device.as_ref().is_none_or(exact) {
            dbg_print!("VIRTIO: the device configuration has another length");
            return None;
        }
        Some(Transport::new(
            (common.length() >= common::SIZE).then_some(common)?,
            (notify, self.function.read32(at + cap::NOTIFY_MULTIPLIER)),
            self.structure(cap::ISR)?.0,
            device,
            self.settings.mistakes,
        ))
    }

    /// The first structure of a kind that can be used, and where its capability is.
    fn structure(&self, kind: u8) -> Option<(Registers, u16)> {
        let mut right: Vec<_> = self.found.iter().filter(|c| c.kind == kind).collect();
        if self.makes(Mistake::LAST_CAPABILITY) {
            right.reverse();
        }
        if self.makes(Mistake::RESERVED_BAR_USED) {
            right.truncate(1);
        }
        right
            .into_iter()
            .find_map(|c| Some((self.registers(c)?, c.at)))
    }

    fn registers(&self, c: &Capability) -> Option<Registers> {
        let bar = self.function.read8(c.at + cap::BAR);
        let offset = self.function.read32(c.at + cap::OFFSET);
        let size = self.function.read32(c.at + cap::SIZE) as usize;
        if self.makes(Mistake::LARGE_STRUCTURE_REFUSED) && size > MOST {
            dbg_print!("VIRTIO: a structure of {size:#x} bytes");
            return None;
        }
        let most = if c.kind == cap::NOTIFY {
            usize::MAX
        } else {
            MOST
        };
        let size = size.min(most);
        if self.settings.window {
            let registers = Registers::window(self.function, self.window()?, bar, offset, size);
            return (bar < 6).then_some(registers);
        }
        let end = (offset as usize).checked_add(size)?;
        let memory = self.function.bar(bar, end)?;
        Some(Registers::memory(memory.part(offset as usize, size)?))
    }

    /// Where the configuration access window is.
    fn window(&self) -> Option<u16> {
        let window = self.found.iter().find(|c| c.kind == cap::WINDOW);
        window.map(|c| c.at)
    }
}

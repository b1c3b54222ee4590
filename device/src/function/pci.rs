//! PCI configuration space.

use super::bars::Layout;
use super::capabilities::Capabilities;
use super::window::Target;
use crate::shape::{Shape, Subsystem};
use crate::spec::{
    CONFIG_BYTES, EXPRESS_CONFIG_BYTES, ExpressCap, Field, MsiCap, MsixCap, PciHeader, PowerCap,
    VENDOR_DATA_BYTES, VENDOR_DATA_ID, VIRTIO_MODERN_DEVICE, VIRTIO_VENDOR, VirtioCapField,
    command, msi_control, msix_control, pci_status,
};

/// Vendor and device id of a port-card: those that QEMU leaves to test devices.
const PORT_CARD_IDS: (u16, u16) = (0x1234, 0x4d46);
/// Class of a function that no class describes.
const OTHER_CLASS: u16 = 0xff00;
/// The bits of a base address register that tell what it is (PCI 3.0, 6.2.5.1).
mod bar_bits {
    /// I/O ports.
    pub const IO: u64 = 1;
    /// Memory by a 64-bit address, prefetchable as such a register has to be.
    pub const WIDE: u64 = 0b1100;
}
/// Function level reset (PCI Express 3.0, 7.8.4).
const INITIATE_FLR: u64 = 1 << 15;

/// The bytes of configuration space, and which bits of them can be written.
#[derive(Clone, Debug)]
pub struct Image {
    bytes: [u8; CONFIG_BYTES as usize],
    mask: [u8; CONFIG_BYTES as usize],
}

impl Image {
    fn new() -> Self {
        Self {
            bytes: [0; CONFIG_BYTES as usize],
            mask: [0; CONFIG_BYTES as usize],
        }
    }

    /// Sets `width` bytes at `at`; for building, not for guests.
    pub fn put(&mut self, at: u64, width: u8, val: u64) {
        for (i, byte) in self
            .bytes
            .iter_mut()
            .skip(at as usize)
            .take(usize::from(width))
            .enumerate()
        {
            *byte = (val >> (8 * i)) as u8;
        }
    }

    /// Makes bits of `width` bytes at `at` writable.
    pub fn writable(&mut self, at: u64, width: u8, bits: u64) {
        for (i, byte) in self
            .mask
            .iter_mut()
            .skip(at as usize)
            .take(usize::from(width))
            .enumerate()
        {
            *byte |= (bits >> (8 * i)) as u8;
        }
    }

    fn get(&self, at: u64, width: u8) -> u64 {
        (0..u64::from(width.min(8))).fold(0, |value, i| {
            let at = at.saturating_add(i);
            let byte = usize::try_from(at).ok().and_then(|i| self.bytes.get(i));
            // No extended capabilities.
            let beyond = if at < EXPRESS_CONFIG_BYTES { 0 } else { 0xff };
            value | (u64::from(byte.copied().unwrap_or(beyond)) << (8 * i))
        })
    }

    fn write(&mut self, at: u64, width: u8, val: u64) {
        for i in 0..u64::from(width.min(8)) {
            let Some(index) = usize::try_from(at.saturating_add(i))
                .ok()
                .filter(|i| *i < self.bytes.len())
            else {
                return;
            };
            let mask = self.mask[index];
            self.bytes[index] = (self.bytes[index] & !mask) | ((val >> (8 * i)) as u8 & mask);
        }
    }
}

/// The registers that decide how a function interrupts and masters the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// The command register.
    pub command: u16,
    /// MSI-X message control; 0 without the capability.
    pub msix: u16,
    /// MSI message control; 0 without the capability.
    pub msi: u16,
    /// Power state, 0 to 3.
    pub power: u8,
}

impl Control {
    /// Whether the function may master the bus.
    pub fn bus_master(self) -> bool {
        self.command & command::BUS_MASTER != 0 && self.power == 0
    }
}

/// What a write of configuration space brought about beside the new content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// A function level reset was asked for.
    pub function_reset: bool,
}

/// PCI configuration space of the function.
#[derive(Clone, Debug)]
pub struct Pci {
    image: Image,
    power_on: Image,
    caps: Capabilities,
    window_data: u32,
    table: u16,
    bars: [u64; 6],
}

impl Pci {
    /// Configuration space of a function of this shape.
    pub fn new(shape: &Shape, layout: &Layout) -> Self {
        let mut image = Image::new();
        let (vendor, device, class, board) = match shape.kind.device_type() {
            Some(virtio) if shape.has_legacy() => {
                (VIRTIO_VENDOR, virtio.transitional, virtio.class, virtio.id)
            }
            Some(virtio) => {
                let device = VIRTIO_MODERN_DEVICE + virtio.id;
                (VIRTIO_VENDOR, device, virtio.class, device)
            }
            None => (PORT_CARD_IDS.0, PORT_CARD_IDS.1, OTHER_CLASS, shape.ports),
        };
        let board = shape.subsystem.unwrap_or(Subsystem { vendor, id: board });
        let put = |image: &mut Image, r: PciHeader, val: u64| image.put(r.offset(), r.width(), val);
        put(&mut image, PciHeader::VendorId, vendor.into());
        put(&mut image, PciHeader::DeviceId, device.into());
        put(
            &mut image,
            PciHeader::RevisionId,
            shape.revision_id().into(),
        );
        put(&mut image, PciHeader::ClassCode, class.into());
        put(
            &mut image,
            PciHeader::SubsystemVendorId,
            board.vendor.into(),
        );
        put(&mut image, PciHeader::SubsystemId, board.id.into());
        put(&mut image, PciHeader::InterruptPin, u64::from(shape.pin));
        let table = shape.table_size();
        let mut bars = [0; 6];
        for (n, bar) in [
            PciHeader::Bar0,
            PciHeader::Bar1,
            PciHeader::Bar2,
            PciHeader::Bar3,
            PciHeader::Bar4,
            PciHeader::Bar5,
        ]
        .into_iter()
        .enumerate()
        {
            bars[n] = layout.bar_size(n);
            if bars[n] == 0 {
                continue;
            }
            image.writable(bar.offset(), 4, !(bars[n] - 1));
            if layout.is_ports(n) {
                image.put(bar.offset(), 4, bar_bits::IO);
            } else if layout.is_wide(n) {
                image.put(bar.offset(), 4, bar_bits::WIDE);
                image.writable(bar.offset() + 4, 4, u64::MAX);
            }
        }
        const PARITY_AND_SERR: u16 = 1 << 6 | 1 << 8;
        let mut commands =
            command::MEMORY | command::BUS_MASTER | command::INTX_DISABLE | PARITY_AND_SERR;
        if shape.has_legacy() {
            commands |= command::IO;
        }
        image.writable(PciHeader::Command.offset(), 2, commands.into());
        image.writable(PciHeader::CacheLineSize.offset(), 1, u64::MAX);
        image.writable(PciHeader::InterruptLine.offset(), 1, u64::MAX);
        let caps = Capabilities::build(shape, layout, &mut image);
        Self {
            power_on: image.clone(),
            image,
            caps,
            window_data: 0,
            table,
            bars,
        }
    }

    /// Back to the state after power-on.
    pub fn reset(&mut self) {
        let Self {
            image,
            power_on,
            caps: _,
            window_data,
            table: _,
            bars: _,
        } = self;
        image.clone_from(power_on);
        *window_data = 0;
    }

    /// Reads bytes; those beyond the space are all ones.
    pub fn bytes(&self, off: u64, out: &mut [u8]) {
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = self.image.get(off.saturating_add(i as u64), 1) as u8;
        }
    }

    /// Reads `width` bytes at `off`.
    pub fn read(&self, off: u64, width: u8) -> u64 {
        self.image.get(off, width)
    }

    /// Writes `width` bytes at `off`, as far as they can be written.
    pub fn write(&mut self, off: u64, width: u8, val: u64) -> Written {
        self.image.write(off, width, val);
        let control = self.caps.express + ExpressCap::DeviceControl.offset();
        let mut function_reset = false;
        if off <= control + 1 && off.saturating_add(u64::from(width)) > control + 1 {
            function_reset = (val >> (8 * (control + 1 - off))) & (INITIATE_FLR >> 8) != 0;
        }
        Written { function_reset }
    }

    /// The registers that decide how the function interrupts.
    pub fn control(&self) -> Control {
        let word =
            |at: Option<u64>, offset: u64| at.map_or(0, |at| self.image.get(at + offset, 2) as u16);
        Control {
            command: self.image.get(PciHeader::Command.offset(), 2) as u16,
            msix: word(self.caps.msix, MsixCap::Control.offset()),
            msi: word(self.caps.msi.map(|msi| msi.at), MsiCap::Control.offset()),
            power: self
                .image
                .get(self.caps.power + PowerCap::Control.offset(), 1) as u8
                & 0b11,
        }
    }

    /// Whether BAR accesses are answered; the configuration access window does not need memory space.
    pub fn answers_memory(&self, window: bool) -> bool {
        let control = self.control();
        control.power == 0 && (window || control.command & command::MEMORY != 0)
    }

    /// Whether accesses of I/O ports are answered; the configuration access window does not need them.
    pub fn answers_ports(&self, window: bool) -> bool {
        let control = self.control();
        control.power == 0 && (window || control.command & command::IO != 0)
    }

    /// Whether MSI-X is enabled.
    pub fn msix_enabled(&self) -> bool {
        self.control().msix & msix_control::ENABLE != 0
    }

    /// Whether MSI is enabled, and MSI-X is not.
    pub fn msi_enabled(&self) -> bool {
        !self.msix_enabled() && self.control().msi & msi_control::ENABLE != 0
    }

    /// Whether an MSI-X message may leave the function now.
    pub fn may_send_msix(&self) -> bool {
        let control = self.control();
        let bits = msix_control::ENABLE | msix_control::FUNCTION_MASK;
        control.bus_master() && control.msix & bits == msix_control::ENABLE
    }

    /// Whether message `number` of the MSI capability may leave the function now.
    pub fn may_send_msi(&self, number: u16) -> bool {
        let mask = self.caps.msi.and_then(|msi| msi.place(MsiCap::Mask));
        let masked = mask.is_some_and(|at| self.image.get(at, 4) >> (number & 31) & 1 != 0);
        self.msi_enabled() && self.control().bus_master() && !masked
    }

    /// Messages that the guest allocated in the MSI capability: 1 to those it offers.
    pub fn msi_allocated(&self) -> u16 {
        let control = self.control().msi;
        let capable = (control >> msi_control::CAPABLE_SHIFT) & 0b111;
        1 << ((control & msi_control::ENABLED_MASK) >> msi_control::ENABLED_SHIFT).min(capable)
    }

    /// Whether the line may be asserted (PCI 3.0, 6.2.2; a function uses one kind at a time).
    pub fn may_assert_line(&self) -> bool {
        let control = self.control();
        control.power == 0
            && control.command & command::INTX_DISABLE == 0
            && !self.msix_enabled()
            && !self.msi_enabled()
            && self.image.get(PciHeader::InterruptPin.offset(), 1) != 0
    }

    /// Sets or clears Interrupt Status (virtio 4.1.4.5.1).
    pub fn set_interrupt_status(&mut self, pending: bool) {
        let at = PciHeader::PciStatus.offset();
        let bit = u64::from(pci_status::INTERRUPT);
        let old = self.image.get(at, 2) & !bit;
        self.image.put(at, 2, old | if pending { bit } else { 0 });
    }

    /// Shows which messages of the MSI capability wait (PCI 3.0, 6.8.1.8).
    pub fn set_msi_pending(&mut self, pending: u32) {
        if let Some(at) = self.caps.msi.and_then(|msi| msi.place(MsiCap::Pending)) {
            self.image.put(at, 4, pending.into());
        }
    }

    /// Entries of the MSI-X table.
    pub fn table_size(&self) -> u16 {
        self.table
    }

    /// The name of the register that an access touches.
    pub fn field(&self, off: u64, width: u8) -> Option<Field> {
        let end = off.saturating_add(u64::from(width));
        let touches = |at: u64, bytes: u64| off < at + bytes && end > at;
        let caps = &self.caps;
        if let Some(register) = PciHeader::at(off) {
            return Some(Field::Pci(register));
        }
        if caps
            .msix
            .is_some_and(|at| touches(at + MsixCap::Control.offset(), 2))
        {
            Some(Field::MsixControl)
        } else if caps
            .msi
            .is_some_and(|msi| touches(msi.at + MsiCap::Control.offset(), 2))
        {
            Some(Field::MsiControl)
        } else if caps.msi.is_some_and(|msi| {
            let registers = MsiCap::AddressLo.offset();
            touches(msi.at + registers, msi.bytes() - registers)
        }) {
            Some(Field::Msi)
        } else if touches(caps.power + PowerCap::Control.offset(), 2) {
            Some(Field::PowerControl)
        } else if touches(caps.express + ExpressCap::DeviceControl.offset(), 2) {
            Some(Field::DeviceControl)
        } else if caps
            .window
            .is_some_and(|at| touches(at, VirtioCapField::SIZE))
        {
            Some(Field::Window)
        } else if caps
            .vendor
            .is_some_and(|at| touches(at + VENDOR_DATA_ID, 2))
        {
            Some(Field::VendorDataId)
        } else if caps.vendor.is_some_and(|at| {
            touches(
                at + VENDOR_DATA_ID + 2,
                VENDOR_DATA_BYTES - VENDOR_DATA_ID - 2,
            )
        }) {
            Some(Field::VendorData)
        } else if caps.virtio.is_some_and(|(at, end)| touches(at, end - at)) {
            Some(Field::VirtioCapability)
        } else {
            (off < CONFIG_BYTES).then_some(Field::Capability)
        }
    }

    /// Where an access of the configuration access window's data goes, if the driver set it up.
    pub fn window_target(&self, off: u64, _width: u8) -> Option<Target> {
        let at = self.caps.window?;
        if off != at + VirtioCapField::CapExtra.offset() {
            return None;
        }
        let get = |field: VirtioCapField| self.image.get(at + field.offset(), field.width());
        Target::new(
            get(VirtioCapField::CapBar),
            get(VirtioCapField::CapOffset),
            get(VirtioCapField::CapLength),
            &self.bars,
        )
    }
}

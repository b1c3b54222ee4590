//! The capability list, built once from the shape.

use super::bars::{BarLayout, Layout, Region};
use super::pci::Image;
use crate::shape::{Oddity, Shape};
use crate::spec::{
    ExpressCap, MSIX_ENTRY_BYTES, MsiCap, MsixCap, PciHeader, PowerCap, RESERVED_BAR,
    RESERVED_CFG_TYPE, VENDOR_DATA_BYTES, VENDOR_DATA_ID, VIRTIO_CAP64_BYTES, VirtioCap,
    VirtioCapField, cap_id, msi_control, pci_status,
};

/// Where each capability lies in configuration space; `None`: the function has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// Power management.
    pub power: u64,
    /// PCI Express.
    pub express: u64,
    /// MSI.
    pub msi: Option<Msi>,
    /// MSI-X.
    pub msix: Option<u64>,
    /// First byte of the virtio capabilities, and one past the last.
    pub virtio: Option<(u64, u64)>,
    /// The virtio configuration access window.
    pub window: Option<u64>,
    /// The vendor data capability.
    pub vendor: Option<u64>,
}

/// The MSI capability: where it lies, and what it has.
#[derive(Clone, Copy, Debug)]
pub struct Msi {
    /// First byte.
    pub at: u64,
    /// Whether the address has an upper half.
    pub address_64: bool,
    /// Whether messages can be masked one by one.
    pub masking: bool,
}

impl Msi {
    /// Where a register of it lies; `None`: it is not there.
    pub fn place(self, register: MsiCap) -> Option<u64> {
        let missing = match register {
            MsiCap::AddressHi => !self.address_64,
            MsiCap::Mask | MsiCap::Pending => !self.masking,
            MsiCap::Control | MsiCap::AddressLo | MsiCap::Data => false,
        };
        let lower = !self.address_64 && register.offset() > MsiCap::AddressHi.offset();
        (!missing).then(|| self.at + register.offset() - if lower { 4 } else { 0 })
    }

    /// Bytes of it.
    pub fn bytes(self) -> u64 {
        MsiCap::bytes(self.address_64, self.masking)
    }
}

/// The first byte after the header.
const FIRST: u64 = PciHeader::SIZE;
/// Where decoys lead to, and how far: a place where no structure is.
fn nowhere(layout: &Layout) -> Region {
    let common = layout.region(VirtioCap::Common, 0);
    Region {
        bar: common.filter(|_| layout.is_ports(0)).map_or(0, |c| c.bar),
        offset: 0x800,
        length: 0x100,
    }
}

/// Appends capabilities one after the other and links them.
struct Builder<'a> {
    image: &'a mut Image,
    next: u64,
    link: u64,
}

impl Builder<'_> {
    fn add(&mut self, id: u8, bytes: u64) -> u64 {
        let at = self.next;
        self.image.put(self.link, 1, at);
        self.image.put(at, 1, u64::from(id));
        self.link = at + 1;
        self.next = (at + bytes).next_multiple_of(4);
        at
    }

    /// A virtio capability of `bytes`, for the structure at `region`.
    fn virtio(&mut self, cfg_type: u8, bytes: u64, region: Region) -> u64 {
        let at = self.add(cap_id::VENDOR, bytes);
        for (field, val) in [
            (VirtioCapField::CapLen, bytes),
            (VirtioCapField::CfgType, cfg_type.into()),
            (VirtioCapField::CapBar, region.bar.into()),
            (VirtioCapField::CapOffset, region.offset),
            (VirtioCapField::CapLength, region.length),
        ] {
            self.image.put(at + field.offset(), field.width(), val);
        }
        at
    }
}

impl Capabilities {
    /// Writes the list into `image`.
    pub fn build(shape: &Shape, layout: &Layout, image: &mut Image) -> Self {
        image.put(
            PciHeader::PciStatus.offset(),
            2,
            u64::from(pci_status::CAPABILITIES),
        );
        let mut list = Builder {
            image,
            next: FIRST,
            link: PciHeader::CapabilitiesPointer.offset(),
        };
        let mut caps = Self {
            power: power(&mut list),
            express: express(&mut list),
            ..Self::default()
        };
        if shape.msi != 0 {
            caps.msi = Some(msi(&mut list, shape));
        }
        let table = shape.table_size();
        if table != 0 {
            caps.msix = Some(msix(&mut list, table));
        }
        if shape.has_structures() {
            let first = list.next;
            structures(&mut list, shape, layout, &mut caps);
            caps.virtio = Some((first, list.next));
        }
        debug_assert_eq!(list.next - FIRST, shape.capability_bytes());
        caps
    }
}

/// The virtio capabilities (4.1.4).
fn structures(list: &mut Builder<'_>, shape: &Shape, layout: &Layout, caps: &mut Capabilities) {
    let odd = |oddity| shape.caps.has(oddity);
    let more = if odd(Oddity::Long) { 8 } else { 0 };
    let plain = VirtioCapField::CapExtra.offset() + more;
    let extended = VirtioCapField::SIZE + more;
    if odd(Oddity::ReservedType) {
        list.virtio(RESERVED_CFG_TYPE, plain, nowhere(layout));
    }
    if odd(Oddity::ReservedBar) {
        let reserved = Region {
            bar: RESERVED_BAR,
            ..nowhere(layout)
        };
        list.virtio(VirtioCap::Common as u8, plain, reserved);
    }
    for instance in 0..2 {
        for kind in [
            VirtioCap::Common,
            VirtioCap::Isr,
            VirtioCap::Device,
            VirtioCap::Notify,
        ] {
            let Some(region) = layout.region(kind, instance) else {
                continue;
            };
            match kind {
                VirtioCap::Notify => {
                    let at = list.virtio(kind as u8, extended, region);
                    let multiplier = at + VirtioCapField::CapExtra.offset();
                    list.image.put(multiplier, 4, u64::from(shape.notify_mult));
                }
                // Only for a type that has a configuration (4.1.4.6); configuration space has no
                // room for a second one of this.
                VirtioCap::Device if instance > 0 || region.length == 0 => {}
                _ => {
                    list.virtio(kind as u8, plain, region);
                }
            }
        }
    }
    if odd(Oddity::SharedMemory) {
        list.virtio(
            VirtioCap::SharedMemory as u8,
            VIRTIO_CAP64_BYTES + more,
            nowhere(layout),
        );
    }
    if let Some(vendor) = shape.vendor_cap {
        let at = list.add(cap_id::VENDOR, VENDOR_DATA_BYTES);
        let image = &mut *list.image;
        image.put(at + VirtioCapField::CapLen.offset(), 1, VENDOR_DATA_BYTES);
        image.put(
            at + VirtioCapField::CfgType.offset(),
            1,
            VirtioCap::Vendor as u64,
        );
        image.put(at + VENDOR_DATA_ID, 2, vendor.into());
        caps.vendor = Some(at);
        image.writable(at + VENDOR_DATA_ID + 4, 4, u64::MAX);
    }
    let nothing = Region {
        bar: 0,
        offset: 0,
        length: 0,
    };
    let window = list.virtio(VirtioCap::PciCfg as u8, extended, nothing);
    for (field, bits) in [
        (VirtioCapField::CapBar, u64::MAX),
        (VirtioCapField::CapOffset, u64::MAX),
        (VirtioCapField::CapLength, u64::MAX),
    ] {
        list.image
            .writable(window + field.offset(), field.width(), bits);
    }
    caps.window = Some(window);
}

fn power(list: &mut Builder<'_>) -> u64 {
    /// Version 3 of the capability.
    const VERSION: u64 = 3;
    /// The state is kept from D3hot to D0.
    const NO_SOFT_RESET: u64 = 1 << 3;
    let at = list.add(cap_id::POWER_MANAGEMENT, PowerCap::SIZE);
    list.image
        .put(at + PowerCap::Capabilities.offset(), 2, VERSION);
    list.image
        .put(at + PowerCap::Control.offset(), 2, NO_SOFT_RESET);
    list.image
        .writable(at + PowerCap::Control.offset(), 2, 0b11);
    at
}

fn express(list: &mut Builder<'_>) -> u64 {
    const VERSION_1_ENDPOINT: u64 = 1;
    const FLR_AND_ROLE_BASED_ERRORS: u64 = 1 << 28 | 1 << 15;
    const LANE_X1_2_5_GT: u64 = 0x11;
    let at = list.add(cap_id::EXPRESS, ExpressCap::SIZE);
    list.image.put(
        at + ExpressCap::Capabilities.offset(),
        2,
        VERSION_1_ENDPOINT,
    );
    list.image.put(
        at + ExpressCap::DeviceCapabilities.offset(),
        4,
        FLR_AND_ROLE_BASED_ERRORS,
    );
    list.image
        .writable(at + ExpressCap::DeviceControl.offset(), 2, 0x7fff);
    list.image.put(
        at + ExpressCap::LinkCapabilities.offset(),
        4,
        LANE_X1_2_5_GT,
    );
    list.image
        .put(at + ExpressCap::LinkStatus.offset(), 2, LANE_X1_2_5_GT);
    at
}

fn msi(list: &mut Builder<'_>, shape: &Shape) -> Msi {
    let (address_64, masking) = (shape.msi_64, shape.msi_masking);
    let msi = Msi {
        at: list.add(cap_id::MSI, MsiCap::bytes(address_64, masking)),
        address_64,
        masking,
    };
    let capable = shape.msi.trailing_zeros() as u16;
    let mut control = capable << msi_control::CAPABLE_SHIFT;
    if address_64 {
        control |= msi_control::ADDRESS_64;
    }
    if masking {
        control |= msi_control::MASKABLE;
    }
    let each = super::lanes::ones(8) >> (64 - u32::from(shape.msi));
    list.image
        .put(msi.at + MsiCap::Control.offset(), 2, control.into());
    for (register, bits) in [
        (
            MsiCap::Control,
            u64::from(msi_control::ENABLE | msi_control::ENABLED_MASK),
        ),
        (MsiCap::AddressLo, !0b11),
        (MsiCap::AddressHi, u64::MAX),
        (MsiCap::Data, u64::MAX),
        (MsiCap::Mask, each),
    ] {
        if let Some(at) = msi.place(register) {
            list.image.writable(at, register.width(), bits);
        }
    }
    msi
}

fn msix(list: &mut Builder<'_>, table: u16) -> u64 {
    use crate::spec::msix_control::{ENABLE, FUNCTION_MASK};
    const BAR: u64 = 2;
    debug_assert!(u64::from(table) * MSIX_ENTRY_BYTES <= BarLayout::PBA);
    let at = list.add(cap_id::MSIX, MsixCap::SIZE);
    list.image
        .put(at + MsixCap::Control.offset(), 2, u64::from(table - 1));
    list.image.writable(
        at + MsixCap::Control.offset(),
        2,
        u64::from(ENABLE | FUNCTION_MASK),
    );
    list.image
        .put(at + MsixCap::Table.offset(), 4, BarLayout::TABLE | BAR);
    list.image
        .put(at + MsixCap::Pba.offset(), 4, BarLayout::PBA | BAR);
    at
}

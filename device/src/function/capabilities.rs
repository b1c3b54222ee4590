//! The capability list, built once from the shape.

use super::bars::BarLayout;
use super::pci::Image;
use crate::shape::{Kind, Shape};
use crate::spec::{
    ExpressCap, MSIX_ENTRY_BYTES, MsiCap, MsixCap, PciHeader, PowerCap, VirtioCap, VirtioCapField,
    cap_id, msi_control, pci_status,
};

/// Where each capability lies in configuration space; `None`: the function has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// Power management.
    pub power: u64,
    /// PCI Express.
    pub express: u64,
    /// MSI.
    pub msi: Option<u64>,
    /// MSI-X.
    pub msix: Option<u64>,
    /// First byte of the virtio capabilities, and one past the last.
    pub virtio: Option<(u64, u64)>,
    /// The virtio configuration access window.
    pub window: Option<u64>,
}

/// The first byte after the header.
const FIRST: u64 = PciHeader::SIZE;

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

    fn virtio(&mut self, kind: VirtioCap, bytes: u64, offset: u64, length: u64) -> u64 {
        let at = self.add(cap_id::VENDOR, bytes);
        self.image
            .put(at + VirtioCapField::CapLen.offset(), 1, bytes);
        self.image
            .put(at + VirtioCapField::CfgType.offset(), 1, kind as u64);
        self.image
            .put(at + VirtioCapField::CapOffset.offset(), 4, offset);
        self.image
            .put(at + VirtioCapField::CapLength.offset(), 4, length);
        at
    }
}

impl Capabilities {
    /// Writes the list into `image`.
    pub fn build(shape: &Shape, image: &mut Image) -> Self {
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
            caps.msi = Some(msi(&mut list, shape.msi));
        }
        let table = shape.table_size();
        if table != 0 {
            caps.msix = Some(msix(&mut list, table));
        }
        if shape.kind == Kind::Block {
            let first = list.next;
            let plain = VirtioCapField::CapExtra.offset();
            list.virtio(
                VirtioCap::Common,
                plain,
                BarLayout::COMMON,
                BarLayout::COMMON_BYTES,
            );
            list.virtio(VirtioCap::Isr, plain, BarLayout::ISR, 1);
            list.virtio(
                VirtioCap::Device,
                plain,
                BarLayout::DEVICE,
                BarLayout::DEVICE_BYTES,
            );
            let notify = list.virtio(
                VirtioCap::Notify,
                VirtioCapField::SIZE,
                BarLayout::NOTIFY,
                BarLayout::NOTIFY_BYTES,
            );
            list.image
                .put(notify + plain, 4, u64::from(BarLayout::NOTIFY_MULTIPLIER));
            let window = list.virtio(VirtioCap::PciCfg, VirtioCapField::SIZE, 0, 0);
            list.image
                .writable(window + VirtioCapField::CapBar.offset(), 1, u64::MAX);
            list.image
                .writable(window + VirtioCapField::CapOffset.offset(), 4, u64::MAX);
            list.image
                .writable(window + VirtioCapField::CapLength.offset(), 4, u64::MAX);
            caps.window = Some(window);
            caps.virtio = Some((first, list.next));
        }
        caps
    }
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

fn msi(list: &mut Builder<'_>, messages: u16) -> u64 {
    let at = list.add(cap_id::MSI, MsiCap::SIZE);
    let capable = messages.trailing_zeros() as u16;
    let control =
        capable << msi_control::CAPABLE_SHIFT | msi_control::ADDRESS_64 | msi_control::MASKABLE;
    list.image
        .put(at + MsiCap::Control.offset(), 2, u64::from(control));
    list.image.writable(
        at + MsiCap::Control.offset(),
        2,
        u64::from(msi_control::ENABLE | msi_control::ENABLED_MASK),
    );
    list.image
        .writable(at + MsiCap::AddressLo.offset(), 4, !0b11);
    list.image
        .writable(at + MsiCap::AddressHi.offset(), 4, u64::MAX);
    list.image.writable(at + MsiCap::Data.offset(), 2, u64::MAX);
    list.image.writable(
        at + MsiCap::Mask.offset(),
        4,
        super::lanes::ones(8) >> (64 - u32::from(messages)),
    );
    at
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

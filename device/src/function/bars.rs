//! Where everything lies in the base address registers.

use crate::shape::{Oddity, Shape};
use crate::spec::{CommonCfg, Field, LegacyCfg, MSIX_ENTRY_BYTES, VirtioCap, msix_control};
use crate::trace::Space;

/// The regions of BAR 0 of a virtio function as they usually are, and of BAR 2.
#[derive(Clone, Copy, Debug)]
pub struct BarLayout;

impl BarLayout {
    /// BAR 0: common configuration.
    pub const COMMON: u64 = 0x0000;
    /// BAR 0: the ISR status byte.
    pub const ISR: u64 = 0x1000;
    /// BAR 0: device-specific configuration.
    pub const DEVICE: u64 = 0x2000;
    /// BAR 0: notifications.
    pub const NOTIFY: u64 = 0x3000;
    /// `notify_off_multiplier`: bytes between the notification registers of two queues (4.1.4.4).
    pub const NOTIFY_MULTIPLIER: u32 = 4;
    /// BAR 2: the MSI-X table.
    pub const TABLE: u64 = 0;
    /// BAR 2: the pending bit array.
    pub const PBA: u64 = msix_control::MAX_TABLE as u64 * MSIX_ENTRY_BYTES;
    /// Length of the common configuration window.
    pub const COMMON_BYTES: u64 = CommonCfg::SIZE;
}

/// Bytes of BAR 0 of a port-card.
const PORTS_BYTES: u64 = 0x4000;
/// Bytes of the BAR that holds table and pending bits.
const TABLE_BYTES: u64 = 0x10000;
/// Bytes of the notification structure at least.
const NOTIFY_BYTES: u64 = 0x400;
/// Bytes between two structures, and between two that are huge.
const STRIDE: u64 = 0x1000;
const HUGE_STRIDE: u64 = 0x10_0000;
/// The BAR that holds the second instances.
const TWIN_BAR: u8 = 1;
/// The BAR that holds table and pending bits.
const TABLE_BAR: u8 = 2;
/// The BAR of I/O ports for the legacy interface (4.1.4.10), and its bytes: no more are allowed
/// (PCI 3.0, 6.2.5.1).
const PORT_BAR: u8 = 0;
const PORT_BYTES: u64 = 0x100;

/// A virtio structure in a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Which BAR.
    pub bar: u8,
    /// Where it begins.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// Where the structures of one function are.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Bytes of each BAR; 0: not there.
    sizes: [u64; 6],
    /// The BAR whose upper half is the next.
    wide: Option<u8>,
    /// The BAR of the structures, and that of their second instances.
    bars: [Option<u8>; 2],
    stride: u64,
    huge: bool,
    device_bytes: u64,
    notify_mult: u32,
    /// `queue_notify_off` by queue; `None`: each has its index.
    notify_off: Option<Vec<u16>>,
    queues: u16,
    notify_bytes: u64,
    legacy: bool,
}

impl Layout {
    /// The places of a function of this shape.
    pub fn new(shape: &Shape) -> Self {
        let huge = shape.caps.has(Oddity::Huge);
        let mut layout = Self {
            sizes: [0; 6],
            wide: None,
            bars: [None, None],
            stride: if huge { HUGE_STRIDE } else { STRIDE },
            huge,
            device_bytes: shape.devcfg_bytes(),
            notify_mult: shape.notify_mult,
            notify_off: None,
            queues: shape.queues,
            notify_bytes: 0,
            legacy: shape.has_legacy(),
        };
        if shape.table_size() != 0 {
            layout.sizes[usize::from(TABLE_BAR)] = TABLE_BYTES;
        }
        if !shape.kind.is_virtio() {
            layout.sizes[0] = PORTS_BYTES;
            return layout;
        }
        let queue_off = |q| shape.notify_off.of(q, shape.queues);
        layout.notify_off = (0..shape.queues)
            .any(|q| queue_off(q) != q)
            .then(|| (0..shape.queues).map(queue_off).collect());
        let last = (0..shape.queues).map(queue_off).max().unwrap_or(0);
        // A notification takes four bytes with NOTIFICATION_DATA (4.1.4.4.1).
        let notify_bytes = u64::from(last) * u64::from(shape.notify_mult) + 4;
        layout.notify_bytes = notify_bytes.max(NOTIFY_BYTES);
        if layout.legacy {
            layout.sizes[usize::from(PORT_BAR)] = PORT_BYTES;
        }
        if !shape.has_structures() {
            return layout;
        }
        let wide = shape.caps.has(Oddity::Bar4Wide);
        let bar = if wide || layout.legacy { 4 } else { 0 };
        let size = (3 * layout.stride + layout.notify_bytes.max(layout.stride)).next_power_of_two();
        layout.sizes[usize::from(bar)] = size;
        layout.wide = wide.then_some(bar);
        layout.bars[0] = Some(bar);
        if shape.caps.has(Oddity::Dup) {
            layout.sizes[usize::from(TWIN_BAR)] = size;
            layout.bars[1] = Some(TWIN_BAR);
        }
        layout
    }

    /// Bytes of BAR `n`; 0: it is not there.
    pub fn bar_size(&self, n: usize) -> u64 {
        self.sizes.get(n).copied().unwrap_or(0)
    }

    /// Whether BAR `n` is 64 bits wide.
    pub fn is_wide(&self, n: usize) -> bool {
        self.wide.is_some_and(|wide| usize::from(wide) == n)
    }

    /// Whether BAR `n` is one of I/O ports.
    pub fn is_ports(&self, n: usize) -> bool {
        self.legacy && n == usize::from(PORT_BAR)
    }

    /// Whether an access of this space is one of the legacy interface.
    pub fn holds_legacy(&self, space: Space) -> bool {
        self.legacy && Space::bar(PORT_BAR) == Some(space)
    }

    /// The register at an offset of the I/O ports: where device configuration begins depends on
    /// whether MSI-X is enabled.
    pub fn legacy_field(&self, off: u64, msix: bool) -> Option<Field> {
        match off.checked_sub(LegacyCfg::header_bytes(msix)) {
            None => LegacyCfg::at(off).map(Field::Legacy),
            Some(at) => {
                (at < self.device_bytes && off < PORT_BYTES).then_some(Field::Device(at as u16))
            }
        }
    }

    /// Where instance 0 or 1 of a structure is.
    pub fn region(&self, kind: VirtioCap, instance: usize) -> Option<Region> {
        let bar = (*self.bars.get(instance)?)?;
        let (index, length) = match kind {
            VirtioCap::Common => (0, BarLayout::COMMON_BYTES),
            VirtioCap::Isr => (1, 1),
            VirtioCap::Device => (2, self.device_bytes),
            VirtioCap::Notify => (3, self.notify_bytes),
            VirtioCap::PciCfg | VirtioCap::SharedMemory | VirtioCap::Vendor => return None,
        };
        Some(Region {
            bar,
            offset: index * self.stride,
            length: if self.huge && length != 0 {
                length.max(self.stride)
            } else {
                length
            },
        })
    }

    /// `queue_notify_off` of a queue.
    pub fn notify_off(&self, q: u16) -> u16 {
        match &self.notify_off {
            None => q,
            Some(offs) => offs.get(usize::from(q)).copied().unwrap_or(0),
        }
    }

    /// Whether an access of this space may be one of a virtio structure.
    pub fn holds(&self, space: Space) -> bool {
        self.bars
            .iter()
            .flatten()
            .any(|bar| Space::bar(*bar) == Some(space))
    }

    /// The register at an offset of a BAR that holds structures.
    pub fn field(&self, off: u64) -> Option<Field> {
        let at = off % self.stride;
        match off / self.stride {
            0 => CommonCfg::at(at).map(Field::Common),
            1 => (at == 0).then_some(Field::Isr),
            2 => (at < self.device_bytes).then_some(Field::Device(at as u16)),
            _ => (off < 3 * self.stride + self.notify_bytes).then_some(Field::Notify),
        }
    }

    /// Where an offset lies in its structure.
    pub fn within(&self, off: u64) -> u64 {
        off % self.stride
    }

    /// The queue that a write to an offset of the notification structure is about: the one whose
    /// place that is. Of several at one place the value tells, which names queue `named`.
    pub fn notified(&self, off: u64, named: u16) -> Option<u16> {
        let at = off.checked_sub(3 * self.stride)?;
        let mult = u64::from(self.notify_mult);
        let is_here = |q: &u16| u64::from(self.notify_off(*q)) * mult == at;
        if self.notify_off.is_none() && mult != 0 {
            let q = u16::try_from(at / mult).ok()?;
            return (q < self.queues && at.is_multiple_of(mult)).then_some(q);
        }
        let mut here = (0..self.queues).filter(is_here);
        let first = here.next()?;
        match here.next() {
            None => Some(first),
            Some(_) => Some(named).filter(|q| *q < self.queues && is_here(q)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Layout {
        let shape: Shape = toml::from_str(&format!("kind = \"block\"\n{text}")).unwrap();
        assert_eq!(shape.check(), Ok(()), "{text}");
        Layout::new(&shape)
    }

    #[test]
    fn every_queue_has_its_place_by_offset_and_multiplier() {
        let layout = layout("queues = 4\nnotify-mult = 4096\nnotify-off = \"reverse\"");
        for q in 0..4 {
            let at = BarLayout::NOTIFY + u64::from(layout.notify_off(q)) * 4096;
            assert_eq!(layout.field(at), Some(Field::Notify));
            assert_eq!(
                layout.notified(at, 77),
                Some(q),
                "the place tells, not the value"
            );
        }
        assert_eq!(layout.notified(BarLayout::NOTIFY + 4, 0), None);
        assert_eq!(layout.field(BarLayout::NOTIFY + 3 * 4096 + 4), None);
    }

    #[test]
    fn queues_at_one_place_are_told_apart_by_the_value() {
        let one = layout("queues = 3\nnotify-mult = 0");
        assert_eq!(one.notified(BarLayout::NOTIFY, 2), Some(2));
        assert_eq!(one.notified(BarLayout::NOTIFY, 3), None);
        let two = layout("queues = 3\nnotify-off = [5, 1, 5]");
        assert_eq!(two.notified(BarLayout::NOTIFY + 20, 2), Some(2));
        assert_eq!(two.notified(BarLayout::NOTIFY + 20, 1), None);
        assert_eq!(two.notified(BarLayout::NOTIFY + 4, 9), Some(1));
    }

    #[test]
    fn huge_structures_lie_apart_and_a_wide_bar_takes_two() {
        let layout = layout("caps = [\"huge\", \"bar4-64\"]");
        let device = layout.region(VirtioCap::Device, 0).unwrap();
        assert_eq!(
            (device.bar, device.offset, device.length),
            (4, 0x20_0000, 0x10_0000)
        );
        assert_eq!(layout.field(0x20_0000), Some(Field::Device(0)));
        assert_eq!(
            layout.field(0x40),
            None,
            "there is nothing behind the registers"
        );
        assert!(layout.is_wide(4) && layout.bar_size(5) == 0 && layout.bar_size(0) == 0);
        assert!(layout.holds(Space::Bar4) && !layout.holds(Space::Bar0));
    }

    #[test]
    fn the_second_instances_are_in_another_bar() {
        let layout = layout("caps = \"dup\"");
        let of = |instance| layout.region(VirtioCap::Common, instance).map(|r| r.bar);
        assert_eq!((of(0), of(1)), (Some(0), Some(1)));
        assert_eq!(layout.bar_size(0), layout.bar_size(1));
    }
}

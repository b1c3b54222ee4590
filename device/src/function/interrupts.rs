//! MSI-X, MSI and the line: what is sent, what pends, what stays silent.

use super::bars::BarLayout;
use super::pci::Pci;
use crate::spec::{Field, MSIX_ENTRY_BYTES, NO_VECTOR, msi_control};
use crate::trace::{Cause, Effect, Effects, IrqKind, Message};

/// The state of all three kinds of interrupt.
#[derive(Clone, Debug)]
pub struct Interrupts {
    /// MSI-X entries: wired by the VMM, and the message that waits.
    entries: Vec<Entry>,
    /// Messages of the MSI capability, likewise.
    msi: [Entry; msi_control::MAX_MESSAGES as usize],
    line: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    wired: bool,
    pending: Option<Cause>,
}

impl Interrupts {
    pub fn new(table: u16) -> Self {
        Self {
            entries: vec![Entry::default(); usize::from(table)],
            msi: [Entry::default(); msi_control::MAX_MESSAGES as usize],
            line: false,
        }
    }

    /// A reset of the function or of the device: nothing waits any more. What the VMM wired is the
    /// VMM's business.
    pub fn reset(&mut self) {
        for entry in self.entries.iter_mut().chain(&mut self.msi) {
            entry.pending = None;
        }
    }

    /// Nothing waits any more that has this cause.
    pub fn forget(&mut self, cause: Cause) {
        for entry in self.entries.iter_mut().chain(&mut self.msi) {
            entry.pending = entry.pending.filter(|waits| *waits != cause);
        }
    }

    pub fn line_is_up(&self) -> bool {
        self.line
    }

    /// The VMM can, or can no longer, deliver these messages.
    pub fn wire(&mut self, kind: IrqKind, start: u16, count: u16, wired: bool) {
        let entries = match kind {
            IrqKind::Msix => self.entries.as_mut_slice(),
            IrqKind::Msi => &mut self.msi,
            IrqKind::Intx => return,
        };
        let some = entries.iter_mut().skip(start.into());
        some.take(count.into()).for_each(|e| e.wired = wired);
    }

    /// The pending bits of the MSI capability.
    pub fn msi_pending(&self) -> u32 {
        let waits = self
            .msi
            .iter()
            .enumerate()
            .filter(|(_, m)| m.pending.is_some());
        waits.fold(0, |bits, (number, _)| bits | 1 << number)
    }

    /// Raises a virtio event that `vector` is mapped to; the caller has set the ISR status.
    pub fn raise_vector(&mut self, vector: u16, cause: Cause, pci: &Pci, effects: &mut Effects) {
        if vector == NO_VECTOR {
            effects.push(Effect::Unmapped { cause });
        } else {
            self.raise_entry(vector, cause, pci, effects);
        }
    }

    /// Sends the message of table entry `entry`, or lets it pend (PCI 3.0, 6.8.2.9).
    pub fn raise_entry(&mut self, entry: u16, cause: Cause, pci: &Pci, effects: &mut Effects) {
        let Some(state) = self.entries.get_mut(usize::from(entry)) else {
            return;
        };
        let message = Message {
            kind: IrqKind::Msix,
            entry,
            cause,
        };
        if state.wired && pci.may_send_msix() {
            effects.push(Effect::Message(message));
        } else {
            state.pending = Some(cause);
            effects.push(Effect::Pended(message));
        }
    }

    /// Sends message `number` of the MSI capability, or lets it pend.
    pub fn raise_msi(&mut self, number: u16, cause: Cause, pci: &Pci, effects: &mut Effects) {
        let number = number & (pci.msi_allocated().max(1) - 1);
        let message = Message {
            kind: IrqKind::Msi,
            entry: number,
            cause,
        };
        let Some(state) = self.msi.get_mut(usize::from(number)) else {
            return;
        };
        if state.wired && pci.may_send_msi(number) {
            effects.push(Effect::Message(message));
        } else {
            state.pending = Some(cause);
            effects.push(Effect::Pended(message));
        }
    }

    /// Sends what waited and may be sent now.
    pub fn flush(&mut self, pci: &Pci, effects: &mut Effects) {
        if pci.may_send_msix() {
            for (entry, state) in self.entries.iter_mut().enumerate().filter(|(_, s)| s.wired) {
                if let Some(cause) = state.pending.take() {
                    effects.push(Effect::Message(Message {
                        kind: IrqKind::Msix,
                        entry: entry as u16,
                        cause,
                    }));
                }
            }
        }
        for (number, state) in self.msi.iter_mut().enumerate().filter(|(_, s)| s.wired) {
            if pci.may_send_msi(number as u16)
                && let Some(cause) = state.pending.take()
            {
                effects.push(Effect::Message(Message {
                    kind: IrqKind::Msi,
                    entry: number as u16,
                    cause,
                }));
            }
        }
    }

    /// Brings the line to `wanted`, as far as the command register lets it.
    pub fn set_line(&mut self, wanted: bool, pci: &mut Pci, effects: &mut Effects) {
        pci.set_interrupt_status(wanted);
        let level = wanted && pci.may_assert_line();
        if level != self.line {
            self.line = level;
            effects.push(Effect::Pin(level));
        }
    }

    /// Reads the pending bit array.
    pub fn pba_read(&self, off: u64, width: u8) -> u64 {
        let bit = |byte: u64| -> u64 {
            let Some(byte) = byte.checked_sub(BarLayout::PBA) else {
                return 0;
            };
            (0..8).fold(0, |acc, bit| {
                let entry = byte.saturating_mul(8).saturating_add(bit);
                let set = usize::try_from(entry)
                    .ok()
                    .and_then(|e| self.entries.get(e))
                    .is_some_and(|e| e.pending.is_some());
                acc | (u64::from(set) << bit)
            })
        };
        (0..u64::from(width.min(8))).fold(0, |acc, i| acc | (bit(off.saturating_add(i)) << (8 * i)))
    }

    /// The name of a byte of BAR 2.
    pub fn field(&self, off: u64) -> Option<Field> {
        let table = self.entries.len() as u64 * MSIX_ENTRY_BYTES;
        let pba = BarLayout::PBA..BarLayout::PBA + (self.entries.len() as u64).div_ceil(64) * 8;
        if off < table {
            Some(Field::MsixEntry((off / MSIX_ENTRY_BYTES) as u16))
        } else {
            pba.contains(&off).then_some(Field::Pba)
        }
    }
}

//! Accesses of any width and alignment, cut into the registers that they touch.

use crate::spec::{BlkConfig, CommonCfg, LegacyCfg, PciHeader, PortCard, VirtioCapField};

/// A register block that can be cut.
pub trait Block: Copy + 'static {
    /// The register at a byte of the block.
    fn at(offset: u64) -> Option<Self>;
    /// Its offset.
    fn offset(self) -> u64;
    /// Its width in bytes.
    fn width(self) -> u8;
}

macro_rules! blocks {
    ($($block:ident),*) => {$(
        impl Block for $block {
            fn at(offset: u64) -> Option<Self> { Self::at(offset) }
            fn offset(self) -> u64 { self.offset() }
            fn width(self) -> u8 { self.width() }
        }
    )*};
}
blocks!(
    CommonCfg,
    LegacyCfg,
    BlkConfig,
    PciHeader,
    PortCard,
    VirtioCapField
);

/// All ones in `width` bytes: what a read gets when nobody answers.
pub const fn ones(width: u8) -> u64 {
    if width >= 8 {
        u64::MAX
    } else {
        (1 << (8 * width)) - 1
    }
}

/// Reads `width` bytes at `off`; bytes of no register read 0.
pub fn read<B: Block>(off: u64, width: u8, mut register: impl FnMut(B) -> u64) -> u64 {
    let mut value = 0;
    let mut byte = 0;
    while byte < width {
        match B::at(off.saturating_add(u64::from(byte))) {
            Some(r) => {
                let skip = (off + u64::from(byte) - r.offset()) as u8;
                let take = (r.width() - skip).min(width - byte);
                value |= ((register(r) >> (8 * skip)) & ones(take)) << (8 * byte);
                byte += take;
            }
            None => byte += 1,
        }
    }
    value
}

/// A write of `width` bytes at `off`, cut: each register touched, with the bits of it that are written
/// and their mask.
pub fn parts<B: Block>(off: u64, width: u8, val: u64) -> impl Iterator<Item = (B, u64, u64)> {
    let mut byte = 0;
    std::iter::from_fn(move || {
        while byte < width {
            let at = off.saturating_add(u64::from(byte));
            let Some(r) = B::at(at) else {
                byte += 1;
                continue;
            };
            let skip = (at - r.offset()) as u8;
            let take = (r.width() - skip).min(width - byte);
            let bits = ((val >> (8 * byte)) & ones(take)) << (8 * skip);
            byte += take;
            return Some((r, bits, ones(take) << (8 * skip)));
        }
        None
    })
}

/// `old` with the bits under `mask` taken from `new`.
pub const fn merge(old: u64, new: u64, mask: u64) -> u64 {
    (old & !mask) | (new & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_eight_bytes_reaches_both_halves_of_an_address() {
        let seen: Vec<_> = parts(0x20, 8, 0x1122_3344_5566_7788).collect();
        assert_eq!(
            seen,
            [
                (CommonCfg::QueueDescLo, 0x5566_7788, 0xffff_ffff),
                (CommonCfg::QueueDescHi, 0x1122_3344, 0xffff_ffff)
            ]
        );
    }

    #[test]
    fn a_byte_in_the_middle_of_a_register_changes_only_that_byte() {
        let seen: Vec<_> = parts(0x1b, 1, 0xab).collect();
        assert_eq!(seen, [(CommonCfg::QueueMsixVector, 0xab00, 0xff00)]);
    }

    #[test]
    fn a_wide_read_joins_neighbours() {
        let value = read::<CommonCfg>(0x14, 4, |r| match r {
            CommonCfg::DeviceStatus => 0x0f,
            CommonCfg::ConfigGeneration => 0x02,
            CommonCfg::QueueSelect => 0x1234,
            _ => unreachable!(),
        });
        assert_eq!(value, 0x1234_020f);
    }
}

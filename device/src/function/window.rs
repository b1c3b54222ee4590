//! The virtio configuration access window: BAR accesses through configuration space (4.1.4.9).

use crate::trace::Space;

/// The BAR access that the window stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which BAR.
    pub space: Space,
    /// Offset in it.
    pub off: u64,
    /// Width in bytes.
    pub width: u8,
}

impl Target {
    /// The access that `bar`, `offset` and `length` of the capability describe, if they describe
    /// one: a length of 1, 2 or 4, an offset that is a multiple of it, inside the BAR.
    pub fn new(bar: u64, offset: u64, length: u64, bars: &[u64; 6]) -> Option<Self> {
        let size = *bars.get(usize::try_from(bar).ok()?)?;
        let legal = matches!(length, 1 | 2 | 4)
            && offset.is_multiple_of(length)
            && offset.checked_add(length)? <= size;
        legal.then_some(Self {
            space: Space::bar(bar as u8)?,
            off: offset,
            width: length as u8,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aligned_accesses_inside_a_bar_are_made() {
        let bars = [0x4000, 0, 0, 0, 0, 0];
        assert_eq!(
            Target::new(0, 0x14, 1, &bars),
            Some(Target {
                space: Space::Bar0,
                off: 0x14,
                width: 1
            })
        );
        for (bar, offset, length) in [
            (0, 0x15, 2),
            (0, 0, 3),
            (0, 0, 8),
            (0, 0x4000, 1),
            (1, 0, 1),
            (6, 0, 1),
            (255, 0, 4),
        ] {
            assert_eq!(
                Target::new(bar, offset, length, &bars),
                None,
                "{bar} {offset:#x} {length}"
            );
        }
    }
}

//! The interrupt descriptor table as an arbiter sees it: which vectors are free.
//!
//! A vector's high half is its IRQL. Blocks for MSI are aligned to their size; single messages are
//! spread over the device IRQLs, so that a vector never looks like a message number.

/// Device IRQLs.
const LOWEST_IRQL: u8 = 4;
const HIGHEST_IRQL: u8 = 0xb;
/// Single vectors begin at this level and place, blocks at the lowest.
const SINGLE_IRQL: u8 = 6;
const SINGLE_PLACE: u8 = 3;

/// Inputs of the I/O APIC.
const INPUTS: usize = 24;

/// Which vectors are taken.
#[derive(Clone, Debug)]
pub struct Vectors {
    taken: [bool; 256],
    /// For each input its vector and how many devices use it.
    lines: [(u8, u8); INPUTS],
}

impl Default for Vectors {
    fn default() -> Self {
        Self {
            taken: [false; 256],
            lines: [(0, 0); INPUTS],
        }
    }
}

/// IRQL of a vector.
pub fn irql(vector: u8) -> u8 {
    vector >> 4
}

impl Vectors {
    /// `count` consecutive vectors, the first a multiple of `count`; a power of two up to 32.
    pub fn block(&mut self, count: u8) -> Option<u8> {
        if count == 1 {
            return self.single();
        }
        let start = (LOWEST_IRQL << 4..=(HIGHEST_IRQL << 4) + 15)
            .step_by(usize::from(count))
            .find(|&first| (first..first + count).all(|v| !self.taken[usize::from(v)]))?;
        (start..start + count).for_each(|v| self.taken[usize::from(v)] = true);
        Some(start)
    }

    /// One vector.
    pub fn single(&mut self) -> Option<u8> {
        let vector = (0..16)
            .map(|n| (SINGLE_PLACE + n) % 16)
            .flat_map(|place| {
                (SINGLE_IRQL..=HIGHEST_IRQL)
                    .chain(LOWEST_IRQL..SINGLE_IRQL)
                    .map(move |irql| irql << 4 | place)
            })
            .find(|&vector| !self.taken[usize::from(vector)])?;
        self.taken[usize::from(vector)] = true;
        Some(vector)
    }

    /// Gives a vector back.
    pub fn release(&mut self, vector: u8) {
        self.taken[usize::from(vector)] = false;
    }

    /// The vector of an input of the I/O APIC: the same for all that share it.
    pub fn line(&mut self, input: u8) -> Option<u8> {
        if self.lines[usize::from(input)].1 == 0 {
            self.lines[usize::from(input)].0 = self.single()?;
        }
        let line = &mut self.lines[usize::from(input)];
        line.1 += 1;
        Some(line.0)
    }

    /// One device less on an input; its vector is free when it was the last.
    pub fn release_line(&mut self, input: u8) {
        let (vector, users) = self.lines[usize::from(input)];
        self.lines[usize::from(input)].1 = users.saturating_sub(1);
        if users == 1 {
            self.release(vector);
        }
    }

    /// How many single vectors are left.
    pub fn free(&self) -> usize {
        (LOWEST_IRQL << 4..=(HIGHEST_IRQL << 4) + 15)
            .filter(|&vector| !self.taken[usize::from(vector)])
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_aligned_and_a_single_vector_lies_elsewhere() {
        let mut vectors = Vectors::default();
        assert_eq!(vectors.block(8), Some(0x40));
        assert_eq!(vectors.block(1), Some(0x63));
        assert_eq!(vectors.single(), Some(0x73));
        assert_eq!(vectors.block(4), Some(0x48));
    }

    #[test]
    fn devices_on_one_line_share_its_vector() {
        let mut vectors = Vectors::default();
        let first = vectors.line(20);
        assert_eq!(vectors.line(20), first);
        assert_ne!(vectors.line(21), first);
        vectors.release_line(20);
        assert_eq!(vectors.line(20), first);
        vectors.release_line(20);
        vectors.release_line(20);
        assert_eq!(vectors.single(), first);
    }

    #[test]
    fn every_vector_is_given_once_and_then_there_are_none() {
        let mut vectors = Vectors::default();
        let mut seen = [false; 256];
        while let Some(vector) = vectors.single() {
            assert!(!core::mem::replace(&mut seen[usize::from(vector)], true));
            assert!((LOWEST_IRQL..=HIGHEST_IRQL).contains(&irql(vector)));
        }
        assert_eq!(vectors.free(), 0);
        assert_eq!(vectors.block(2), None);
        vectors.release(0x63);
        assert_eq!(vectors.single(), Some(0x63));
    }
}

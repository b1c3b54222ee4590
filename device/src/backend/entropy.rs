//! The entropy device (5.4).

use super::chain::{Chain, NoStatus};
use super::device::{Device, Look, Memory, Offer};
use crate::shape::Shape;

/// The most bytes that one buffer is given.
const MOST: u64 = 64 * 1024;

/// A device that fills buffers with bytes that nobody can guess who does not know the seed.
pub struct Entropy {
    offer: Offer,
    random: fastrand::Rng,
    wanted: u64,
    piece: Box<[u8]>,
}

impl Entropy {
    /// A device of this shape; the same seed gives the same bytes.
    pub fn new(shape: &Shape, seed: u64) -> Self {
        Self {
            offer: Offer::new(shape, 0),
            random: fastrand::Rng::with_seed(seed),
            wanted: 0,
            piece: vec![0; 4096].into_boxed_slice(),
        }
    }
}

impl Device for Entropy {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn offer_mut(&mut self) -> &mut Offer {
        &mut self.offer
    }

    fn look(&mut self, _memory: &Memory, _queue: u16, chain: &Chain) -> Result<Look, NoStatus> {
        self.wanted = chain.writable_bytes().min(MOST);
        Ok(Look::Take)
    }

    fn words(&self, _queue: u16) -> String {
        format!("random {}", self.wanted)
    }

    fn serve(&mut self, memory: &Memory, _queue: u16, chain: &Chain) -> Result<u32, NoStatus> {
        // A buffer for the device to read is none that a driver may place here (5.4.6.1).
        let mut buffers = chain.writer();
        let mut written = 0;
        while written < self.wanted {
            let left = usize::try_from(self.wanted - written).unwrap_or(usize::MAX);
            let length = left.min(self.piece.len());
            let piece = &mut self.piece[..length];
            self.random.fill(piece);
            if buffers.write(memory, piece).is_err() {
                break;
            }
            written += length as u64;
        }
        Ok(written as u32)
    }
}

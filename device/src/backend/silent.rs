//! A device that nothing ever comes of.

use super::chain::{Chain, NoStatus};
use super::device::{Device, Look, Memory, Offer};
use crate::shape::Shape;

/// A device that lets every chain wait.
pub struct Silent {
    offer: Offer,
}

impl Silent {
    /// A device of this shape.
    pub fn new(shape: &Shape) -> Self {
        Self {
            offer: Offer::new(shape, 0),
        }
    }
}

impl Device for Silent {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn offer_mut(&mut self) -> &mut Offer {
        &mut self.offer
    }

    fn look(&mut self, _memory: &Memory, _queue: u16, _chain: &Chain) -> Result<Look, NoStatus> {
        Ok(Look::Wait)
    }

    fn words(&self, _queue: u16) -> String {
        "nothing".into()
    }

    fn serve(&mut self, _memory: &Memory, _queue: u16, _chain: &Chain) -> Result<u32, NoStatus> {
        Ok(0)
    }
}

//! The device as a whole.

mod all_ones;
mod decoy_features;

pub(super) use all_ones::VERB as ALL_ONES;
pub(super) use decoy_features::VERB as DECOY_FEATURES;

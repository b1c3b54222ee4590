//! Registers: what they read as, what they take, what they hold after a reset.

mod default;
mod ignore_write;
mod override_;
mod place;
mod shown;

pub(super) use default::VERB as DEFAULT;
pub(super) use ignore_write::VERB as IGNORE_WRITE;
pub(super) use override_::VERB as OVERRIDE;
pub(super) use place::Place;
pub(super) use shown::{How, Shown};

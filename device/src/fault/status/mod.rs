//! `device_status`.

mod needs_reset;
mod override_;
mod refuse;

pub(super) use needs_reset::VERB as NEEDS_RESET;
pub(super) use override_::VERB as OVERRIDE;
pub(super) use refuse::VERB as REFUSE;

//! `device_status`.

mod needs_reset;
mod refuse;

pub(super) use needs_reset::VERB as NEEDS_RESET;
pub(super) use refuse::VERB as REFUSE;

//! The mapping of events to MSI-X table entries.

mod clear;
mod lie;
mod reject;

pub(super) use clear::VERB as CLEAR;
pub(super) use lie::VERB as LIE;
pub(super) use reject::VERB as REJECT;

use super::trigger::Occasion;
use crate::spec::{CommonCfg, Field};
use crate::trace::{Access, Cause};

/// The event whose vector an access is about.
fn event(access: &Access) -> Option<Cause> {
    match access.register() {
        Some(Field::Common(CommonCfg::ConfigMsixVector)) => Some(Cause::Config),
        Some(Field::Common(CommonCfg::QueueMsixVector)) => access.q.map(Cause::Queue),
        _ => None,
    }
}

fn object(occasion: &Occasion<'_>) -> String {
    match occasion {
        Occasion::Access { access, .. } => event(access),
        _ => None,
    }
    .map_or_else(|| "device".to_owned(), |event| event.to_string())
}

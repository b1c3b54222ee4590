//! MSI-X as far as it is the device's: message control, pending bits, and where messages go.

mod ignore_edit;
mod lie;
mod pend_lose;
mod stale_route;
mod table_clear;

pub(super) use ignore_edit::VERB as IGNORE_EDIT;
pub(super) use lie::VERB as LIE;
pub(super) use pend_lose::VERB as PEND_LOSE;
pub(super) use stale_route::VERB as STALE_ROUTE;
pub(super) use table_clear::VERB as TABLE_CLEAR;

//! Where devices meet sockets, memory and threads. Ports decide nothing: they turn wire calls into
//! inputs and effects into wire calls. All locks and file descriptors are here.

mod core;
mod frontend;
mod irqs;
mod journal;
mod memory;
mod serve;
mod vfio_user;

pub use frontend::FrontendError;
pub use journal::Journal;
pub use serve::{Attachment, ServeError, Served, serve};

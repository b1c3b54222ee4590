//! Where devices meet sockets, memory and threads. Ports decide nothing: they turn wire calls into
//! inputs and effects into wire calls. All locks and file descriptors are here.

mod conductor;
mod core;
mod died;
mod disk;
mod frontend;
mod irqs;
mod journal;
mod memory;
mod observed;
mod run_dir;
mod running;
mod serve;
mod session;
mod vfio_user;
pub mod vhost_user;
mod vring;
mod wire;

pub use conductor::Conducted;
pub use died::Died;
pub use disk::DiskError;
pub use frontend::FrontendError;
pub use journal::Journal;
pub use run_dir::RunDir;
pub use serve::{Attachment, ServeError, Served, backend_socket, serve, serve_on};

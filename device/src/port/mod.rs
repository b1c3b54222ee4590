//! Where devices meet sockets, memory and threads. Ports decide nothing: they turn wire calls into
//! inputs and effects into wire calls. All locks and file descriptors are here.

mod journal;

pub use journal::Journal;

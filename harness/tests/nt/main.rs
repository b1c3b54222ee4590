//! The guest of kind `nt`: drivers that are images. The miniports of `guests/miniports` are compiled, read,
//! and run as somebody's own driver would be.

mod bench;
mod breaches;
mod dumps;
mod images;
mod imports;
mod liberties;
mod processors;
mod routines;
#[path = "../said/mod.rs"]
mod said;
mod suite;
mod waits;

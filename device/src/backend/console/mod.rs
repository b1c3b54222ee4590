//! The console (5.3).

mod config;

pub use config::{features, value};

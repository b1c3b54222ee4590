//! The SCSI host (5.6).

mod config;

pub use config::{features, value};

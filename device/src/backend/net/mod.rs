//! The network device (5.1).

mod config;

pub use config::{default_mac, features, value};

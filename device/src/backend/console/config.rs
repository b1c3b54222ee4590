//! What a console offers: its features and its configuration.

use crate::shape::Shape;
use crate::spec::ConsoleConfig;

/// `VIRTIO_CONSOLE_F_SIZE`
pub const SIZE: u32 = 0;
/// `VIRTIO_CONSOLE_F_MULTIPORT`
pub const MULTIPORT: u32 = 1;
/// `VIRTIO_CONSOLE_F_EMERG_WRITE`
pub const EMERG_WRITE: u32 = 2;

/// The bits of the console's own features.
pub fn features(shape: &Shape) -> impl Iterator<Item = u32> {
    let ports = (shape.queues > 2).then_some(MULTIPORT);
    [SIZE, EMERG_WRITE].into_iter().chain(ports)
}

/// The value of a field.
pub fn value(field: ConsoleConfig, shape: &Shape) -> u64 {
    match field {
        ConsoleConfig::Cols => shape.cols.into(),
        ConsoleConfig::Rows => shape.rows.into(),
        ConsoleConfig::MaxNrPorts => shape.console_ports().into(),
        ConsoleConfig::EmergWr => 0,
    }
}

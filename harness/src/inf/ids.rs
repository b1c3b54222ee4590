//! The ids that Windows makes of a PCI function's configuration space.

use misfire_device::function::Function;
use misfire_device::shape::Shape;

/// The hardware ids and after them the compatible ids of a device, the most special first, as
/// "Identifiers for PCI Devices" of the Windows driver documentation lists them.
///
/// ```
/// use misfire_device::shape::{Kind, Shape};
/// let ids = misfire::inf::hardware_ids(&Shape::new(Kind::Block));
/// assert!(ids.contains(&"PCI\\VEN_1AF4&DEV_1042".to_owned()));
/// ```
pub fn hardware_ids(shape: &Shape) -> Vec<String> {
    let mut header = [0; 64];
    Function::new(shape, 0, Vec::new()).config_bytes(0, &mut header);
    let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let (vendor, device) = (word(0x00), word(0x02));
    let (revision, interface, sub, class) =
        (header[0x08], header[0x09], header[0x0a], header[0x0b]);
    let subsystem = format!("SUBSYS_{:04X}{:04X}", word(0x2e), word(0x2c));
    let unit = format!("PCI\\VEN_{vendor:04X}&DEV_{device:04X}");
    let kind = format!("CC_{class:02X}{sub:02X}");
    let kinds = [format!("{kind}{interface:02X}"), kind];
    let mut ids = vec![
        format!("{unit}&{subsystem}&REV_{revision:02X}"),
        format!("{unit}&{subsystem}"),
        format!("{unit}&{}", kinds[0]),
        format!("{unit}&{}", kinds[1]),
        format!("{unit}&REV_{revision:02X}"),
        unit,
    ];
    ids.extend(
        kinds
            .iter()
            .map(|kind| format!("PCI\\VEN_{vendor:04X}&{kind}")),
    );
    ids.push(format!("PCI\\VEN_{vendor:04X}"));
    ids.extend(kinds.iter().map(|kind| format!("PCI\\{kind}")));
    ids
}

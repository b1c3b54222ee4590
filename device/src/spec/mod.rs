//! Facts from the PCI and virtio texts as tables. Nothing here behaves.
//!
//! Section numbers are those of the virtio specification 1.3 unless another document is named.

mod block;
mod common_cfg;
mod config;
mod device_type;
mod feature;
mod field;
mod legacy;
mod mac_address;
mod pci;
mod port_card;
mod queue_role;
mod registers;
mod status;

pub use block::{BlkConfig, SECTOR_BYTES};
pub use common_cfg::{CommonCfg, NO_VECTOR};
pub use config::{ConfigField, ConsoleConfig, NetConfig, ScsiConfig, net_status};
pub use device_type::DeviceType;
pub use feature::{Feature, SUSPEND, feature_bit, feature_name, features_ok};
pub use field::{Field, UnknownField};
pub use legacy::{
    LEGACY_ALIGN, LEGACY_FEATURES, LEGACY_OFFERED, LEGACY_REACH, LEGACY_UNUSED, LegacyCfg,
    legacy_areas,
};
pub use mac_address::{MacAddress, NotAnAddress};
pub use pci::*;
pub use port_card::PortCard;
pub use queue_role::QueueRole;
pub(crate) use registers::registers;
pub use status::Status;

/// What a driver may do with a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum Rights {
    /// Read only.
    ro,
    /// Read and write.
    rw,
    /// Write only.
    wo,
    /// Read, and write 1 to clear.
    w1c,
    /// Reading clears it.
    rc,
}

/// Whether a register exists once, or once for each queue behind a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum Scope {
    /// One for the device.
    device,
    /// One for each queue, behind `queue_select`.
    queue,
}

//! One name for every register that a driver can reach.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{CommonCfg, LegacyCfg, PciHeader, PortCard};

/// A register by name, as traces, triggers and reports spell it.
///
/// ```
/// use misfire_device::spec::{CommonCfg, Field};
/// let field: Field = "cc.queue_msix_vector".parse().unwrap();
/// assert_eq!(field, Field::Common(CommonCfg::QueueMsixVector));
/// assert_eq!(field.to_string(), "cc.queue_msix_vector");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// `cc.<name>`: the common configuration structure.
    Common(CommonCfg),
    /// `leg.<name>`: the legacy header. Device configuration behind it is [`Self::Device`].
    Legacy(LegacyCfg),
    /// `isr`: the ISR status byte.
    Isr,
    /// `ntf`: the notification area.
    Notify,
    /// `dev.<offset>`: device-specific configuration, by byte offset.
    Device(u16),
    /// `pci.<name>`: the configuration header.
    Pci(PciHeader),
    /// `pci.msixctl`: MSI-X message control.
    MsixControl,
    /// `pci.msictl`: MSI message control.
    MsiControl,
    /// `pci.msi`: address, data, mask and pending bits of the MSI capability.
    Msi,
    /// `pci.pm`: power management control and status.
    PowerControl,
    /// `pci.devctl`: PCI Express device control, which has the FLR bit.
    DeviceControl,
    /// `pci.vcap`: a virtio vendor capability, other than the configuration access window.
    VirtioCapability,
    /// `pci.vendor_id_of_data`: the vendor id in a vendor data capability (4.1.4.8).
    VendorDataId,
    /// `pci.vendor_data`: the data in a vendor data capability.
    VendorData,
    /// `pci.window`: the virtio configuration access window (4.1.4.9).
    Window,
    /// `pci.capability`: any other byte of a capability.
    Capability,
    /// `msix.<entry>`: an entry of the MSI-X table.
    MsixEntry(u16),
    /// `pba`: the pending bit array.
    Pba,
    /// `port.<name>`: a register of port-card.
    Port(PortCard),
    /// `port.event_count.<port>`: an event counter of port-card.
    PortEvents(u8),
}

/// The name is not that of a register.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a register: expected cc.<field>, leg.<field>, isr, ntf, dev.<offset>, pci.<field>, msix.<entry>, pba or port.<field>"
)]
pub struct UnknownField(pub String);

impl Field {
    /// Every name without a number in it, for suggestions and documentation.
    pub fn names() -> impl Iterator<Item = String> {
        let fixed = [
            Self::Isr,
            Self::Notify,
            Self::MsixControl,
            Self::MsiControl,
            Self::Msi,
            Self::PowerControl,
            Self::DeviceControl,
            Self::VirtioCapability,
            Self::VendorDataId,
            Self::VendorData,
            Self::Window,
            Self::Capability,
            Self::Pba,
        ];
        CommonCfg::ALL
            .iter()
            .map(|r| Self::Common(*r))
            .chain(LegacyCfg::ALL.iter().map(|r| Self::Legacy(*r)))
            .chain(PciHeader::ALL.iter().map(|r| Self::Pci(*r)))
            .chain(PortCard::ALL.iter().map(|r| Self::Port(*r)))
            .chain(fixed)
            .map(|f| f.to_string())
    }

    /// The register of the modern interface that means the same: what rules and faults speak of,
    /// whichever interface the driver uses. A register that has none, and every other, is itself.
    pub fn as_modern(self) -> Self {
        match self {
            Self::Legacy(register) => register.modern().unwrap_or(self),
            _ => self,
        }
    }

    /// Width in bytes, where the register has one width.
    pub fn width(self) -> Option<u8> {
        match self {
            Self::Common(r) => Some(r.width()),
            Self::Legacy(r) => Some(r.width()),
            Self::Isr => Some(1),
            Self::Pci(r) => Some(r.width()),
            Self::MsixControl | Self::MsiControl | Self::PowerControl | Self::DeviceControl => {
                Some(2)
            }
            Self::Port(_) | Self::PortEvents(_) => Some(4),
            _ => None,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Common(r) => write!(f, "cc.{}", r.name()),
            Self::Legacy(r) => write!(f, "leg.{}", r.name()),
            Self::Isr => f.write_str("isr"),
            Self::Notify => f.write_str("ntf"),
            Self::Device(offset) => write!(f, "dev.{offset}"),
            Self::Pci(r) => write!(f, "pci.{}", r.name()),
            Self::MsixControl => f.write_str("pci.msixctl"),
            Self::MsiControl => f.write_str("pci.msictl"),
            Self::Msi => f.write_str("pci.msi"),
            Self::PowerControl => f.write_str("pci.pm"),
            Self::DeviceControl => f.write_str("pci.devctl"),
            Self::VirtioCapability => f.write_str("pci.vcap"),
            Self::VendorDataId => f.write_str("pci.vendor_id_of_data"),
            Self::VendorData => f.write_str("pci.vendor_data"),
            Self::Window => f.write_str("pci.window"),
            Self::Capability => f.write_str("pci.capability"),
            Self::MsixEntry(entry) => write!(f, "msix.{entry}"),
            Self::Pba => f.write_str("pba"),
            Self::Port(r) => write!(f, "port.{}", r.name()),
            Self::PortEvents(port) => write!(f, "port.event_count.{port}"),
        }
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(name: &str) -> Result<Self, UnknownField> {
        let unknown = || UnknownField(name.to_owned());
        Ok(match name {
            "isr" => Self::Isr,
            "ntf" => Self::Notify,
            "pba" => Self::Pba,
            "pci.msixctl" => Self::MsixControl,
            "pci.msictl" => Self::MsiControl,
            "pci.msi" => Self::Msi,
            "pci.pm" => Self::PowerControl,
            "pci.devctl" => Self::DeviceControl,
            "pci.vcap" => Self::VirtioCapability,
            "pci.vendor_id_of_data" => Self::VendorDataId,
            "pci.vendor_data" => Self::VendorData,
            "pci.window" => Self::Window,
            "pci.capability" => Self::Capability,
            _ => {
                let (group, rest) = name.split_once('.').ok_or_else(unknown)?;
                match group {
                    "cc" => CommonCfg::named(rest).map(Self::Common),
                    "leg" => LegacyCfg::named(rest).map(Self::Legacy),
                    "dev" => rest.parse().ok().map(Self::Device),
                    "msix" => rest.parse().ok().map(Self::MsixEntry),
                    "pci" => PciHeader::named(rest).map(Self::Pci),
                    "port" => match rest.strip_prefix("event_count.") {
                        Some(port) => port.parse().ok().map(Self::PortEvents),
                        None => PortCard::named(rest).map(Self::Port),
                    },
                    _ => None,
                }
                .ok_or_else(unknown)?
            }
        })
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_the_same_register() {
        for name in
            Field::names().chain(["dev.4".into(), "msix.7".into(), "port.event_count.3".into()])
        {
            assert_eq!(name.parse::<Field>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn an_unknown_name_is_refused() {
        for name in ["cc.queue_vector", "dev.x", "isr.rd", ""] {
            assert_eq!(name.parse::<Field>(), Err(UnknownField(name.into())));
        }
    }
}

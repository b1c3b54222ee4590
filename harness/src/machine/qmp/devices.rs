//! Devices: where they are, and how they come and go.

use misfire_device::trace::TableEntry;
use qapi::qmp;

use super::{Qmp, QmpError};
use crate::machine::argv::device_id;
use crate::machine::table::{ENTRY_WORDS, parse_table};

/// Where a device has its MSI-X table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePlace {
    /// Base address register.
    pub bar: u8,
    /// Offset in it, bytes.
    pub offset: u64,
    /// Entries.
    pub entries: u16,
}

impl Qmp {
    /// The bus that device `dev` is on, as the guest's firmware or system has numbered it.
    ///
    /// # Errors
    /// When QEMU is gone or does not answer.
    pub async fn bus_of(&mut self, dev: usize) -> Result<Option<i64>, QmpError> {
        let id = device_id(dev);
        let buses = self.execute("`query-pci`", qmp::query_pci {}).await?;
        Ok(search(buses.iter().flat_map(|bus| &bus.devices), &id).map(|device| device.bus))
    }

    /// Asks the guest to let device `id` go: the attention button of its slot is pressed. It is gone with
    /// the event DEVICE_DELETED, when the guest has switched the slot off.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn remove_device(&mut self, id: String) -> Result<(), QmpError> {
        let doing = format!("`device_del {id}`");
        self.execute(&doing, qmp::device_del { id }).await?;
        Ok(())
    }

    /// Puts a device in, as `-device` would have.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn add_device(&mut self, device: serde_json::Value) -> Result<(), QmpError> {
        let doing = "`device_add`";
        let command = serde_json::from_value(device).map_err(|error| QmpError::Refused {
            doing: doing.to_owned(),
            reason: error.to_string(),
        })?;
        self.execute::<qmp::device_add>(doing, command).await?;
        Ok(())
    }

    /// The MSI-X table of device `dev` as the guest programmed it, read from outside.
    ///
    /// # Errors
    /// When QEMU is gone or does not answer, or the guest gave the table no address.
    pub async fn msix_table(
        &mut self,
        dev: u8,
        place: TablePlace,
    ) -> Result<Vec<TableEntry>, QmpError> {
        let base = self.bar(dev, place.bar).await?.ok_or(QmpError::NoTable {
            dev,
            bar: place.bar,
        })?;
        let words = usize::from(place.entries) * ENTRY_WORDS;
        let dump = self
            .monitor(format!("xp /{words}xw {:#x}", base + place.offset))
            .await?;
        parse_table(&dump, place.entries.into()).map_err(|source| QmpError::Table { dev, source })
    }

    /// The address of a memory base address register; `None` when the guest has given it none.
    async fn bar(&mut self, dev: u8, bar: u8) -> Result<Option<u64>, QmpError> {
        let id = device_id(dev.into());
        let buses = self.execute("`query-pci`", qmp::query_pci {}).await?;
        let region = buses
            .iter()
            .flat_map(|bus| &bus.devices)
            .filter(|device| device.qdev_id == id)
            .flat_map(|device| &device.regions)
            .find(|region| region.bar == i64::from(bar));
        Ok(region
            .and_then(|region| u64::try_from(region.address).ok())
            .filter(|address| *address != 0))
    }
}

/// The device of that id, also behind bridges.
fn search<'a>(
    devices: impl Iterator<Item = &'a qmp::PciDeviceInfo>,
    id: &str,
) -> Option<&'a qmp::PciDeviceInfo> {
    for device in devices {
        if device.qdev_id == id {
            return Some(device);
        }
        let bridge = device.pci_bridge.as_ref();
        let behind = bridge.and_then(|bridge| bridge.devices.as_ref());
        if let Some(found) = behind.and_then(|behind| search(behind.iter(), id)) {
            return Some(found);
        }
    }
    None
}

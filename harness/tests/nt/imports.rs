//! What others' drivers import.

use std::path::Path;

use crate::bench::*;

/// What two StorPort drivers for virtio devices import that were built from their source: how the names begin, and how they go
/// on: `storport.sys`, then `ntoskrnl.exe`.
const IMPORTED: [(&str, &str); 2] = [
    (
        "StorPort",
        "AllocateRegistryBuffer Busy ExtendedFunction FreeRegistryBuffer GetBusData GetDeviceBase GetPhysicalAddress \
         GetScatterGatherList GetUncachedExtension Initialize MoveMemory Notification Pause ReadPortUchar \
         ReadPortUlong ReadPortUshort ReadRegisterUchar ReadRegisterUlong ReadRegisterUshort RegistryRead Resume \
         SetDeviceQueueDepth StallExecution SynchronizeAccess WritePortUchar WritePortUlong WritePortUshort \
         WriteRegisterUchar WriteRegisterUlong WriteRegisterUshort",
    ),
    (
        "",
        "DbgPrint KeBugCheck KeBugCheckEx KeQueryActiveProcessorCountEx KeQueryMaximumProcessorCountEx \
         MmGetPhysicalAddress _vsnprintf _vsnwprintf memcpy memset strlen wcslen",
    ),
];

#[test]
fn what_storport_drivers_import_is_there_or_said_in_the_documentation_to_be_missing() {
    use misfire::image::{KERNEL, STORPORT};
    let page = Path::new(HERE).join("../docs/nt-guest.md");
    let page = std::fs::read_to_string(page).unwrap();
    for ((begin, names), known) in IMPORTED.into_iter().zip([STORPORT, KERNEL]) {
        for name in names.split(' ').map(|name| format!("{begin}{name}")) {
            let is_there = known.contains(&name.as_str()) || page.contains(&name);
            assert!(is_there, "{name}");
        }
    }
}

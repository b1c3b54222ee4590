//! The names of Windows' stop codes.

use std::fmt;

/// A stop code of Windows ("bug check").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StopCode(pub u32);

impl StopCode {
    /// Its symbolic name, if it is one that drivers and their devices bring about.
    pub fn name(self) -> Option<&'static str> {
        stop_name(self.0)
    }
}

impl fmt::Display for StopCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{:#X} {name}", self.0),
            None => write!(f, "{:#X}", self.0),
        }
    }
}

/// The symbolic name of a stop code (Microsoft, "Bug check code reference").
pub fn stop_name(code: u32) -> Option<&'static str> {
    STOPS
        .binary_search_by_key(&code, |(c, _)| *c)
        .ok()
        .map(|at| STOPS[at].1)
}

/// Sorted by code.
const STOPS: &[(u32, &str)] = &[
    (0x01, "APC_INDEX_MISMATCH"),
    (0x0A, "IRQL_NOT_LESS_OR_EQUAL"),
    (0x18, "REFERENCE_BY_POINTER"),
    (0x19, "BAD_POOL_HEADER"),
    (0x1A, "MEMORY_MANAGEMENT"),
    (0x1E, "KMODE_EXCEPTION_NOT_HANDLED"),
    (0x3B, "SYSTEM_SERVICE_EXCEPTION"),
    (0x44, "MULTIPLE_IRP_COMPLETE_REQUESTS"),
    (0x4E, "PFN_LIST_CORRUPT"),
    (0x50, "PAGE_FAULT_IN_NONPAGED_AREA"),
    (0x77, "KERNEL_STACK_INPAGE_ERROR"),
    (0x7A, "KERNEL_DATA_INPAGE_ERROR"),
    (0x7B, "INACCESSIBLE_BOOT_DEVICE"),
    (0x7E, "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED"),
    (0x7F, "UNEXPECTED_KERNEL_MODE_TRAP"),
    (0x80, "NMI_HARDWARE_FAILURE"),
    (0x9C, "MACHINE_CHECK_EXCEPTION"),
    (0x9F, "DRIVER_POWER_STATE_FAILURE"),
    (0xA5, "ACPI_BIOS_ERROR"),
    (0xBE, "ATTEMPTED_WRITE_TO_READONLY_MEMORY"),
    (0xC1, "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION"),
    (0xC2, "BAD_POOL_CALLER"),
    (0xC4, "DRIVER_VERIFIER_DETECTED_VIOLATION"),
    (0xC5, "DRIVER_CORRUPTED_EXPOOL"),
    (0xC9, "DRIVER_VERIFIER_IOMANAGER_VIOLATION"),
    (0xCA, "PNP_DETECTED_FATAL_ERROR"),
    (
        0xCE,
        "DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS",
    ),
    (0xD1, "DRIVER_IRQL_NOT_LESS_OR_EQUAL"),
    (0xD5, "DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL"),
    (0xD6, "DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION"),
    (0xE2, "MANUALLY_INITIATED_CRASH"),
    (0xE6, "DRIVER_VERIFIER_DMA_VIOLATION"),
    (0xF2, "HARDWARE_INTERRUPT_STORM"),
    (0xFC, "ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY"),
    (0xFE, "BUGCODE_USB_DRIVER"),
    (0x101, "CLOCK_WATCHDOG_TIMEOUT"),
    (0x10D, "WDF_VIOLATION"),
    (0x124, "WHEA_UNCORRECTABLE_ERROR"),
    (0x133, "DPC_WATCHDOG_VIOLATION"),
    (0x139, "KERNEL_SECURITY_CHECK_FAILURE"),
    (0x13A, "KERNEL_MODE_HEAP_CORRUPTION"),
    (0x144, "BUGCODE_USB3_DRIVER"),
    (0x153, "KERNEL_LOCK_ENTRY_LEAKED_ON_THREAD_TERMINATION"),
    (0x1C8, "MANUALLY_INITIATED_POWER_BUTTON_HOLD"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_no_code_is_there_twice() {
        assert!(STOPS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_stop_code_is_shown_with_its_name_when_it_has_one() {
        assert_eq!(
            StopCode(0xD1).to_string(),
            "0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL"
        );
        assert_eq!(StopCode(0xF2).to_string(), "0xF2 HARDWARE_INTERRUPT_STORM");
        assert_eq!(StopCode(0xDEAD).to_string(), "0xDEAD");
    }
}

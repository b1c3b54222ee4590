//! The routines that the model has, by the image that exports them. The harness reads this list too, so
//! that an import which is not there is told before anything is started.

/// `storport.sys`.
pub const STORPORT: &[&str] = &[
    "StorPortAllocateRegistryBuffer",
    "StorPortBusy",
    "StorPortCompleteRequest",
    "StorPortDebugPrint",
    "StorPortDeviceBusy",
    "StorPortDeviceReady",
    "StorPortExtendedFunction",
    "StorPortFreeDeviceBase",
    "StorPortFreeRegistryBuffer",
    "StorPortGetBusData",
    "StorPortGetDeviceBase",
    "StorPortGetPhysicalAddress",
    "StorPortGetScatterGatherList",
    "StorPortGetUncachedExtension",
    "StorPortInitialize",
    "StorPortLogError",
    "StorPortMoveMemory",
    "StorPortNotification",
    "StorPortPause",
    "StorPortPauseDevice",
    "StorPortReadPortUchar",
    "StorPortReadPortUlong",
    "StorPortReadPortUshort",
    "StorPortReadRegisterUchar",
    "StorPortReadRegisterUlong",
    "StorPortReadRegisterUlong64",
    "StorPortReadRegisterUshort",
    "StorPortReady",
    "StorPortRegistryRead",
    "StorPortResume",
    "StorPortResumeDevice",
    "StorPortSetDeviceQueueDepth",
    "StorPortStallExecution",
    "StorPortSynchronizeAccess",
    "StorPortWritePortUchar",
    "StorPortWritePortUlong",
    "StorPortWritePortUshort",
    "StorPortWriteRegisterUchar",
    "StorPortWriteRegisterUlong",
    "StorPortWriteRegisterUlong64",
    "StorPortWriteRegisterUshort",
];

/// `ntoskrnl.exe`.
pub const KERNEL: &[&str] = &[
    "DbgPrint",
    "DbgPrintEx",
    "KeBugCheck",
    "KeBugCheckEx",
    "KeQueryActiveProcessorCountEx",
    "KeQueryMaximumProcessorCountEx",
    "MmGetPhysicalAddress",
    "__C_specific_handler",
    "_vsnprintf",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "strlen",
    "wcslen",
];

/// Each image, and what it exports.
pub const DLLS: &[(&str, &[&str])] = &[("storport.sys", STORPORT), ("ntoskrnl.exe", KERNEL)];

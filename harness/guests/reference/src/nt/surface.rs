//! The routines that the model has, by the image that exports them. The harness reads this list too, so
//! that an import which is not there is told before anything is started.

/// `storport.sys`.
pub const STORPORT: &[&str] = &[
    "StorPortExtendedFunction",
    "StorPortGetBusData",
    "StorPortGetDeviceBase",
    "StorPortGetPhysicalAddress",
    "StorPortGetScatterGatherList",
    "StorPortGetUncachedExtension",
    "StorPortInitialize",
    "StorPortNotification",
    "StorPortPause",
    "StorPortReadRegisterUchar",
    "StorPortReadRegisterUlong",
    "StorPortReadRegisterUshort",
    "StorPortResume",
    "StorPortSetDeviceQueueDepth",
    "StorPortStallExecution",
    "StorPortWriteRegisterUchar",
    "StorPortWriteRegisterUlong",
    "StorPortWriteRegisterUshort",
];

/// `ntoskrnl.exe`.
pub const KERNEL: &[&str] = &["DbgPrint", "KeBugCheckEx", "KeQueryActiveProcessorCountEx"];

/// Each image, and what it exports.
pub const DLLS: &[(&str, &[&str])] = &[("storport.sys", STORPORT), ("ntoskrnl.exe", KERNEL)];

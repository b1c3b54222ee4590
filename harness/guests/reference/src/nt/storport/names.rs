//! The names of what `StorPortExtendedFunction` and `StorPortNotification` are asked for, so that what the model does not
//! have is told by its name.
//!
//! Source of the order: `STORPORT_FUNCTION_CODE` in Microsoft's driver documentation up to `UpdateAdapterMaxIO`; what
//! comes after it, and notification types, are in docs/nt-guest.md.

/// By their codes: `ExtFunctionAllocatePool` is 0.
const FUNCTIONS: &[&str] = &[
    "AllocatePool",
    "FreePool",
    "AllocateMdl",
    "FreeMdl",
    "BuildMdlForNonPagedPool",
    "GetSystemAddress",
    "GetOriginalMdl",
    "CompleteServiceIrp",
    "GetDeviceObjects",
    "BuildScatterGatherList",
    "PutScatterGatherList",
    "AcquireMSISpinLock",
    "ReleaseMSISpinLock",
    "GetMessageInterruptInformation",
    "InitializePerformanceOptimizations",
    "GetStartIoPerformanceParameters",
    "LogSystemEvent",
    "GetCurrentProcessorNumber",
    "GetActiveGroupCount",
    "GetGroupAffinity",
    "GetActiveNodeCount",
    "GetNodeAffinity",
    "GetHighestNodeNumber",
    "GetLogicalProcessorRelationship",
    "AllocateContiguousMemorySpecifyCacheNode",
    "FreeContiguousMemorySpecifyCache",
    "SetPowerSettingNotificationGuids",
    "InvokeAcpiMethod",
    "GetRequestInfo",
    "InitializeWorker",
    "QueueWorkItem",
    "FreeWorker",
    "InitializeTimer",
    "RequestTimer",
    "FreeTimer",
    "InitializeSListHead",
    "InterlockedFlushSList",
    "InterlockedPopEntrySList",
    "InterlockedPushEntrySList",
    "QueryDepthSList",
    "GetActivityId",
    "GetSystemPortNumber",
    "GetDataInBufferMdl",
    "GetDataInBufferSystemAddress",
    "GetDataInBufferScatterGatherList",
    "MarkDumpMemory",
    "SetUnitAttributes",
    "QueryPerformanceCounter",
    "InitializePoFxPower",
    "PoFxActivateComponent",
    "PoFxIdleComponent",
    "PoFxSetComponentLatency",
    "PoFxSetComponentResidency",
    "PoFxPowerControl",
    "FlushDataBufferMdl",
    "DeviceOperationAllowed",
    "GetProcessorIndexFromNumber",
    "PoFxSetIdleTimeout",
    "MiniportEtwEvent2",
    "MiniportEtwEvent4",
    "MiniportEtwEvent8",
    "CurrentOsInstallationUpgrade",
    "RegistryReadAdapterKey",
    "RegistryWriteAdapterKey",
    "SetAdapterBusType",
    "PoFxRegisterPerfStates",
    "PoFxSetPerfState",
    "GetD3ColdSupport",
    "InitializeRpmb",
    "AllocateHmb",
    "FreeHmb",
    "PropagateIrpExtension",
    "InterlockedInsertHeadList",
    "InterlockedInsertTailList",
    "InterlockedRemoveHeadList",
    "InitializeSpinlock",
    "GetPfns",
    "InitializeCryptoEngine",
    "GetRequestCryptoInfo",
    "MiniportTelemetry",
    "UpdateAdapterMaxIO",
    "DelayExecution",
    "AllocateDmaMemory",
    "FreeDmaMemory",
    "UpdateAdapterMaxIOInfo",
    "MiniportChannelEtwEvent2",
    "MiniportChannelEtwEvent4",
    "MiniportChannelEtwEvent8",
    "InitializeHighResolutionTimer",
    "RequestHighResolutionTimer",
    "CancelHighResolutionTimer",
    "FreeHighResolutionTimer",
    "GetCurrentProcessorIndex",
    "AcquireSpinLock",
];

/// Notification types from 0x1000 on.
const NOTIFICATIONS: &[&str] = &[
    "EnablePassiveInitialization",
    "InitializeDpc",
    "IssueDpc",
    "AcquireSpinLock",
    "ReleaseSpinLock",
    "StateChangeDetectedCall",
    "IoTargetRequestServiceTime",
    "AsyncNotificationDetected",
    "RequestDirectComplete",
    "InitializeDpcWithContext",
    "InitializeThreadedDpc",
    "SetTargetProcessorDpc",
];

/// What `StorPortExtendedFunction` is asked for, without `ExtFunction`.
pub(super) fn of_function(code: u32) -> &'static str {
    let name = FUNCTIONS.get(code as usize);
    name.unwrap_or(&"which has no name here")
}

/// What `StorPortNotification` is told.
pub(super) fn of_notification(what: u32) -> &'static str {
    let place = what.checked_sub(0x1000);
    let name = place.and_then(|place| NOTIFICATIONS.get(place as usize));
    name.unwrap_or(&"which has no name here")
}

#[cfg(test)]
mod tests {
    use super::super::abi::{function, notification};
    use super::*;

    #[test]
    fn the_names_are_those_of_the_codes() {
        for (code, name) in [
            (
                function::MESSAGE_INFORMATION,
                "GetMessageInterruptInformation",
            ),
            (function::LOG_SYSTEM_EVENT, "LogSystemEvent"),
            (
                function::QUERY_PERFORMANCE_COUNTER,
                "QueryPerformanceCounter",
            ),
            (function::ACQUIRE_SPIN_LOCK, "AcquireSpinLock"),
            (function::PROCESSOR_INDEX, "GetCurrentProcessorIndex"),
            (function::INDEX_FROM_NUMBER, "GetProcessorIndexFromNumber"),
            (function::NODE_AFFINITY, "GetNodeAffinity"),
        ] {
            assert_eq!(of_function(code), name);
        }
        assert_eq!(of_notification(notification::ISSUE_DPC), "IssueDpc");
        assert_eq!(of_notification(3), "which has no name here");
    }
}

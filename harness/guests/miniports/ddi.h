/*
 * What a StorPort miniport sees of Windows, as far as these drivers use it.
 *
 * Written from Microsoft's public driver documentation (the page is named before each declaration);
 * where the documentation gives a name without its number, the number is the one of the public-domain
 * headers of mingw-w64 ("mingw-w64") or of a single public listing ("one source"), as docs/nt-guest.md
 * lists. The layouts follow from the declarations by the rules of the x64 calling convention, and the
 * assertions at the end hold them to the offsets that the model uses.
 */
#ifndef MISFIRE_DDI_H
#define MISFIRE_DDI_H

/* The compiler's own names, so that no header of its is needed. */
typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;
#define NULL ((void *)0)
#define offsetof(type, field) __builtin_offsetof(type, field)

typedef void *PVOID;
typedef unsigned char UCHAR, BOOLEAN, KIRQL;
typedef unsigned short USHORT;
typedef unsigned int ULONG;
typedef int LONG, NTSTATUS;
typedef unsigned long long ULONGLONG;
typedef long long PHYSICAL_ADDRESS; /* a union of 64 bits, passed and returned in one register */
#define TRUE 1
#define FALSE 0

#define IMPORT __declspec(dllimport)

/* "StorPort driver support routines": the kinds of access that a range has. "ACCESS_RANGE". */
typedef struct {
	PHYSICAL_ADDRESS RangeStart;
	ULONG RangeLength;
	BOOLEAN RangeInMemory;
} ACCESS_RANGE;

/* "MEMORY_REGION" */
typedef struct {
	UCHAR *VirtualBase;
	PHYSICAL_ADDRESS PhysicalBase;
	ULONG Length;
} MEMORY_REGION;

typedef struct PORT_CONFIGURATION_INFORMATION PORT_CONFIGURATION_INFORMATION;
typedef struct STORAGE_REQUEST_BLOCK STORAGE_REQUEST_BLOCK;

/* The callbacks: "HW_INITIALIZE", "HW_STARTIO", "HW_INTERRUPT", "HW_FIND_ADAPTER", "HW_RESET_BUS",
 * "HW_ADAPTER_CONTROL", "HW_BUILDIO", "HW_UNIT_CONTROL", "HW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE",
 * "HW_PASSIVE_INITIALIZE_ROUTINE", "HW_DPC_ROUTINE". */
typedef BOOLEAN HW_INITIALIZE(PVOID extension);
typedef BOOLEAN HW_STARTIO(PVOID extension, STORAGE_REQUEST_BLOCK *srb);
typedef BOOLEAN HW_INTERRUPT(PVOID extension);
typedef ULONG HW_FIND_ADAPTER(PVOID extension, PVOID context, PVOID bus, char *argument,
	PORT_CONFIGURATION_INFORMATION *config, BOOLEAN *reserved);
typedef BOOLEAN HW_RESET_BUS(PVOID extension, ULONG path);
typedef ULONG HW_ADAPTER_CONTROL(PVOID extension, ULONG type, PVOID parameters);
typedef ULONG HW_UNIT_CONTROL(PVOID extension, ULONG type, PVOID parameters);
typedef BOOLEAN HW_MESSAGE_ROUTINE(PVOID extension, ULONG message);
typedef BOOLEAN HW_PASSIVE_ROUTINE(PVOID extension);
struct STOR_DPC;
typedef void HW_DPC_ROUTINE(struct STOR_DPC *dpc, PVOID extension, PVOID argument1, PVOID argument2);

/* "HW_INITIALIZATION_DATA (Storport)" */
typedef struct {
	ULONG HwInitializationDataSize;
	ULONG AdapterInterfaceType;
	HW_INITIALIZE *HwInitialize;
	HW_STARTIO *HwStartIo;
	HW_INTERRUPT *HwInterrupt;
	HW_FIND_ADAPTER *HwFindAdapter;
	HW_RESET_BUS *HwResetBus;
	PVOID HwDmaStarted;
	PVOID HwAdapterState;
	ULONG DeviceExtensionSize;
	ULONG SpecificLuExtensionSize;
	ULONG SrbExtensionSize;
	ULONG NumberOfAccessRanges;
	PVOID Reserved;
	UCHAR MapBuffers;
	BOOLEAN NeedPhysicalAddresses;
	BOOLEAN TaggedQueuing;
	BOOLEAN AutoRequestSense;
	BOOLEAN MultipleRequestPerLu;
	BOOLEAN ReceiveEvent;
	USHORT VendorIdLength;
	PVOID VendorId;
	USHORT PortVersionFlags;
	USHORT DeviceIdLength;
	PVOID DeviceId;
	HW_ADAPTER_CONTROL *HwAdapterControl;
	HW_STARTIO *HwBuildIo;
	PVOID HwFreeAdapterResources;
	PVOID HwProcessServiceRequest;
	PVOID HwCompleteServiceIrp;
	PVOID HwInitializeTracing;
	PVOID HwCleanupTracing;
	PVOID HwTracingEnabled;
	ULONG FeatureSupport;
	ULONG SrbTypeFlags;
	ULONG AddressTypeFlags;
	ULONG Reserved1;
	HW_UNIT_CONTROL *HwUnitControl;
} HW_INITIALIZATION_DATA;

#define STOR_MAP_NON_READ_WRITE_BUFFERS 2   /* mingw-w64 */
#define PCIBus 5                            /* "INTERFACE_TYPE" */
#define SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK 2 /* one source */
#define ADDRESS_TYPE_FLAG_BTL8 1            /* one source */

/* "PORT_CONFIGURATION_INFORMATION (Storport)" */
struct PORT_CONFIGURATION_INFORMATION {
	ULONG Length;
	ULONG SystemIoBusNumber;
	ULONG AdapterInterfaceType;
	ULONG BusInterruptLevel;
	ULONG BusInterruptVector;
	ULONG InterruptMode;
	ULONG MaximumTransferLength;
	ULONG NumberOfPhysicalBreaks;
	ULONG DmaChannel;
	ULONG DmaPort;
	ULONG DmaWidth;
	ULONG DmaSpeed;
	ULONG AlignmentMask;
	ULONG NumberOfAccessRanges;
	ACCESS_RANGE *AccessRanges;
	PVOID MiniportDumpData;
	UCHAR NumberOfBuses;
	UCHAR InitiatorBusId[8];
	BOOLEAN ScatterGather;
	BOOLEAN Master;
	BOOLEAN CachesData;
	BOOLEAN AdapterScansDown;
	BOOLEAN AtdiskPrimaryClaimed;
	BOOLEAN AtdiskSecondaryClaimed;
	BOOLEAN Dma32BitAddresses;
	BOOLEAN DemandMode;
	UCHAR MapBuffers;
	BOOLEAN NeedPhysicalAddresses;
	BOOLEAN TaggedQueuing;
	BOOLEAN AutoRequestSense;
	BOOLEAN MultipleRequestPerLu;
	BOOLEAN ReceiveEvent;
	BOOLEAN RealModeInitialized;
	BOOLEAN BufferAccessScsiPortControlled;
	UCHAR MaximumNumberOfTargets;
	UCHAR SrbType;
	UCHAR AddressType;
	ULONG SlotNumber;
	ULONG BusInterruptLevel2;
	ULONG BusInterruptVector2;
	ULONG InterruptMode2;
	ULONG DmaChannel2;
	ULONG DmaPort2;
	ULONG DmaWidth2;
	ULONG DmaSpeed2;
	ULONG DeviceExtensionSize;
	ULONG SpecificLuExtensionSize;
	ULONG SrbExtensionSize;
	UCHAR Dma64BitAddresses;
	BOOLEAN ResetTargetSupported;
	UCHAR MaximumNumberOfLogicalUnits;
	BOOLEAN WmiDataProvider;
	ULONG SynchronizationModel;
	HW_MESSAGE_ROUTINE *HwMSInterruptRoutine;
	ULONG InterruptSynchronizationMode;
	MEMORY_REGION DumpRegion;
	ULONG RequestedDumpBufferSize;
	BOOLEAN VirtualDevice;
	UCHAR DumpMode;
	ULONG ExtendedFlags1;
	ULONG MaxNumberOfIO;
	ULONG MaxIOsPerLun;
	ULONG InitialLunQueueDepth;
	ULONG BusResetHoldTime;
	ULONG FeatureSupport;
};

#define SP_RETURN_NOT_FOUND 0   /* "HW_FIND_ADAPTER"; numbers: mingw-w64 */
#define SP_RETURN_FOUND 1
#define SP_RETURN_ERROR 2
#define SP_RETURN_BAD_CONFIG 3
#define SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED 2 /* one source */
#define StorSynchronizeHalfDuplex 0               /* mingw-w64 */
#define StorSynchronizeFullDuplex 1               /* mingw-w64 */
#define InterruptSynchronizeAll 1                 /* "INTERRUPT_SYNCHRONIZATION_MODE": the second of its list */
#define InterruptSynchronizePerMessage 2          /* the third */
#define PCIConfiguration 4                        /* "BUS_DATA_TYPE"; mingw-w64 */

/* "STORAGE_REQUEST_BLOCK" */
struct STORAGE_REQUEST_BLOCK {
	USHORT Length;
	UCHAR Function;
	UCHAR SrbStatus;
	UCHAR ReservedUchar[4];
	ULONG Signature;
	ULONG Version;
	ULONG SrbLength;
	ULONG SrbFunction;
	ULONG SrbFlags;
	ULONG ReservedUlong;
	ULONG RequestTag;
	USHORT RequestPriority;
	USHORT RequestAttribute;
	ULONG TimeOutValue;
	ULONG SystemStatus;
	ULONG ZeroGuard1;
	ULONG AddressOffset;
	ULONG NumSrbExData;
	ULONG DataTransferLength;
	PVOID DataBuffer;
	PVOID ZeroGuard2;
	PVOID OriginalRequest;
	PVOID ClassContext;
	PVOID PortContext;
	PVOID MiniportContext;
	STORAGE_REQUEST_BLOCK *NextSrb;
	ULONG SrbExDataOffset[1];
};

/* "SRBEX_DATA_SCSI_CDB16" (the page has CdbLength with four bytes; every public header has one) */
typedef struct {
	ULONG Type;
	ULONG Length;
	UCHAR ScsiStatus;
	UCHAR SenseInfoBufferLength;
	UCHAR CdbLength;
	UCHAR Reserved;
	ULONG Reserved1;
	PVOID SenseInfoBuffer;
	UCHAR Cdb[16];
} SRBEX_DATA_SCSI_CDB16;

/* "STOR_ADDR_BTL8" */
typedef struct {
	USHORT Type;
	USHORT Port;
	ULONG AddressLength;
	UCHAR Path;
	UCHAR Target;
	UCHAR Lun;
	UCHAR Reserved;
} STOR_ADDR_BTL8;

/* "SRBEX_DATA_PNP", "STOR_PNP_ACTION" */
typedef struct {
	ULONG Type;
	ULONG Length;
	UCHAR PnPSubFunction;
	UCHAR Reserved[3];
	ULONG PnPAction;
	ULONG SrbPnPFlags;
	ULONG Reserved1;
} SRBEX_DATA_PNP;
#define StorStartDevice 0x00
#define StorRemoveDevice 0x02
#define StorStopDevice 0x04
#define StorQueryCapabilities 0x09
#define StorSurpriseRemoval 0x17
#define SRB_PNP_FLAGS_ADAPTER_REQUEST 1 /* mingw-w64 */

/* "SRBEX_DATA_POWER", "STOR_DEVICE_POWER_STATE" */
typedef struct {
	ULONG Type;
	ULONG Length;
	UCHAR SrbPowerFlags;
	UCHAR Reserved[3];
	ULONG DevicePowerState;
	ULONG PowerAction;
} SRBEX_DATA_POWER;
#define StorPowerDeviceD0 1
#define StorPowerDeviceD3 4

/* "SRBEXDATATYPE"; numbers: several listings */
#define SrbExDataTypePower 0x61
#define SrbExDataTypePnP 0x62

/* "STOR_DEVICE_CAPABILITIES_EX" */
typedef struct {
	USHORT Version;
	USHORT Size;
	ULONG DeviceD1 : 1, DeviceD2 : 1, LockSupported : 1, EjectSupported : 1, Removable : 1, DockDevice : 1,
		UniqueID : 1, SilentInstall : 1, RawDeviceOK : 1, SurpriseRemovalOK : 1, NoDisplayInUI : 1,
		DefaultWriteCacheEnabled : 1, Reserved0 : 20;
	ULONG Address;
	ULONG UINumber;
	ULONG Reserved1[2];
} STOR_DEVICE_CAPABILITIES_EX;

#define SRB_FUNCTION_EXECUTE_SCSI 0x00 /* the page of STORAGE_REQUEST_BLOCK has these numbers */
#define SRB_FUNCTION_SHUTDOWN 0x07
#define SRB_FUNCTION_FLUSH 0x08
#define SRB_FUNCTION_RESET_BUS 0x12
#define SRB_FUNCTION_RESET_DEVICE 0x13
#define SRB_FUNCTION_RESET_LOGICAL_UNIT 0x20
#define SRB_FUNCTION_POWER 0x24
#define SRB_FUNCTION_PNP 0x25
#define SRB_FUNCTION_STORAGE_REQUEST_BLOCK 0x28

#define SRB_STATUS_PENDING 0x00 /* numbers: mingw-w64 */
#define SRB_STATUS_SUCCESS 0x01
#define SRB_STATUS_ERROR 0x04
#define SRB_STATUS_BUSY 0x05
#define SRB_STATUS_INVALID_REQUEST 0x06
#define SRB_STATUS_NO_DEVICE 0x08
#define SRB_STATUS_BUS_RESET 0x0e
#define SRB_STATUS_DATA_OVERRUN 0x12
#define SRB_STATUS_AUTOSENSE_VALID 0x80
#define SRB_FLAGS_DATA_IN 0x40
#define SRB_FLAGS_DATA_OUT 0x80
#define SCSISTAT_GOOD 0x00
#define SCSISTAT_CHECK_CONDITION 0x02

/* "STOR_SCATTER_GATHER_LIST" */
typedef struct {
	PHYSICAL_ADDRESS PhysicalAddress;
	ULONG Length;
	uintptr_t Reserved;
} STOR_SCATTER_GATHER_ELEMENT;
typedef struct {
	ULONG NumberOfElements;
	uintptr_t Reserved;
	STOR_SCATTER_GATHER_ELEMENT List[];
} STOR_SCATTER_GATHER_LIST;

/* "STOR_DPC": a KDPC and a spin lock, opaque to a miniport; their size: one source */
typedef struct STOR_DPC {
	ULONGLONG Opaque[9];
} STOR_DPC;

/* "STOR_LOCK_HANDLE": the kind of the lock, and what is the port driver's */
typedef struct {
	ULONG Lock;
	ULONGLONG Opaque[3];
} STOR_LOCK_HANDLE;
#define DpcLock 1 /* "STOR_SPINLOCK" has the numbers */
#define StartIoLock 2
#define InterruptLock 3
#define DpcLevelLock 5

/* "MESSAGE_INTERRUPT_INFORMATION" */
typedef struct {
	ULONG MessageId;
	ULONG MessageData;
	PHYSICAL_ADDRESS MessageAddress;
	ULONG InterruptVector;
	ULONG InterruptLevel;
	ULONG InterruptMode;
} MESSAGE_INTERRUPT_INFORMATION;

/* What StorPortNotification tells. The first group: mingw-w64; the second: one source. */
#define RequestComplete 0
#define ResetDetected 3
#define RequestTimerCall 6
#define BusChangeDetected 7
#define EnablePassiveInitialization 0x1000
#define InitializeDpc 0x1001
#define IssueDpc 0x1002
#define AcquireSpinLock 0x1003
#define ReleaseSpinLock 0x1004

/* What StorPortExtendedFunction does: "STORPORT_FUNCTION_CODE", the place in its list; from 81 on one source, 93 by a
 * second. */
#define ExtFunctionAllocatePool 0
#define ExtFunctionFreePool 1
#define ExtFunctionAcquireMSISpinLock 11
#define ExtFunctionReleaseMSISpinLock 12
#define ExtFunctionGetMessageInterruptInformation 13
#define ExtFunctionInitializePerformanceOptimizations 14
#define ExtFunctionGetStartIoPerformanceParameters 15
#define ExtFunctionGetCurrentProcessorNumber 17
#define ExtFunctionGetActiveGroupCount 18
#define ExtFunctionGetGroupAffinity 19
#define ExtFunctionGetActiveNodeCount 20
#define ExtFunctionGetNodeAffinity 21
#define ExtFunctionGetHighestNodeNumber 22
#define ExtFunctionInvokeAcpiMethod 27
#define ExtFunctionQueryPerformanceCounter 47
#define ExtFunctionGetProcessorIndexFromNumber 56
#define ExtFunctionGetCurrentProcessorIndex 92
#define ExtFunctionAcquireSpinLock 93
#define STOR_STATUS_NOT_IMPLEMENTED 0xc1000002 /* numbers of STOR_STATUS: several listings */
#define STOR_STATUS_INVALID_PARAMETER 0xc1000006

/* "PROCESSOR_NUMBER", "GROUP_AFFINITY" */
typedef struct {
	USHORT Group;
	UCHAR Number;
	UCHAR Reserved;
} PROCESSOR_NUMBER;
typedef struct {
	ULONGLONG Mask;
	USHORT Group;
	USHORT Reserved[3];
} GROUP_AFFINITY;

/* "PERF_CONFIGURATION_DATA"; the flags' numbers: one source */
typedef struct {
	ULONG Version;
	ULONG Size;
	ULONG Flags;
	ULONG ConcurrentChannels;
	ULONG FirstRedirectionMessageNumber, LastRedirectionMessageNumber;
	ULONG DeviceNode;
	ULONG Reserved;
	PVOID MessageTargets;
} PERF_CONFIGURATION_DATA;
#define STOR_PERF_DPC_REDIRECTION 1
#define STOR_PERF_CONCURRENT_CHANNELS 2
#define STOR_PERF_INTERRUPT_MESSAGE_RANGES 4
#define STOR_PERF_ADV_CONFIG_LOCALITY 8

/* "STARTIO_PERFORMANCE_PARAMETERS" */
typedef struct {
	ULONG Version;
	ULONG Size;
	ULONG MessageNumber;
	ULONG ChannelNumber;
} STARTIO_PERFORMANCE_PARAMETERS;

/* "HW_ADAPTER_CONTROL" and "SCSI_ADAPTER_CONTROL_TYPE" */
#define ScsiQuerySupportedControlTypes 0
#define ScsiStopAdapter 1
#define ScsiRestartAdapter 2
#define ScsiSetBootConfig 3
#define ScsiAdapterSurpriseRemoval 16 /* "SCSI_ADAPTER_CONTROL_TYPE"; number: the place in its list */
#define ScsiAdapterControlSuccess 0
#define ScsiAdapterControlUnsuccessful 1
/* "HW_UNIT_CONTROL" and "SCSI_UNIT_CONTROL_TYPE": the place in its list */
#define ScsiQuerySupportedUnitControlTypes 0
#define ScsiUnitStart 2
#define ScsiUnitPower 3
#define ScsiUnitRemove 9
#define ScsiUnitSurpriseRemoval 10
#define ScsiUnitControlSuccess 0
#define ScsiUnitControlUnsuccessful 1
typedef struct {
	ULONG MaxControlType;
	BOOLEAN SupportedTypeList[];
} SCSI_SUPPORTED_CONTROL_TYPE_LIST;

/* storport.sys */
IMPORT ULONG StorPortInitialize(PVOID driver, PVOID path, HW_INITIALIZATION_DATA *data, PVOID context);
IMPORT void StorPortNotification(ULONG type, PVOID extension, ...);
IMPORT ULONG StorPortExtendedFunction(ULONG code, PVOID extension, ...);
IMPORT ULONG StorPortGetBusData(PVOID extension, ULONG type, ULONG bus, ULONG slot, PVOID buffer, ULONG length);
IMPORT PVOID StorPortGetDeviceBase(PVOID extension, ULONG bus_type, ULONG bus, PHYSICAL_ADDRESS start,
	ULONG length, BOOLEAN io_space);
IMPORT PVOID StorPortGetUncachedExtension(PVOID extension, PORT_CONFIGURATION_INFORMATION *config, ULONG length);
IMPORT PHYSICAL_ADDRESS StorPortGetPhysicalAddress(PVOID extension, PVOID srb, PVOID address, ULONG *length);
IMPORT STOR_SCATTER_GATHER_LIST *StorPortGetScatterGatherList(PVOID extension, PVOID srb);
IMPORT void StorPortStallExecution(ULONG microseconds);
IMPORT BOOLEAN StorPortSetDeviceQueueDepth(PVOID extension, UCHAR path, UCHAR target, UCHAR lun, ULONG depth);
IMPORT BOOLEAN StorPortPause(PVOID extension, ULONG seconds);
IMPORT BOOLEAN StorPortResume(PVOID extension);
IMPORT BOOLEAN StorPortBusy(PVOID extension, ULONG requests);
typedef BOOLEAN STOR_SYNCHRONIZED_ACCESS(PVOID extension, PVOID context);
IMPORT BOOLEAN StorPortSynchronizeAccess(PVOID extension, STOR_SYNCHRONIZED_ACCESS *routine, PVOID context);
IMPORT UCHAR *StorPortAllocateRegistryBuffer(PVOID extension, ULONG *length);
IMPORT void StorPortFreeRegistryBuffer(PVOID extension, UCHAR *buffer);
IMPORT BOOLEAN StorPortRegistryRead(PVOID extension, UCHAR *name, ULONG global, ULONG type, UCHAR *buffer, ULONG *length);
IMPORT BOOLEAN StorPortRegistryWrite(PVOID extension, UCHAR *name, ULONG global, ULONG type, UCHAR *buffer, ULONG length);
#ifndef INLINE_REGISTERS
IMPORT UCHAR StorPortReadRegisterUchar(PVOID extension, UCHAR *at);
IMPORT USHORT StorPortReadRegisterUshort(PVOID extension, USHORT *at);
IMPORT ULONG StorPortReadRegisterUlong(PVOID extension, ULONG *at);
IMPORT void StorPortWriteRegisterUchar(PVOID extension, UCHAR *at, UCHAR value);
IMPORT void StorPortWriteRegisterUshort(PVOID extension, USHORT *at, USHORT value);
IMPORT void StorPortWriteRegisterUlong(PVOID extension, ULONG *at, ULONG value);
IMPORT UCHAR StorPortReadPortUchar(PVOID extension, UCHAR *at);
IMPORT USHORT StorPortReadPortUshort(PVOID extension, USHORT *at);
IMPORT ULONG StorPortReadPortUlong(PVOID extension, ULONG *at);
IMPORT void StorPortWritePortUchar(PVOID extension, UCHAR *at, UCHAR value);
IMPORT void StorPortWritePortUshort(PVOID extension, USHORT *at, USHORT value);
IMPORT void StorPortWritePortUlong(PVOID extension, ULONG *at, ULONG value);
#endif

/* ntoskrnl.exe */
IMPORT ULONG DbgPrint(const char *format, ...);
IMPORT __attribute__((noreturn)) void KeBugCheckEx(ULONG code, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d);
IMPORT ULONG KeGetCurrentProcessorNumberEx(PVOID number);
IMPORT ULONG KeQueryActiveProcessorCountEx(USHORT group);

#define OFFSET(type, field, at) _Static_assert(offsetof(type, field) == (at), #field)
OFFSET(HW_INITIALIZATION_DATA, HwAdapterControl, 120);
OFFSET(HW_INITIALIZATION_DATA, SrbTypeFlags, 188);
OFFSET(PORT_CONFIGURATION_INFORMATION, AccessRanges, 56);
OFFSET(PORT_CONFIGURATION_INFORMATION, SlotNumber, 100);
OFFSET(PORT_CONFIGURATION_INFORMATION, HwMSInterruptRoutine, 152);
OFFSET(PORT_CONFIGURATION_INFORMATION, FeatureSupport, 220);
OFFSET(STORAGE_REQUEST_BLOCK, DataBuffer, 64);
OFFSET(STORAGE_REQUEST_BLOCK, MiniportContext, 104);
OFFSET(SRBEX_DATA_SCSI_CDB16, Cdb, 24);
OFFSET(SRBEX_DATA_PNP, PnPAction, 12);
OFFSET(SRBEX_DATA_POWER, DevicePowerState, 12);
_Static_assert(sizeof(HW_INITIALIZATION_DATA) == 208, "HW_INITIALIZATION_DATA");
_Static_assert(sizeof(PORT_CONFIGURATION_INFORMATION) == 224, "PORT_CONFIGURATION_INFORMATION");
_Static_assert(sizeof(STORAGE_REQUEST_BLOCK) == 128, "STORAGE_REQUEST_BLOCK");
_Static_assert(sizeof(STOR_SCATTER_GATHER_ELEMENT) == 24, "STOR_SCATTER_GATHER_ELEMENT");
_Static_assert(sizeof(SRBEX_DATA_PNP) == 24, "SRBEX_DATA_PNP");
_Static_assert(sizeof(SRBEX_DATA_POWER) == 20, "SRBEX_DATA_POWER");
_Static_assert(sizeof(STOR_DEVICE_CAPABILITIES_EX) == 24, "STOR_DEVICE_CAPABILITIES_EX");
_Static_assert(sizeof(STOR_LOCK_HANDLE) == 32, "STOR_LOCK_HANDLE");

#endif

/* A KMDF driver's view of misfire_log.h. It is compiled and never run: mingw-w64 has no wdf.h, so what the header
 * uses of it is declared here after the pages of Microsoft's documentation on wdfinterrupt.h and wdfresource.h. */
#include <ntddk.h>

typedef struct WDFINTERRUPT__ *WDFINTERRUPT;
typedef struct WDFCMRESLIST__ *WDFCMRESLIST;
typedef enum { WdfInterruptPolarityUnknown, WdfInterruptActiveHigh, WdfInterruptActiveLow } WDF_INTERRUPT_POLARITY;
typedef struct {
	ULONG Size;
	ULONG64 Reserved1;
	KAFFINITY TargetProcessorSet;
	ULONG Reserved2;
	ULONG MessageNumber;
	ULONG Vector;
	KIRQL Irql;
	KINTERRUPT_MODE Mode;
	WDF_INTERRUPT_POLARITY Polarity;
	BOOLEAN MessageSignaled;
	UCHAR ShareDisposition;
	USHORT Group;
} WDF_INTERRUPT_INFO, *PWDF_INTERRUPT_INFO;
#ifdef __cplusplus
extern "C" {
#endif
VOID WDF_INTERRUPT_INFO_INIT(PWDF_INTERRUPT_INFO info);
VOID WdfInterruptGetInfo(WDFINTERRUPT interrupt, PWDF_INTERRUPT_INFO info);
ULONG WdfCmResourceListGetCount(WDFCMRESLIST list);
PCM_PARTIAL_RESOURCE_DESCRIPTOR WdfCmResourceListGetDescriptor(WDFCMRESLIST list, ULONG index);
#ifdef __cplusplus
}
#endif

#define KMDF_VERSION_MAJOR 1
#include "driver.h"

#ifdef __cplusplus
extern "C"
#endif
VOID PrepareHardware(WDFCMRESLIST raw, WDFCMRESLIST translated, WDFINTERRUPT interrupt)
{
	EveryCall(0, 0);
	MisfireLogWdfResources(&Log, raw, translated);
	MisfireLogWdfInterrupt(&Log, interrupt);
}

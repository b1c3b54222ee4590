/* A WDM driver's view of misfire_log.h. It is compiled and never run. */
#include <ntddk.h>

#include "driver.h"

#ifdef __cplusplus
extern "C"
#endif
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	(void)driver;
	(void)path;
	EveryCall(0, 0);
	return STATUS_SUCCESS;
}

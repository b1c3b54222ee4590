/* What a driver does with misfire_log.h, all of it. Whoever includes this has the kernel's headers, or a stand-in. */
#include "misfire_log.h"

static MISFIRE_LOG Log;

static void EveryCall(const CM_RESOURCE_LIST *raw, const CM_RESOURCE_LIST *translated)
{
	MisfireLogInit(&Log, "blk");
	MisfireLogResources(&Log, raw, translated);
	MisfireLogResources(&Log, 0, translated);
	MisfireLogInterrupt(&Log, 1, 2, 0x93, 9, (KAFFINITY)0xf);
	MisfireLogConnectFailed(&Log, 0x63, (NTSTATUS)0xC00000EF);
	MisfireLogConfigVector(&Log, 0, 0);
	MisfireLogQueueVector(&Log, 1, 2, 0xffff);
	MisfireLogNeedsReset(&Log);
	MisfireLogTimedOut(&Log, 0);
	MisfireLogLost(&Log, 3);
	MisfireLogIsr(&Log, 1);
	MisfireLogIsr(&Log, 1);
	MisfireLogDpc(&Log, 1);
	MisfireLogIsr(&Log, 4000);
	MisfireLogLineIsr(&Log, 0);
	MisfireLogLineIsr(&Log, 3);
	MisfireLogLineDpc(&Log);
	MisfireLogCounts(&Log);
}

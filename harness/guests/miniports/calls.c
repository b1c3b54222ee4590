/* What the port driver answers through StorPortExtendedFunction, called from a DPC, and of the registry, at PASSIVE_LEVEL:
 * each answer that is as it should be is named in the log. */
#include "virtio.h"

static void check(const char *name, BOOLEAN right)
{
	DbgPrint("ROUTINE: %s %s\n", name, right ? "answers" : "is wrong");
}

void call_routines(ADAPTER *adapter, STOR_DPC *dpc)
{
	ULONG processors = KeQueryActiveProcessorCountEx(0), index = 99, count = 99, message = adapter->messages ? 1 : 0;
	USHORT groups = 99;
	PROCESSOR_NUMBER number = { 9, 9, 9 };
	GROUP_AFFINITY affinity = { 0 };
	STOR_LOCK_HANDLE lock = { 0 };
	ULONGLONG frequency = 0, counter = 0;
	ULONG old = 99;
	PVOID pool = NULL;

#define CALL(code, ...) StorPortExtendedFunction(ExtFunction##code, adapter, __VA_ARGS__)
	check("AllocatePool", CALL(AllocatePool, 100, 0x7265664d, &pool) == 0 && pool != NULL && *(UCHAR *)pool == 0);
	check("FreePool", CALL(FreePool, pool) == 0);
	check("GetCurrentProcessorNumber", CALL(GetCurrentProcessorNumber, &number) == 0 && number.Group == 0
		&& number.Number < processors && number.Reserved == 0);
	check("GetCurrentProcessorIndex", CALL(GetCurrentProcessorIndex, &index) == 0 && index == number.Number);
	check("GetProcessorIndexFromNumber", CALL(GetProcessorIndexFromNumber, &number, &count) == 0 && count == index);
	number.Number = (UCHAR)processors;
	check("GetProcessorIndexFromNumber, none", CALL(GetProcessorIndexFromNumber, &number, &count) == STOR_STATUS_INVALID_PARAMETER);
	check("GetActiveGroupCount", CALL(GetActiveGroupCount, &groups) == 0 && groups == 1);
	check("GetGroupAffinity", CALL(GetGroupAffinity, 0, &affinity) == 0 && affinity.Mask == (1ull << processors) - 1);
	check("GetActiveNodeCount", CALL(GetActiveNodeCount, &count) == 0 && count == 1);
	check("GetNodeAffinity", CALL(GetNodeAffinity, 0, &affinity) == 0 && affinity.Mask == (1ull << processors) - 1);
	check("GetHighestNodeNumber", CALL(GetHighestNodeNumber, &count) == 0 && count == 0);
	check("QueryPerformanceCounter", CALL(QueryPerformanceCounter, &frequency, &counter) == 0 && frequency && counter);
	check("AcquireSpinLock, StartIo", CALL(AcquireSpinLock, StartIoLock, NULL, &lock) == 0);
	StorPortNotification(ReleaseSpinLock, adapter, &lock);
	check("AcquireSpinLock, at DPC level", CALL(AcquireSpinLock, DpcLevelLock, dpc, &lock) == 0);
	StorPortNotification(ReleaseSpinLock, adapter, &lock);
	check("AcquireSpinLock, none", CALL(AcquireSpinLock, 9, NULL, &lock) == STOR_STATUS_INVALID_PARAMETER);
	if (message) {
		check("AcquireMSISpinLock", CALL(AcquireMSISpinLock, message, &old) == 0);
		check("ReleaseMSISpinLock", CALL(ReleaseMSISpinLock, message, old) == 0);
	}
	check("InvokeAcpiMethod", CALL(InvokeAcpiMethod, 0) == STOR_STATUS_NOT_IMPLEMENTED);
}

/* Tells what the registry has, and what becomes of it. */
void call_registry(ADAPTER *adapter)
{
	enum { SZ = 1, EXPAND_SZ = 2, BINARY = 3, DWORD = 4, MULTI_SZ = 7, QWORD = 11 };
	static UCHAR number[] = "TestNumber", text[] = "TestText", bytes[] = "TestBytes", written[] = "TestWritten", path[] = "TestPath",
		list[] = "TestList", big[] = "TestLong";
	ULONG length = 64, size = 2;
	UCHAR *value = StorPortAllocateRegistryBuffer(adapter, &length);

	if (value == NULL || StorPortAllocateRegistryBuffer(adapter, &length) != NULL) {
		DbgPrint("REGISTRY: not one buffer\n");
		return;
	}
	if (!StorPortRegistryRead(adapter, number, TRUE, DWORD, value, &size))
		DbgPrint("REGISTRY: too small by %d\n", size);
	size = length;
	if (StorPortRegistryRead(adapter, number, TRUE, DWORD, value, &size))
		DbgPrint("REGISTRY: number %d of %d bytes\n", *(ULONG *)value, size);
	else
		DbgPrint("REGISTRY: no number, %d bytes\n", size);
	size = length;
	if (StorPortRegistryRead(adapter, text, TRUE, SZ, value, &size))
		DbgPrint("REGISTRY: text %s of %d bytes\n", value, size);
	size = length;
	if (StorPortRegistryRead(adapter, bytes, FALSE, BINARY, value, &size))
		DbgPrint("REGISTRY: bytes %x %x of %d\n", value[0], value[1], size);
	size = length;
	if (StorPortRegistryRead(adapter, path, TRUE, EXPAND_SZ, value, &size))
		DbgPrint("REGISTRY: path %s of %d bytes\n", value, size);
	size = length;
	if (StorPortRegistryRead(adapter, list, TRUE, MULTI_SZ, value, &size))
		DbgPrint("REGISTRY: list %s, %s of %d bytes\n", value, value + 4, size);
	size = length;
	if (StorPortRegistryRead(adapter, big, TRUE, QWORD, value, &size))
		DbgPrint("REGISTRY: long %x %x of %d bytes\n", ((ULONG *)value)[1], *(ULONG *)value, size);
	*(ULONG *)value = 5;
	if (!StorPortRegistryWrite(adapter, written, FALSE, DWORD, value, sizeof(ULONG)))
		DbgPrint("REGISTRY: not written\n");
	*(ULONG *)value = 0;
	size = length;
	if (StorPortRegistryRead(adapter, written, FALSE, DWORD, value, &size))
		DbgPrint("REGISTRY: written %d of %d bytes\n", *(ULONG *)value, size);
	StorPortFreeRegistryBuffer(adapter, value);
}

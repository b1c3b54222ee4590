/* What the documentation lets a miniport do, and few do: nothing of it is a mistake (`takes-liberties`). */
#include "virtio.h"

static void HwTimer(PVOID extension);

/* Locks of DPC objects, of which an adapter has as many as it likes. */
static void take_two(ADAPTER *adapter, ULONG first, ULONG then)
{
	STOR_LOCK_HANDLE outer = { 0 }, inner = { 0 };

	StorPortNotification(AcquireSpinLock, adapter, DpcLock, &adapter->many[first], &outer);
	StorPortNotification(AcquireSpinLock, adapter, DpcLock, &adapter->many[then], &inner);
	StorPortNotification(ReleaseSpinLock, adapter, &inner);
	StorPortNotification(ReleaseSpinLock, adapter, &outer);
}

/* With the StartIo lock, of which two others are taken in either order. */
void liberties_of_start_io(ADAPTER *adapter)
{
	if (MAKES(adapter, TAKES_LIBERTIES) && !adapter->concurrent)
		take_two(adapter, MOST_OBJECTS - 1, MOST_OBJECTS - 2);
}

/* In a DPC, without a lock. */
void liberties_of_dpc(ADAPTER *adapter)
{
	STOR_LOCK_HANDLE lock = { 0 };
	ULONG turn, status;
	USHORT n;

	if (!MAKES(adapter, TAKES_LIBERTIES))
		return;
	turn = __atomic_fetch_add(&adapter->turns, 1, __ATOMIC_SEQ_CST) % (MOST_OBJECTS - 3);
	take_two(adapter, turn, turn + 1);
	StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
	take_two(adapter, MOST_OBJECTS - 2, MOST_OBJECTS - 1);
	StorPortNotification(ReleaseSpinLock, adapter, &lock);
	/* Whoever reads it sees to what it says, wherever that is. */
	status = adapter->messages == 0 ? read8(adapter, &adapter->isr, 0) : 0;
	for (n = 0; (status & 1) && n < adapter->queues; n++)
		issue_queue(adapter, n);
	if (status & 2)
		issue(adapter, &adapter->config_dpc, NULL);
}

/* In HwStorBuildIo, without a lock: a place that is taken atomically is whoever's who has taken it, and that of a request's
 * tag is the request's. */
void liberties_of_build(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;
	ULONG n;

	request->slot = 0;
	if (!MAKES(adapter, TAKES_LIBERTIES))
		return;
	if (srb->RequestTag < MOST_TAGS)
		adapter->tags[srb->RequestTag]++;
	for (n = 0; n < MOST_SLOTS && request->slot == 0; n++) {
		if (__atomic_fetch_or(&adapter->taken, 1ull << n, __ATOMIC_SEQ_CST) & 1ull << n)
			continue;
		request->slot = n + 1;
		adapter->slots[n]++;
	}
}

/* It is given back before its request is. */
void liberties_of_completion(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;
	ULONG n;

	if (!MAKES(adapter, TAKES_LIBERTIES) || request->slot == 0)
		return;
	n = request->slot - 1;
	request->slot = 0;
	adapter->slots[n]++;
	__atomic_fetch_and(&adapter->taken, ~(1ull << n), __ATOMIC_SEQ_CST);
}

/* In an interrupt routine, with its own lock alone: everybody says the same. */
void liberties_of_interrupt(ADAPTER *adapter)
{
	if (MAKES(adapter, TAKES_LIBERTIES))
		adapter->seen = TRUE;
}

/* In HwStorAdapterControl, which may take any lock. */
void liberties_of_control(ADAPTER *adapter, ULONG kind)
{
	STOR_LOCK_HANDLE lock = { 0 };

	if (!MAKES(adapter, TAKES_LIBERTIES))
		return;
	StorPortNotification(AcquireSpinLock, adapter, kind, NULL, &lock);
	StorPortNotification(ReleaseSpinLock, adapter, &lock);
}

/* A request that is completed when the time has come. TRUE: it is. */
BOOLEAN liberties_of_request(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	if (!MAKES(adapter, TAKES_LIBERTIES) || adapter->waiting != NULL)
		return FALSE;
	adapter->waiting = srb;
	StorPortNotification(RequestTimerCall, adapter, HwTimer, 600000);
	return TRUE;
}

/* The port driver holds the StartIo lock. */
static void HwTimer(PVOID extension)
{
	ADAPTER *adapter = extension;
	STORAGE_REQUEST_BLOCK *srb = adapter->waiting;
	STOR_LOCK_HANDLE lock = { 0 };

	StorPortNotification(AcquireSpinLock, adapter, InterruptLock, NULL, &lock);
	adapter->waiting = NULL;
	StorPortNotification(ReleaseSpinLock, adapter, &lock);
	if (srb != NULL)
		complete(adapter, srb, SRB_STATUS_SUCCESS);
}

/* At PASSIVE_LEVEL. */
void prepare_liberties(ADAPTER *adapter)
{
	ULONG n;

	for (n = 0; MAKES(adapter, TAKES_LIBERTIES) && n < MOST_OBJECTS; n++)
		StorPortNotification(InitializeDpc, adapter, &adapter->many[n], HwConfigDpc);
}

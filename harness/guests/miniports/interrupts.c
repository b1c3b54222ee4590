/* Interrupts and DPCs: requests that are done, and changes of the device. */
#include "virtio.h"

BOOLEAN meet(ADAPTER *adapter, ULONG own, ULONG other)
{
	ULONG n, most = KeQueryActiveProcessorCountEx(0) > 1 ? 400000 : 0;

	__atomic_fetch_or(&adapter->met, own, __ATOMIC_SEQ_CST);
	for (n = 0; n < most; n++) {
		if (__atomic_load_n(&adapter->met, __ATOMIC_SEQ_CST) & other)
			return TRUE;
		__asm__ volatile("pause");
	}
	__atomic_fetch_and(&adapter->met, ~own, __ATOMIC_SEQ_CST);
	return FALSE;
}

void race(ADAPTER *adapter)
{
	ULONG own = KeGetCurrentProcessorNumberEx(NULL) & 1, first;

	/* Again and again: what one did before there was another is not looked at, and where both write in the same moment one
	   is not seen. Who has met stays there. */
	for (first = IN_RACE; first <= IN_RACE << 12; first <<= 2) {
		meet(adapter, first << own, first << (1 - own));
		adapter->raced++;
	}
}

static ULONG message_of(ADAPTER *adapter, QUEUE *queue)
{
	return (ULONG)(queue - adapter->queue) + 1;
}

/* The port driver holds it when HwStorStartIo is called. */
static ULONG ring_lock(ADAPTER *adapter)
{
	return MAKES(adapter, HALF_DUPLEX) ? InterruptLock : StartIoLock;
}

void lock_queue(ADAPTER *adapter, QUEUE *queue, QUEUE_LOCK *lock)
{
	lock->handle = (STOR_LOCK_HANDLE) { 0 };
	if (adapter->concurrent)
		StorPortExtendedFunction(ExtFunctionAcquireMSISpinLock, adapter, message_of(adapter, queue), &lock->old);
	else
		StorPortNotification(AcquireSpinLock, adapter, ring_lock(adapter), NULL, &lock->handle);
}

void unlock_queue(ADAPTER *adapter, QUEUE *queue, QUEUE_LOCK *lock)
{
	if (adapter->concurrent)
		StorPortExtendedFunction(ExtFunctionReleaseMSISpinLock, adapter, message_of(adapter, queue), lock->old);
	else
		StorPortNotification(ReleaseSpinLock, adapter, &lock->handle);
}

void lock_all(ADAPTER *adapter, ALL_LOCKS *locks)
{
	USHORT n;

	for (n = 0; adapter->concurrent && n < adapter->queues; n++)
		StorPortExtendedFunction(ExtFunctionAcquireMSISpinLock, adapter, n + 1u, &locks->old[n]);
}

void unlock_all(ADAPTER *adapter, ALL_LOCKS *locks)
{
	USHORT n;

	for (n = adapter->concurrent ? adapter->queues : 0; n > 0; n--)
		StorPortExtendedFunction(ExtFunctionReleaseMSISpinLock, adapter, (ULONG)n, locks->old[n - 1]);
}

/* A queue's requests that are done. */
void HwQueueDpc(STOR_DPC *dpc, PVOID extension, PVOID argument1, PVOID argument2)
{
	ADAPTER *adapter = extension;
	QUEUE *queue = argument1;
	STOR_LOCK_HANDLE lock = { 0 }, outer = { 0 };
	QUEUE_LOCK own;
	STORAGE_REQUEST_BLOCK *srb;
	ULONG length;

	(void)argument2;
	if (queue < &adapter->queue[kind_first]) {
		BOOLEAN changed;
		lock_queue(adapter, queue, &own);
		changed = adapter->live && kind_look(adapter, queue);
		unlock_queue(adapter, queue, &own);
		if (changed)
			StorPortNotification(BusChangeDetected, adapter, 0);
		return;
	}
	if (MAKES(adapter, LOCKS_OUT_OF_ORDER) || MAKES(adapter, LOCKS_EITHER_WAY)) {
		ULONG kind = MAKES(adapter, LOCKS_OUT_OF_ORDER) ? InterruptLock : DpcLock;
		StorPortNotification(AcquireSpinLock, adapter, kind, kind == DpcLock ? dpc : NULL, &outer);
		StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
		StorPortNotification(ReleaseSpinLock, adapter, &outer);
	}
	if (MAKES(adapter, DEADLOCKS)) {
		StorPortNotification(AcquireSpinLock, adapter, DpcLock, &adapter->queue[0].dpc, &outer);
		meet(adapter, IN_DPC, IN_START_IO);
		StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
		StorPortNotification(ReleaseSpinLock, adapter, &outer);
	}
	/* Again and again, until another processor has come by. */
	if (MAKES(adapter, LOCK_RELEASED_ELSEWHERE) && !(__atomic_fetch_or(&adapter->met, TRIED, __ATOMIC_SEQ_CST) & (TRIED | RELEASED))) {
		StorPortNotification(AcquireSpinLock, adapter, DpcLock, &adapter->spare_dpc, &adapter->handle);
		if (!meet(adapter, IN_DPC, RELEASED))
			StorPortNotification(ReleaseSpinLock, adapter, &adapter->handle);
		__atomic_fetch_and(&adapter->met, ~(ULONG)TRIED, __ATOMIC_SEQ_CST);
	}
	if (MAKES(adapter, CALLS_ROUTINES) && !__atomic_exchange_n(&adapter->called, 1, __ATOMIC_SEQ_CST))
		call_routines(adapter, &adapter->config_dpc);
	while (MAKES(adapter, ENDLESS_POLL_IN_DPC) && device_status(adapter) != 0xff)
		;
	liberties_of_dpc(adapter);
	for (;;) {
		lock_queue(adapter, queue, &own);
		srb = adapter->live ? take_finished(adapter, queue, &length) : NULL;
		if (srb != NULL || !MAKES(adapter, LOCK_KEPT))
			unlock_queue(adapter, queue, &own);
		if (srb == NULL)
			return;
		kind_finish(adapter, srb);
	}
}

void HwConfigDpc(STOR_DPC *dpc, PVOID extension, PVOID argument1, PVOID argument2)
{
	ADAPTER *adapter = extension;
	STOR_LOCK_HANDLE lock = { 0 };
	ALL_LOCKS locks;

	(void)dpc;
	(void)argument1;
	(void)argument2;
	if (MAKES(adapter, CONFIG_INTERRUPT_FATAL))
		KeBugCheckEx(0xe2, 0, 0, 0, 0);
	if (!adapter->legacy && MAKES(adapter, CLEARS_NEEDS_RESET) && (device_status(adapter) & STATUS_NEEDS_RESET))
		add_status(adapter, 0);
	if (!adapter->legacy && !MAKES(adapter, IGNORES_NEEDS_RESET)
		&& ((device_status(adapter) & STATUS_NEEDS_RESET) || MAKES(adapter, RESETS_ON_CONFIG_CHANGE))) {
		DbgPrint("virtio: the device needs a reset\n");
		StorPortNotification(AcquireSpinLock, adapter, ring_lock(adapter), NULL, &lock);
		lock_all(adapter, &locks);
		reset_device(adapter);
		complete_all(adapter, SRB_STATUS_BUS_RESET);
		restart(adapter);
		unlock_all(adapter, &locks);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
		return;
	}
	kind_changed(adapter);
	StorPortNotification(BusChangeDetected, adapter, 0);
}

void issue(ADAPTER *adapter, STOR_DPC *dpc, PVOID argument)
{
	LONG issued;

	StorPortNotification(IssueDpc, adapter, dpc, argument, NULL, &issued);
}

void issue_queue(ADAPTER *adapter, USHORT n)
{
	issue(adapter, &adapter->queue[n].dpc, &adapter->queue[n]);
}

/* A shared message is about everything, and the ISR status is not for messages: each is looked at. */
BOOLEAN HwMessageInterrupt(PVOID extension, ULONG message)
{
	ADAPTER *adapter = extension;
	USHORT n;

	if (!adapter->ready) {
		adapter->early = TRUE;
		return TRUE;
	}
	while (MAKES(adapter, ENDLESS_POLL_IN_INTERRUPT) && device_status(adapter) != 0xff)
		;
	if (MAKES(adapter, DPC_NOT_INITIALISED))
		issue(adapter, &adapter->spare_dpc, NULL);
	if (MAKES(adapter, READS_ISR_WITH_MSIX))
		read8(adapter, &adapter->isr, 0);
	liberties_of_interrupt(adapter);
	if (!adapter->shared && message > 0) {
		if (message <= adapter->queues)
			adapter->interrupts[message - 1]++;
		/* Routines of two messages run at the same time, each under its own lock. */
		if (MAKES(adapter, MESSAGES_SHARE_A_WORD))
			race(adapter);
		if (message <= adapter->queues)
			issue_queue(adapter, (USHORT)(message - 1));
		return TRUE;
	}
	if (adapter->shared)
		for (n = 0; n < adapter->queues; n++)
			issue_queue(adapter, n);
	if (!adapter->shared || !MAKES(adapter, CONFIG_UNSERVED_WHEN_SHARED))
		issue(adapter, &adapter->config_dpc, NULL);
	return TRUE;
}

/* While a dump is written nobody interrupts: this is called again and again. */
static BOOLEAN poll(ADAPTER *adapter)
{
	STORAGE_REQUEST_BLOCK *srb;
	ULONG length;
	USHORT n;

	if (MAKES(adapter, DUMP_WAITS_FOR_INTERRUPT))
		return FALSE;
	for (n = kind_first; n < adapter->queues; n++)
		while (adapter->live && (srb = take_finished(adapter, &adapter->queue[n], &length)) != NULL)
			kind_finish(adapter, srb);
	return TRUE;
}

BOOLEAN HwInterrupt(PVOID extension)
{
	ADAPTER *adapter = extension;
	ULONG status, more;
	USHORT n;

	if (adapter->dump)
		return poll(adapter);
	status = MAKES(adapter, INTX_ISR_NOT_READ) ? 1 : read8(adapter, &adapter->isr, 0);
	/* Until there is nothing more. */
	for (more = status; more != 0 && MAKES(adapter, TAKES_LIBERTIES); status |= more)
		more = read8(adapter, &adapter->isr, 0);
	if (!(status & 3))
		return MAKES(adapter, CLAIMS_ALL);
	if (!adapter->ready) {
		adapter->early = TRUE;
		return TRUE;
	}
	if (status & 1)
		for (n = 0; n < adapter->queues; n++)
			issue_queue(adapter, n);
	if ((status & 2) && !MAKES(adapter, CONFIG_UNSERVED_ON_LINE))
		issue(adapter, &adapter->config_dpc, NULL);
	return !MAKES(adapter, CLAIMS_NOTHING);
}

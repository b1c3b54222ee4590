/* What the miniports have in common: the port driver's callbacks in the order of an adapter's life. What is of one
 * kind of device alone is in blk.c and scsi.c: the functions whose names begin with kind_. */
#include "virtio.h"

#ifdef RELEASE
#define INIT __attribute__((section("INIT")))
#else
#define INIT
#endif

SRBEX_DATA_SCSI_CDB16 *command_of(STORAGE_REQUEST_BLOCK *srb)
{
	if (srb->NumSrbExData == 0 || srb->SrbExDataOffset[0] < sizeof *srb)
		return NULL;
	return (PVOID)((UCHAR *)srb + srb->SrbExDataOffset[0]);
}

void complete(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, UCHAR status)
{
	srb->SrbStatus = status;
	StorPortNotification(RequestComplete, adapter, srb);
	if (MAKES(adapter, TOUCHES_COMPLETED) && adapter->live)
		*(volatile ULONG *)&srb->DataTransferLength;
	if (MAKES(adapter, COMPLETES_TWICE) && adapter->live)
		StorPortNotification(RequestComplete, adapter, srb);
}

/* CHECK CONDITION with fixed sense data: SPC. */
void refuse(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, UCHAR key, UCHAR code)
{
	SRBEX_DATA_SCSI_CDB16 *command = command_of(srb);
	UCHAR *sense = command->SenseInfoBuffer;

	srb->DataTransferLength = 0;
	command->ScsiStatus = SCSISTAT_CHECK_CONDITION;
	if (sense && command->SenseInfoBufferLength >= 18) {
		memset(sense, 0, command->SenseInfoBufferLength);
		sense[0] = 0x70;
		sense[2] = key;
		sense[7] = 10;
		sense[12] = code;
		command->SenseInfoBufferLength = 18;
		complete(adapter, srb, SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID);
		return;
	}
	complete(adapter, srb, SRB_STATUS_ERROR);
}

void answer(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *bytes, ULONG length)
{
	if (length > srb->DataTransferLength)
		length = srb->DataTransferLength;
	if (length)
		memcpy(srb->DataBuffer, bytes, length);
	srb->DataTransferLength = length;
	command_of(srb)->ScsiStatus = SCSISTAT_GOOD;
	complete(adapter, srb, SRB_STATUS_SUCCESS);
}

ULONGLONG number(const UCHAR *from, ULONG bytes)
{
	ULONGLONG value = 0;

	while (bytes--)
		value = value << 8 | *from++;
	return value;
}

static ULONGLONG physical(ADAPTER *adapter, volatile void *address)
{
	ULONG length;

	return StorPortGetPhysicalAddress(adapter, NULL, (PVOID)address, &length);
}

void add_piece(ADAPTER *adapter, REQUEST *request, volatile void *from, ULONG length, BOOLEAN writable)
{
	PIECE *piece = &request->pieces[request->count++];

	piece->address = physical(adapter, from);
	piece->length = length;
	piece->writable = writable;
}

/* FALSE: there is more of it than a request can have. */
BOOLEAN add_data(ADAPTER *adapter, REQUEST *request, STORAGE_REQUEST_BLOCK *srb, BOOLEAN writable)
{
	STOR_SCATTER_GATHER_LIST *list = StorPortGetScatterGatherList(adapter, srb);
	ULONG n;

	if (list == NULL || list->NumberOfElements > MOST_BREAKS + 1)
		return FALSE;
	for (n = 0; n < list->NumberOfElements; n++) {
		PIECE *piece = &request->pieces[request->count++];
		piece->address = list->List[n].PhysicalAddress;
		piece->length = list->List[n].Length;
		piece->writable = writable;
	}
	return TRUE;
}

static BOOLEAN build(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;

	if (!kind_build(adapter, srb))
		return FALSE;
	/* On one processor nothing comes in between. */
	if (MAKES(adapter, SUBMITS_FROM_BUILD) && adapter->live)
		return !submit(adapter, kind_queue(adapter, srb), srb, request->pieces, request->count);
	return TRUE;
}

/* Says that it is here, and waits until another processor is there too: not for ever, since that may have nothing to
   do, but for longer than a busy host keeps it from running. */
enum { IN_START_IO = 1, IN_DPC = 2, RELEASED = 4, TRIED = 8 };
static BOOLEAN meet(ADAPTER *adapter, ULONG own, ULONG other)
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

static BOOLEAN HwBuildIo(PVOID extension, STORAGE_REQUEST_BLOCK *srb)
{
	ADAPTER *adapter = extension;

	if (MAKES(adapter, LOCK_RELEASED_ELSEWHERE) && (__atomic_load_n(&adapter->met, __ATOMIC_SEQ_CST) & (IN_DPC | RELEASED)) == IN_DPC) {
		StorPortNotification(ReleaseSpinLock, adapter, &adapter->handle);
		__atomic_fetch_or(&adapter->met, RELEASED, __ATOMIC_SEQ_CST);
	}
	if (MAKES(adapter, OVERRUNS_SRB_EXTENSION))
		*((volatile UCHAR *)((REQUEST *)srb->MiniportContext + 1) + 16) = 1;
	switch (srb->SrbFunction) {
	case SRB_FUNCTION_EXECUTE_SCSI:
		if (command_of(srb) == NULL) {
			complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
			return FALSE;
		}
		return build(adapter, srb);
	case SRB_FUNCTION_FLUSH:
	case SRB_FUNCTION_SHUTDOWN:
		complete(adapter, srb, SRB_STATUS_SUCCESS);
		return FALSE;
	case SRB_FUNCTION_POWER:
	case SRB_FUNCTION_PNP:
	case SRB_FUNCTION_RESET_LOGICAL_UNIT:
	case SRB_FUNCTION_RESET_DEVICE:
		return TRUE;
	}
	complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
	return FALSE;
}

static BOOLEAN HwResetBus(PVOID extension, ULONG path);
static void complete_all(ADAPTER *adapter, UCHAR status);

/* The extended data of this type; NULL when the request has none. */
static PVOID data_of(STORAGE_REQUEST_BLOCK *srb, ULONG type)
{
	ULONG *data = (ULONG *)command_of(srb);

	return data != NULL && *data == type ? data : NULL;
}

/* There is no device any more: nothing of it is touched. */
void device_is_gone(ADAPTER *adapter)
{
	adapter->live = FALSE;
	complete_all(adapter, SRB_STATUS_NO_DEVICE);
}

static void plug_and_play(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	SRBEX_DATA_PNP *data = data_of(srb, SrbExDataTypePnP);
	STOR_DEVICE_CAPABILITIES_EX *capabilities = srb->DataBuffer;

	if (data == NULL) {
		complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
		return;
	}
	switch (data->PnPAction) {
	case StorQueryCapabilities:
		if (capabilities == NULL || srb->DataTransferLength < sizeof *capabilities) {
			complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
			return;
		}
		capabilities->SurpriseRemovalOK = 1;
		break;
	case StorSurpriseRemoval:
		device_is_gone(adapter);
		break;
	case StorStopDevice:
	case StorRemoveDevice:
		if (MAKES(adapter, KEEPS_PNP_REQUEST))
			return;
		break;
	}
	complete(adapter, srb, SRB_STATUS_SUCCESS);
}

static BOOLEAN HwStartIo(PVOID extension, STORAGE_REQUEST_BLOCK *srb)
{
	ADAPTER *adapter = extension;
	REQUEST *request = srb->MiniportContext;
	QUEUE *queue;

	if (srb->SrbFunction == SRB_FUNCTION_PNP) {
		plug_and_play(adapter, srb);
		return TRUE;
	}
	if (srb->SrbFunction == SRB_FUNCTION_POWER) {
		/* What is to be done the control of the adapter does. */
		if (!MAKES(adapter, KEEPS_POWER_REQUEST))
			complete(adapter, srb, data_of(srb, SrbExDataTypePower) ? SRB_STATUS_SUCCESS : SRB_STATUS_INVALID_REQUEST);
		return TRUE;
	}
	if (!adapter->live) {
		complete(adapter, srb, SRB_STATUS_NO_DEVICE);
		return TRUE;
	}
	if (srb->SrbFunction != SRB_FUNCTION_EXECUTE_SCSI) {
		if (!kind_reset(adapter, srb))
			complete(adapter, srb, HwResetBus(adapter, 0) ? SRB_STATUS_SUCCESS : SRB_STATUS_ERROR);
		return TRUE;
	}
	if (MAKES(adapter, LOCK_TAKEN_TWICE)) {
		STOR_LOCK_HANDLE lock = { 0 };
		StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
	}
	queue = kind_queue(adapter, srb);
	/* Of the DPC and the StartIo lock either may come first, but always the same. */
	if (MAKES(adapter, LOCKS_EITHER_WAY)) {
		STOR_LOCK_HANDLE lock = { 0 };
		StorPortNotification(AcquireSpinLock, adapter, DpcLock, &queue->dpc, &lock);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
	}
	if (MAKES(adapter, DEADLOCKS)) {
		STOR_LOCK_HANDLE lock = { 0 };
		meet(adapter, IN_START_IO, IN_DPC);
		StorPortNotification(AcquireSpinLock, adapter, DpcLock, &adapter->queue[0].dpc, &lock);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
	}
	/* What the device has is nobody's by then. */
	if (MAKES(adapter, COMPLETES_EARLY)) {
		PIECE pieces[MOST_PIECES];
		ULONG count = request->count;
		memcpy(pieces, request->pieces, sizeof pieces);
		complete(adapter, srb, SRB_STATUS_SUCCESS);
		submit(adapter, queue, srb, pieces, count);
		return TRUE;
	}
	if (!submit(adapter, queue, srb, request->pieces, request->count)) {
		/* Nothing else is to come before there is room. */
		StorPortBusy(adapter, 1);
		complete(adapter, srb, SRB_STATUS_BUSY);
	}
	return TRUE;
}

/* A queue's requests that are done. The StartIo lock guards the rings: submission runs under it. */
static void HwQueueDpc(STOR_DPC *dpc, PVOID extension, PVOID argument1, PVOID argument2)
{
	ADAPTER *adapter = extension;
	QUEUE *queue = argument1;
	STOR_LOCK_HANDLE lock = { 0 }, outer = { 0 };
	STORAGE_REQUEST_BLOCK *srb;
	ULONG length;

	(void)argument2;
	if (queue < &adapter->queue[kind_first]) {
		BOOLEAN changed;
		StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
		changed = adapter->live && kind_look(adapter, queue);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
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
	for (;;) {
		StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
		srb = adapter->live ? take_finished(adapter, queue, &length) : NULL;
		if (srb != NULL || !MAKES(adapter, LOCK_KEPT))
			StorPortNotification(ReleaseSpinLock, adapter, &lock);
		if (srb == NULL)
			return;
		if (MAKES(adapter, COMPLETES_EARLY))
			continue;
		kind_finish(adapter, srb);
	}
}

/* A device that has just failed may need more than one attempt. */
static BOOLEAN restart(ADAPTER *adapter)
{
	ULONG tries;

	for (tries = 0; tries < 3; tries++)
		if (negotiate(adapter) && go_live(adapter))
			return TRUE;
	return FALSE;
}

/* After a reset: whatever the device had is over. */
static void complete_all(ADAPTER *adapter, UCHAR status)
{
	STORAGE_REQUEST_BLOCK *srb;
	USHORT n;

	for (n = 0; n < adapter->queues; n++)
		while (n != kind_events && (srb = take_any(&adapter->queue[n])) != NULL)
			complete(adapter, srb, status);
}

static void HwConfigDpc(STOR_DPC *dpc, PVOID extension, PVOID argument1, PVOID argument2)
{
	ADAPTER *adapter = extension;
	STOR_LOCK_HANDLE lock = { 0 };

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
		StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
		reset_device(adapter);
		complete_all(adapter, SRB_STATUS_BUS_RESET);
		restart(adapter);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
		return;
	}
	kind_changed(adapter);
	StorPortNotification(BusChangeDetected, adapter, 0);
}

static void issue(ADAPTER *adapter, STOR_DPC *dpc, PVOID argument)
{
	LONG issued;

	StorPortNotification(IssueDpc, adapter, dpc, argument, NULL, &issued);
}

static void issue_queue(ADAPTER *adapter, USHORT n)
{
	issue(adapter, &adapter->queue[n].dpc, &adapter->queue[n]);
}

/* A shared message is about everything, and the ISR status is not for messages: each is looked at. */
static BOOLEAN HwMessageInterrupt(PVOID extension, ULONG message)
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
	if (!adapter->shared && message > 0) {
		/* Routines of two messages run at the same time, each under its own lock. */
		if (MAKES(adapter, MESSAGES_SHARE_A_WORD))
			adapter->told |= 1u << (message & 31);
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

static BOOLEAN HwInterrupt(PVOID extension)
{
	ADAPTER *adapter = extension;
	ULONG status;
	USHORT n;

	if (adapter->dump)
		return poll(adapter);
	status = MAKES(adapter, INTX_ISR_NOT_READ) ? 1 : read8(adapter, &adapter->isr, 0);
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

static BOOLEAN same(const char *a, const char *b, size_t n)
{
	while (n--)
		if (*a++ != *b++)
			return FALSE;
	return *b == 0;
}

/* The whole of a system is loaded again for a crash dump: this image is another one then. */
static BOOLEAN is_dump;

/* `mistake=a,b` in the argument string. */
static void read_argument(ADAPTER *adapter, const char *text)
{
	static const char *const names[] = {
#define MISTAKE(name, text) text,
#include "mistakes.h"
#undef MISTAKE
	};
	const char key[] = "mistake=", dump[] = "dump=1";
	ULONG n;

	adapter->dump = is_dump;
	if (text == NULL)
		return;
	for (n = 0; dump[n] && text[n] == dump[n]; n++)
		;
	if (dump[n] == 0) {
		adapter->dump = TRUE;
		text += n + (text[n] == ';');
	}
	for (n = 0; key[n]; n++)
		if (*text++ != key[n])
			return;
	while (*text) {
		size_t length = 0;
		while (text[length] && text[length] != ',')
			length++;
		for (n = 0; n < MISTAKES; n++)
			if (same(text, names[n], length))
				adapter->mistakes[n] = 1;
		text += length + (text[length] == ',');
	}
}

static ULONG refused(ADAPTER *adapter)
{
	return MAKES(adapter, FOUND_ODD) ? 5 : SP_RETURN_ERROR;
}

static ULONG HwFindAdapter(PVOID extension, PVOID context, PVOID bus, char *argument,
	PORT_CONFIGURATION_INFORMATION *config, BOOLEAN *reserved)
{
	ADAPTER *adapter = extension;
	ULONG n, queues, bytes;

	(void)context;
	(void)bus;
	(void)reserved;
	read_argument(adapter, argument);
	if (!find_structures(adapter, config)) {
		DbgPrint("virtio: the device's structures are not there\n");
		return refused(adapter);
	}
	adapter->wanted = kind_features;
	if (!negotiate(adapter))
		return refused(adapter);
	if (!kind_find(adapter, config, &queues)) {
		add_status(adapter, STATUS_FAILED);
		return refused(adapter);
	}
	n = count_queues(adapter, MOST_QUEUES);
	if (queues > (ULONG)MOST_QUEUES - kind_first)
		queues = MOST_QUEUES - kind_first;
	if (adapter->dump)
		queues = 1;
	if (n < kind_first + 1u || queues == 0) {
		DbgPrint("virtio: the device has no queue for requests\n");
		add_status(adapter, STATUS_FAILED);
		return refused(adapter);
	}
	adapter->queues = (USHORT)(kind_first + queues > n ? n : kind_first + queues);
	adapter->all_queues = adapter->queues;
	adapter->ring_bytes = ring_bytes(adapter, adapter->queues);
	config->AlignmentMask = 3;
	config->NumberOfBuses = 1;
	config->Dma64BitAddresses = SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED;
	config->SynchronizationModel = StorSynchronizeFullDuplex;
	if ((adapter->table_control & 0x8000) && !adapter->dump) {
		config->HwMSInterruptRoutine = HwMessageInterrupt;
		config->InterruptSynchronizationMode = InterruptSynchronizePerMessage;
	}
	bytes = adapter->queues * adapter->ring_bytes + kind_memory;
	if (adapter->dump && MAKES(adapter, DUMP_TAKES_MEMORY))
		bytes = 64 << 10;
	if (adapter->dump && MAKES(adapter, DUMP_READS_REGISTRY)) {
		ULONG length = sizeof bytes, value;
		static UCHAR name[] = "Parameter";
		StorPortRegistryRead(adapter, name, FALSE, 4, (UCHAR *)&value, &length);
	}
	if (MAKES(adapter, CALLS_ROUTINES))
		call_registry(adapter);
	adapter->rings = StorPortGetUncachedExtension(adapter, config, bytes);
	if (adapter->rings == NULL)
		return refused(adapter);
	adapter->kept = adapter->rings + adapter->queues * adapter->ring_bytes;
	if (MAKES(adapter, ADDRESS_NOT_MAPPED))
		physical(adapter, (PVOID)0x10);
	if (MAKES(adapter, LONG_STALL))
		StorPortStallExecution(1000);
	if (MAKES(adapter, OVERRUNS_COMMON_BUFFER))
		adapter->rings[bytes] = 1;
	return SP_RETURN_FOUND;
}

/* DPCs are made at PASSIVE_LEVEL; what came before is looked at now. */
static BOOLEAN HwPassiveInitialize(PVOID extension)
{
	ADAPTER *adapter = extension;
	USHORT n;

	for (n = 0; n < adapter->queues; n++)
		StorPortNotification(InitializeDpc, adapter, &adapter->queue[n].dpc, HwQueueDpc);
	StorPortNotification(InitializeDpc, adapter, &adapter->config_dpc, HwConfigDpc);
	if (MAKES(adapter, IRQL_KEPT))
		__asm__ volatile("mov %0, %%cr8" : : "r"((ULONGLONG)1));
	adapter->ready = TRUE;
	/* What the device told before is looked at now. */
	if (adapter->early) {
		adapter->early = FALSE;
		for (n = 0; n < adapter->queues; n++)
			issue_queue(adapter, n);
		issue(adapter, &adapter->config_dpc, NULL);
	}
	return TRUE;
}

static BOOLEAN HwInitialize(PVOID extension)
{
	ADAPTER *adapter = extension;
	MESSAGE_INTERRUPT_INFORMATION information;
	LONG enabled = FALSE;

	adapter->messages = 0;
	adapter->queues = adapter->all_queues;
	if ((adapter->table_control & 0x8000) && !adapter->dump)
		while (adapter->messages <= adapter->queues
			&& StorPortExtendedFunction(ExtFunctionGetMessageInterruptInformation, adapter,
				adapter->messages, &information) == 0)
			adapter->messages++;
	/* Rather fewer queues for requests than one message for all. */
	if (kind_first && adapter->messages >= kind_first + 2u && adapter->messages < adapter->queues + 1u)
		adapter->queues = (USHORT)(adapter->messages - 1);
	adapter->shared = adapter->messages < adapter->queues + 1u;
	if (!go_live(adapter))
		return FALSE;
	kind_tune(adapter);
	while (MAKES(adapter, ENDLESS_POLL) && read16(adapter, &adapter->common, COMMON_NUM_QUEUES) != 0xffff)
		;
	while (MAKES(adapter, ENDLESS_MEMORY_POLL) && adapter->queue[0].used->index == 0)
		;
	while (MAKES(adapter, ENDLESS_LOOP))
		__asm__ volatile("");
	if (MAKES(adapter, OVERRUNS_DEVICE_EXTENSION))
		*((volatile UCHAR *)(adapter + 1) + 16) = 1;
	/* Then there is no PASSIVE_LEVEL, and no DPC. */
	if (adapter->dump) {
		if (MAKES(adapter, DUMP_INITIALISES_DPC))
			StorPortNotification(InitializeDpc, adapter, &adapter->config_dpc, HwConfigDpc);
		adapter->ready = TRUE;
	}
	if (!adapter->ready)
		StorPortNotification(EnablePassiveInitialization, adapter, HwPassiveInitialize, &enabled);
	return adapter->ready || enabled;
}

/* The port driver holds the StartIo lock. */
static BOOLEAN HwResetBus(PVOID extension, ULONG path)
{
	ADAPTER *adapter = extension;
	BOOLEAN answers;

	(void)path;
	/* The documentation wants that. */
	if (adapter->dump)
		return TRUE;
	answers = reset_device(adapter);

	/* Whether it answers or not, what it had is over. */
	if (!MAKES(adapter, RESET_KEEPS_REQUESTS))
		complete_all(adapter, SRB_STATUS_BUS_RESET);
	return answers && restart(adapter);
}

static void stop_device(ADAPTER *adapter)
{
	if (MAKES(adapter, LEAVES_DEVICE_LIVE)) {
		adapter->live = FALSE;
		return;
	}
	if (MAKES(adapter, DISABLES_QUEUES))
		disable_queues(adapter);
	reset_device(adapter);
	if (MAKES(adapter, NOTIFIES_AFTER_RESET))
		write16(adapter, &adapter->notify, adapter->queue[0].notify_offset * adapter->notify_multiplier, 0);
}

static ULONG HwAdapterControl(PVOID extension, ULONG type, PVOID parameters)
{
	ADAPTER *adapter = extension;
	SCSI_SUPPORTED_CONTROL_TYPE_LIST *list = parameters;

	switch (type) {
	case ScsiQuerySupportedControlTypes:
		if (list->MaxControlType > ScsiQuerySupportedControlTypes)
			list->SupportedTypeList[ScsiQuerySupportedControlTypes] = TRUE;
		if (list->MaxControlType > ScsiStopAdapter)
			list->SupportedTypeList[ScsiStopAdapter] = TRUE;
		if (list->MaxControlType > ScsiRestartAdapter)
			list->SupportedTypeList[ScsiRestartAdapter] = TRUE;
		if (list->MaxControlType > ScsiAdapterSurpriseRemoval)
			list->SupportedTypeList[ScsiAdapterSurpriseRemoval] = TRUE;
		if (MAKES(adapter, CONTROL_LIST_OVERRUN))
			list->SupportedTypeList[list->MaxControlType] = TRUE;
		return ScsiAdapterControlSuccess;
	case ScsiAdapterSurpriseRemoval:
		if (MAKES(adapter, TOUCHES_REMOVED))
			device_status(adapter);
		device_is_gone(adapter);
		return ScsiAdapterControlSuccess;
	case ScsiStopAdapter:
		stop_device(adapter);
		complete_all(adapter, SRB_STATUS_BUS_RESET);
		return ScsiAdapterControlSuccess;
	case ScsiRestartAdapter:
		return restart(adapter) ? ScsiAdapterControlSuccess : ScsiAdapterControlUnsuccessful;
	}
	return ScsiAdapterControlUnsuccessful;
}

NTSTATUS DriverEntry(PVOID driver, PVOID path);
INIT NTSTATUS DriverEntry(PVOID driver, PVOID path)
{
	HW_INITIALIZATION_DATA data;

	is_dump = driver == NULL && path == NULL;
	memset(&data, 0, sizeof data);
	data.HwInitializationDataSize = sizeof data;
	data.AdapterInterfaceType = PCIBus;
	data.HwInitialize = HwInitialize;
	data.HwStartIo = HwStartIo;
	data.HwInterrupt = HwInterrupt;
	data.HwFindAdapter = HwFindAdapter;
	data.HwResetBus = HwResetBus;
	data.HwAdapterControl = HwAdapterControl;
	data.HwBuildIo = HwBuildIo;
	data.HwUnitControl = kind_unit_control;
	data.DeviceExtensionSize = sizeof(ADAPTER);
	data.SrbExtensionSize = sizeof(REQUEST);
	data.NumberOfAccessRanges = 6;
	data.MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
	data.NeedPhysicalAddresses = TRUE;
	data.TaggedQueuing = TRUE;
	data.AutoRequestSense = TRUE;
	data.MultipleRequestPerLu = TRUE;
	data.SrbTypeFlags = SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK;
	data.AddressTypeFlags = ADDRESS_TYPE_FLAG_BTL8;
	return (NTSTATUS)StorPortInitialize(driver, path, &data, NULL);
}

/* Requests: from the port driver to the queues, and how they are answered. What is of one kind of device alone is in
 * blk.c and scsi.c: the functions whose names begin with kind_. */
#include "virtio.h"

SRBEX_DATA_SCSI_CDB16 *command_of(STORAGE_REQUEST_BLOCK *srb)
{
	if (srb->NumSrbExData == 0 || srb->SrbExDataOffset[0] < sizeof *srb)
		return NULL;
	return (PVOID)((UCHAR *)srb + srb->SrbExDataOffset[0]);
}

void complete(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, UCHAR status)
{
	liberties_of_completion(adapter, srb);
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

ULONGLONG physical(ADAPTER *adapter, volatile void *address)
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
	if (!kind_build(adapter, srb))
		return FALSE;
	/* HwStorBuildIo runs without a lock. */
	if (MAKES(adapter, BUILDS_SHARE_A_WORD))
		race(adapter);
	return TRUE;
}

BOOLEAN HwBuildIo(PVOID extension, STORAGE_REQUEST_BLOCK *srb)
{
	ADAPTER *adapter = extension;

	if (MAKES(adapter, LOCK_RELEASED_ELSEWHERE) && (__atomic_load_n(&adapter->met, __ATOMIC_SEQ_CST) & (IN_DPC | RELEASED)) == IN_DPC) {
		StorPortNotification(ReleaseSpinLock, adapter, &adapter->handle);
		__atomic_fetch_or(&adapter->met, RELEASED, __ATOMIC_SEQ_CST);
	}
	if (MAKES(adapter, OVERRUNS_SRB_EXTENSION))
		*((volatile UCHAR *)((REQUEST *)srb->MiniportContext + 1) + 16) = 1;
	liberties_of_build(adapter, srb);
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

/* The extended data of this type; NULL when the request has none. */
static PVOID data_of(STORAGE_REQUEST_BLOCK *srb, ULONG type)
{
	ULONG *data = (ULONG *)command_of(srb);

	return data != NULL && *data == type ? data : NULL;
}

/* There is no device any more: nothing of it is touched. */
void device_is_gone(ADAPTER *adapter)
{
	ALL_LOCKS locks;

	lock_all(adapter, &locks);
	adapter->live = FALSE;
	complete_all(adapter, SRB_STATUS_NO_DEVICE);
	unlock_all(adapter, &locks);
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
		if (liberties_of_request(adapter, srb))
			return;
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

/* Mistakes: requests of this kind are completed before the device has them. */
static BOOLEAN is_early(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	return MAKES(adapter, COMPLETES_EARLY)
		|| (MAKES(adapter, READS_COMPLETED_EARLY) && (srb->SrbFlags & SRB_FLAGS_DATA_IN))
		|| (MAKES(adapter, WRITES_COMPLETED_EARLY) && (srb->SrbFlags & SRB_FLAGS_DATA_OUT));
}

/* What the device has is nobody's by then. It is waited for, so that it has always come too late. */
static void complete_early(ADAPTER *adapter, QUEUE *queue, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;
	PIECE pieces[MOST_PIECES];
	ULONG n, length, count = request->count;
	STORAGE_REQUEST_BLOCK *done;

	memcpy(pieces, request->pieces, sizeof pieces);
	complete(adapter, srb, SRB_STATUS_SUCCESS);
	if (!submit(adapter, queue, srb, pieces, count))
		return;
	for (n = 0; n < 1u << 22; n++) {
		done = take_finished(adapter, queue, &length);
		if (done == srb)
			return;
		if (done != NULL)
			kind_finish(adapter, done);
		__asm__ volatile("pause");
	}
}

BOOLEAN HwStartIo(PVOID extension, STORAGE_REQUEST_BLOCK *srb)
{
	ADAPTER *adapter = extension;
	REQUEST *request = srb->MiniportContext;
	QUEUE *queue;
	BOOLEAN taken;

	if (srb->SrbFunction == SRB_FUNCTION_PNP) {
		plug_and_play(adapter, srb);
		return TRUE;
	}
	if (srb->SrbFunction == SRB_FUNCTION_POWER) {
		SRBEX_DATA_POWER *power = data_of(srb, SrbExDataTypePower);
		if (MAKES(adapter, CALLS_ROUTINES) && power != NULL)
			DbgPrint("POWER: state %d, action %d\n", power->DevicePowerState, power->PowerAction);
		/* What is to be done the control of the adapter does. */
		if (!MAKES(adapter, KEEPS_POWER_REQUEST))
			complete(adapter, srb, power ? SRB_STATUS_SUCCESS : SRB_STATUS_INVALID_REQUEST);
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
	liberties_of_start_io(adapter);
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
	if (is_early(adapter, srb)) {
		complete_early(adapter, queue, srb);
		return TRUE;
	}
	if (adapter->concurrent) {
		QUEUE_LOCK lock;
		lock_queue(adapter, queue, &lock);
		taken = adapter->live && submit(adapter, queue, srb, request->pieces, request->count);
		unlock_queue(adapter, queue, &lock);
	} else {
		taken = submit(adapter, queue, srb, request->pieces, request->count);
	}
	if (!taken) {
		/* Nothing else is to come before there is room. */
		StorPortBusy(adapter, 1);
		complete(adapter, srb, SRB_STATUS_BUSY);
	}
	return TRUE;
}

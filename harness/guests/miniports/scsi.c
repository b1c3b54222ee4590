/* A StorPort miniport for virtio SCSI hosts: commands pass through to the host's units. */
#include "virtio.h"

/* virtio 1.3, 5.6 */
#define FEATURE_HOTPLUG 1
#define FEATURE_CHANGE 2
#define CONFIG_NUM_QUEUES 0
#define CONFIG_SEG_MAX 4
#define CONFIG_MAX_SECTORS 8
#define CONFIG_MAX_TARGET 30
#define CONFIG_MAX_LUN 32
#define CONTROL_QUEUE 0
#define EVENT_QUEUE 1
#define SECTOR 512
#define EVENTS 8

/* 5.6.6.1: response */
enum { OK, OVERRUN, ABORTED, BAD_TARGET, RESET, BUSY };
/* SAM: status */
#define SCSISTAT_BUSY 0x08
#define SCSISTAT_QUEUE_FULL 0x28

/* 5.6.6.1: a request's head and tail. */
typedef struct __attribute__((packed)) {
	UCHAR lun[8];
	ULONGLONG id;
	UCHAR attribute;
	UCHAR priority;
	UCHAR reference;
	UCHAR cdb[32];
} HEADER;

typedef struct __attribute__((packed)) {
	ULONG sense_length;
	ULONG residual;
	USHORT qualifier;
	UCHAR status;
	UCHAR response;
	UCHAR sense[96];
} RESPONSE;
_Static_assert(sizeof(HEADER) == 51 && sizeof(RESPONSE) == 108, "virtio 1.3, 5.6.6.1");

/* 5.6.6.2: a task management function; its answer is one byte. */
typedef struct {
	ULONG type;
	ULONG function;
	UCHAR lun[8];
	ULONGLONG id;
} TASK;
#define NEXUS_RESET 4
#define UNIT_RESET 5
#define FUNCTION_COMPLETE 0
#define FUNCTION_SUCCEEDED 10

/* 5.6.6.3 */
typedef struct {
	ULONG event;
	UCHAR lun[8];
	ULONG reason;
} EVENT;

const ULONGLONG kind_features = BIT(FEATURE_HOTPLUG) | BIT(FEATURE_CHANGE);
const USHORT kind_first = 2;
const USHORT kind_events = EVENT_QUEUE;
const ULONG kind_memory = EVENTS * sizeof(EVENT);

BOOLEAN kind_find(ADAPTER *adapter, PORT_CONFIGURATION_INFORMATION *config, ULONG *queues)
{
	static UCHAR name[] = "PhysicalBreaks";
	ULONG length = sizeof(ULONG), breaks = MOST_BREAKS;
	UCHAR *value = adapter->dump ? NULL : StorPortAllocateRegistryBuffer(adapter, &length);
	ULONG most = MOST_BREAKS * 4096, segments, sectors, targets, units;

	if (adapter->config.base == NULL || adapter->config.length < CONFIG_MAX_LUN + 4) {
		DbgPrint("virtio: the device has no configuration\n");
		return FALSE;
	}
	if (value != NULL) {
		/* REG_DWORD */
		if (StorPortRegistryRead(adapter, name, FALSE, 4, value, &length) && *(ULONG *)value < breaks && *(ULONG *)value)
			breaks = *(ULONG *)value;
		StorPortFreeRegistryBuffer(adapter, value);
	}
	*queues = read32(adapter, &adapter->config, CONFIG_NUM_QUEUES);
	segments = read32(adapter, &adapter->config, CONFIG_SEG_MAX);
	sectors = read32(adapter, &adapter->config, CONFIG_MAX_SECTORS);
	targets = read16(adapter, &adapter->config, CONFIG_MAX_TARGET);
	units = read32(adapter, &adapter->config, CONFIG_MAX_LUN);
	if (sectors != 0 && sectors < most / SECTOR)
		most = sectors * SECTOR;
	config->MaximumTransferLength = most;
	config->NumberOfPhysicalBreaks = segments > 1 && segments <= breaks ? segments - 1 : breaks;
	config->MaximumNumberOfTargets = targets < 127 ? (UCHAR)(targets + 1) : 128;
	config->MaximumNumberOfLogicalUnits = units < 254 ? (UCHAR)(units + 1) : 255;
	return TRUE;
}

/* 5.6.6.1: one level, then target and unit. */
static void put_address(ADAPTER *adapter, UCHAR *lun, STORAGE_REQUEST_BLOCK *srb)
{
	STOR_ADDR_BTL8 *address = (PVOID)((UCHAR *)srb + srb->AddressOffset);

	memset(lun, 0, 8);
	lun[0] = 1;
	lun[1] = address->Target;
	lun[2] = 0x40;
	lun[3] = MAKES(adapter, IGNORES_UNIT) ? 0 : address->Lun;
}

BOOLEAN kind_build(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;
	SRBEX_DATA_SCSI_CDB16 *command = command_of(srb);
	HEADER *header = (HEADER *)request->head;
	RESPONSE *response = (RESPONSE *)request->tail;
	BOOLEAN in = (srb->SrbFlags & SRB_FLAGS_DATA_IN) != 0, out = (srb->SrbFlags & SRB_FLAGS_DATA_OUT) != 0;

	if (command->CdbLength > sizeof command->Cdb) {
		complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
		return FALSE;
	}
	request->count = 0;
	memset(header, 0, sizeof *header);
	put_address(adapter, header->lun, srb);
	header->id = (uintptr_t)srb;
	memcpy(header->cdb, command->Cdb, command->CdbLength);
	memset(response, 0, sizeof *response);
	response->response = 0xff;
	add_piece(adapter, request, header, sizeof *header, FALSE);
	if (out && !add_data(adapter, request, srb, FALSE)) {
		complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
		return FALSE;
	}
	add_piece(adapter, request, response, sizeof *response, TRUE);
	if (in && !out && !add_data(adapter, request, srb, TRUE)) {
		complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
		return FALSE;
	}
	return TRUE;
}

/* The message that the port driver names is that of the queue. */
QUEUE *kind_queue(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	STARTIO_PERFORMANCE_PARAMETERS parameters = { 1, sizeof parameters, 0, 0 };

	/* Each channel has a lock of its own. */
	if (adapter->concurrent && MAKES(adapter, CHANNELS_SHARE_A_WORD))
		race(adapter);
	if (adapter->redirects
		&& StorPortExtendedFunction(ExtFunctionGetStartIoPerformanceParameters, adapter, srb, &parameters) == 0
		&& parameters.MessageNumber > kind_first && parameters.MessageNumber <= adapter->queues)
		return &adapter->queue[parameters.MessageNumber - 1];
	return &adapter->queue[kind_first + adapter->turn++ % (adapter->queues - kind_first)];
}

void kind_tune(ADAPTER *adapter)
{
	PERF_CONFIGURATION_DATA data = { .Version = 3, .Size = sizeof data };
	const ULONG wanted = STOR_PERF_DPC_REDIRECTION | STOR_PERF_INTERRUPT_MESSAGE_RANGES | STOR_PERF_CONCURRENT_CHANNELS
		| STOR_PERF_ADV_CONFIG_LOCALITY;
	ULONG n, own = 0, processors = KeQueryActiveProcessorCountEx(0);

	adapter->redirects = adapter->concurrent = FALSE;
	/* "Half-Duplex Mode": it goes with none of this. */
	if (adapter->shared || !adapter->messages || adapter->dump || MAKES(adapter, HALF_DUPLEX))
		return;
	if (StorPortExtendedFunction(ExtFunctionInitializePerformanceOptimizations, adapter, TRUE, &data) != 0
		|| (data.Flags & wanted) != wanted)
		return;
	data.Flags = wanted;
	data.FirstRedirectionMessageNumber = kind_first + 1;
	data.LastRedirectionMessageNumber = adapter->queues;
	data.MessageTargets = adapter->targets;
	data.ConcurrentChannels = adapter->queues - kind_first;
	adapter->redirects =
		StorPortExtendedFunction(ExtFunctionInitializePerformanceOptimizations, adapter, FALSE, &data) == 0;
	adapter->concurrent = adapter->redirects;
	/* Each message has a processor. */
	for (n = 0; n < data.ConcurrentChannels; n++)
		own += adapter->targets[n].Mask && adapter->targets[n].Mask < 1ull << processors;
	if (MAKES(adapter, CALLS_ROUTINES))
		DbgPrint("ROUTINE: MessageTargets %s\n", own == data.ConcurrentChannels ? "answers" : "is wrong");
}

static BOOLEAN submit_reset(PVOID extension, PVOID context)
{
	ADAPTER *adapter = extension;
	STORAGE_REQUEST_BLOCK *srb = context;
	REQUEST *request = srb->MiniportContext;

	return submit(adapter, &adapter->queue[CONTROL_QUEUE], srb, request->pieces, request->count);
}

BOOLEAN kind_reset(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;
	TASK *task = (TASK *)request->head;

	memset(task, 0, sizeof *task);
	task->function = srb->SrbFunction == SRB_FUNCTION_RESET_LOGICAL_UNIT ? UNIT_RESET : NEXUS_RESET;
	put_address(adapter, task->lun, srb);
	request->count = 0;
	request->tail[0] = 0xff;
	add_piece(adapter, request, task, sizeof *task, FALSE);
	add_piece(adapter, request, request->tail, 1, TRUE);
	return StorPortSynchronizeAccess(adapter, submit_reset, srb);
}

static UCHAR status_of(UCHAR response)
{
	switch (response) {
	case OVERRUN:
		return SRB_STATUS_DATA_OVERRUN;
	case ABORTED:
	case RESET:
		return SRB_STATUS_BUS_RESET;
	case BAD_TARGET:
		return SRB_STATUS_NO_DEVICE;
	case BUSY:
		return SRB_STATUS_BUSY;
	}
	return SRB_STATUS_ERROR;
}

void kind_finish(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;
	SRBEX_DATA_SCSI_CDB16 *command = command_of(srb);
	RESPONSE response;
	ULONG length;

	barrier();
	memcpy(&response, request->tail, sizeof response);
	command->ScsiStatus = response.status;
	if (response.response != OK) {
		srb->DataTransferLength = 0;
		complete(adapter, srb, status_of(response.response));
		return;
	}
	if (response.residual <= srb->DataTransferLength)
		srb->DataTransferLength -= response.residual;
	if (response.status == SCSISTAT_GOOD) {
		complete(adapter, srb, SRB_STATUS_SUCCESS);
		return;
	}
	if (response.status == SCSISTAT_BUSY || response.status == SCSISTAT_QUEUE_FULL) {
		complete(adapter, srb, SRB_STATUS_BUSY);
		return;
	}
	length = response.sense_length;
	if (length > sizeof response.sense)
		length = sizeof response.sense;
	if (length > command->SenseInfoBufferLength)
		length = command->SenseInfoBufferLength;
	if (command->SenseInfoBuffer == NULL || length == 0) {
		complete(adapter, srb, SRB_STATUS_ERROR);
		return;
	}
	memcpy(command->SenseInfoBuffer, response.sense, length);
	command->SenseInfoBufferLength = (UCHAR)length;
	complete(adapter, srb, SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID);
}

/* The device fills it when something happens. */
static void offer(ADAPTER *adapter, EVENT *event)
{
	REQUEST request;

	request.count = 0;
	memset(event, 0, sizeof *event);
	add_piece(adapter, &request, event, sizeof *event, TRUE);
	submit(adapter, &adapter->queue[EVENT_QUEUE], event, request.pieces, request.count);
}

void kind_offer(ADAPTER *adapter)
{
	EVENT *events = (EVENT *)adapter->kept;
	ULONG n;

	/* A queue may be smaller than this: then what does not fit is not offered. */
	for (n = 0; n < EVENTS; n++)
		offer(adapter, &events[n]);
}

static void finish_reset(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;
	UCHAR said = *(volatile UCHAR *)request->tail;

	complete(adapter, srb,
		said == FUNCTION_COMPLETE || said == FUNCTION_SUCCEEDED ? SRB_STATUS_SUCCESS : SRB_STATUS_ERROR);
}

/* Which unit it is about, and what happened to it, the class driver finds out. */
BOOLEAN kind_look(ADAPTER *adapter, QUEUE *queue)
{
	BOOLEAN any = FALSE;
	PVOID done;
	ULONG length;

	while ((done = take_finished(adapter, queue, &length)) != NULL) {
		if (queue == &adapter->queue[CONTROL_QUEUE]) {
			finish_reset(adapter, done);
			continue;
		}
		any = TRUE;
		offer(adapter, done);
	}
	return any;
}

void kind_changed(ADAPTER *adapter)
{
	(void)adapter;
}

static ULONG HwUnitControl(PVOID extension, ULONG type, PVOID parameters)
{
	static const UCHAR supported[] = {
		ScsiQuerySupportedUnitControlTypes, ScsiUnitStart, ScsiUnitPower, ScsiUnitRemove, ScsiUnitSurpriseRemoval,
	};
	ADAPTER *adapter = extension;
	SCSI_SUPPORTED_CONTROL_TYPE_LIST *list = parameters;
	STOR_LOCK_HANDLE lock = { 0 };
	ULONG n;

	switch (type) {
	case ScsiQuerySupportedUnitControlTypes:
		for (n = 0; n < sizeof supported; n++)
			if (supported[n] < list->MaxControlType)
				list->SupportedTypeList[supported[n]] = TRUE;
		if (MAKES(adapter, UNIT_LIST_OVERRUN))
			list->SupportedTypeList[list->MaxControlType] = TRUE;
		return ScsiUnitControlSuccess;
	case ScsiUnitSurpriseRemoval:
		StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
		device_is_gone(adapter);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
		return ScsiUnitControlSuccess;
	case ScsiUnitStart:
	case ScsiUnitPower:
	case ScsiUnitRemove:
		return ScsiUnitControlSuccess;
	}
	return ScsiUnitControlUnsuccessful;
}

HW_UNIT_CONTROL *const kind_unit_control = HwUnitControl;

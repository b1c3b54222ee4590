/* A StorPort miniport for virtio block devices: one disk, target 0, unit 0. */
#include "virtio.h"

/* virtio 1.3, 5.2 */
#define BLK_IN 0
#define BLK_OUT 1
#define BLK_FLUSH 4
#define FEATURE_FLUSH 9
#define FEATURE_MQ 12
#define CONFIG_CAPACITY 0
#define CONFIG_NUM_QUEUES 0x22
#define SECTOR 512

/* In the request's extension, which the device can reach. */
typedef struct {
	struct {
		ULONG type;
		ULONG reserved;
		ULONGLONG sector;
	} header;
	volatile UCHAR status;
	ULONG count;
	PIECE pieces[MOST_PIECES];
} REQUEST;

#ifdef RELEASE
extern void (*const __guard_check_icall_fptr)(uintptr_t);
#define GUARDED(function) (__guard_check_icall_fptr((uintptr_t)(function)), (function))
#define INIT __attribute__((section("INIT")))
#else
#define GUARDED(function) (function)
#define INIT
#endif

static SRBEX_DATA_SCSI_CDB16 *command_of(STORAGE_REQUEST_BLOCK *srb)
{
	if (srb->NumSrbExData == 0 || srb->SrbExDataOffset[0] < sizeof *srb)
		return NULL;
	return (PVOID)((UCHAR *)srb + srb->SrbExDataOffset[0]);
}

static void complete(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, UCHAR status)
{
	srb->SrbStatus = status;
	StorPortNotification(RequestComplete, adapter, srb);
	if (MAKES(adapter, COMPLETES_TWICE) && adapter->live)
		StorPortNotification(RequestComplete, adapter, srb);
}

/* CHECK CONDITION with fixed sense data: SPC. */
static void refuse(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, UCHAR key, UCHAR code)
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

static void answer(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *bytes, ULONG length)
{
	if (length > srb->DataTransferLength)
		length = srb->DataTransferLength;
	if (length)
		memcpy(srb->DataBuffer, bytes, length);
	srb->DataTransferLength = length;
	command_of(srb)->ScsiStatus = SCSISTAT_GOOD;
	complete(adapter, srb, SRB_STATUS_SUCCESS);
}

static void put32(UCHAR *to, ULONG value)
{
	to[0] = (UCHAR)(value >> 24);
	to[1] = (UCHAR)(value >> 16);
	to[2] = (UCHAR)(value >> 8);
	to[3] = (UCHAR)value;
}

static BOOLEAN read_capacity(ADAPTER *adapter)
{
	ULONG before, after, tries = 0;

	do {
		before = read8(adapter, &adapter->common, COMMON_GENERATION);
		adapter->capacity = read32(adapter, &adapter->config, CONFIG_CAPACITY);
		adapter->capacity |= (ULONGLONG)read32(adapter, &adapter->config, CONFIG_CAPACITY + 4) << 32;
		after = read8(adapter, &adapter->common, COMMON_GENERATION);
	} while (before != after && ++tries < 16);
	return before == after;
}

static void inquiry(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *cdb)
{
	UCHAR page[36] = { 0 };

	if (cdb[1] & 1) {
		static const UCHAR pages[] = { 0, 0, 0, 2, 0x00, 0x80 };
		static const UCHAR serial[] = { 0, 0x80, 0, 8, 'M', 'I', 'S', 'F', 'I', 'R', 'E', '1' };
		if (cdb[2] == 0x00)
			answer(adapter, srb, pages, sizeof pages);
		else if (cdb[2] == 0x80)
			answer(adapter, srb, serial, sizeof serial);
		else
			refuse(adapter, srb, 5, 0x24);
		return;
	}
	page[2] = 5;
	page[3] = 2;
	page[4] = sizeof page - 5;
	page[7] = 2;
	memcpy(page + 8, "MISFIRE VIRTIO DISK     1   ", 28);
	answer(adapter, srb, page, sizeof page);
}

static void capacity10(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *cdb)
{
	UCHAR data[8];
	ULONGLONG last = adapter->capacity - 1;

	(void)cdb;
	put32(data, last > 0xffffffff ? 0xffffffff : (ULONG)last);
	put32(data + 4, SECTOR);
	answer(adapter, srb, data, sizeof data);
}

static void capacity16(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *cdb)
{
	UCHAR data[32] = { 0 };
	ULONGLONG last = adapter->capacity - 1;

	if ((cdb[1] & 31) != 0x10) {
		refuse(adapter, srb, 5, 0x24);
		return;
	}
	put32(data, (ULONG)(last >> 32));
	put32(data + 4, (ULONG)last);
	put32(data + 8, SECTOR);
	answer(adapter, srb, data, sizeof data);
}

static void nothing(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *cdb)
{
	(void)cdb;
	answer(adapter, srb, NULL, 0);
}

static void report_luns(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *cdb)
{
	UCHAR data[16] = { 0, 0, 0, 8 };

	(void)cdb;
	answer(adapter, srb, data, sizeof data);
}

static void mode_sense(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *cdb)
{
	UCHAR data[4] = { 3 };

	(void)cdb;
	answer(adapter, srb, data, sizeof data);
}

/* Commands that need no device. */
static const struct {
	UCHAR code;
	void (*act)(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *cdb);
} commands[] = {
	{ 0x00, nothing }, { 0x12, inquiry }, { 0x1a, mode_sense }, { 0x1b, nothing },
	{ 0x25, capacity10 }, { 0x9e, capacity16 }, { 0xa0, report_luns },
};

static ULONGLONG number(const UCHAR *from, ULONG bytes)
{
	ULONGLONG value = 0;

	while (bytes--)
		value = value << 8 | *from++;
	return value;
}

static ULONGLONG physical(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, PVOID address)
{
	ULONG length;

	(void)srb;
	return StorPortGetPhysicalAddress(adapter, NULL, address, &length);
}

static BOOLEAN build_transfer(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, ULONG type, ULONGLONG sector, ULONG sectors)
{
	REQUEST *request = srb->MiniportContext;
	ULONG n, count = 0;

	memset(request, 0, sizeof *request);
	request->header.type = type;
	request->header.sector = type == BLK_FLUSH ? 0 : sector;
	request->pieces[count].address = physical(adapter, srb, &request->header);
	request->pieces[count].length = sizeof request->header;
	request->pieces[count++].writable = FALSE;
	if (type != BLK_FLUSH) {
		STOR_SCATTER_GATHER_LIST *list;
		if (sectors == 0) {
			nothing(adapter, srb, NULL);
			return FALSE;
		}
		if (sector >= adapter->capacity || sectors > adapter->capacity - sector) {
			refuse(adapter, srb, 5, 0x21);
			return FALSE;
		}
		list = StorPortGetScatterGatherList(adapter, srb);
		if (list == NULL || list->NumberOfElements > MOST_BREAKS + 1
			|| srb->DataTransferLength != sectors * SECTOR) {
			complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
			return FALSE;
		}
		for (n = 0; n < list->NumberOfElements; n++) {
			request->pieces[count].address = list->List[n].PhysicalAddress;
			request->pieces[count].length = list->List[n].Length;
			request->pieces[count++].writable = type == BLK_IN;
		}
	}
	request->status = 0xff;
	request->pieces[count].address = physical(adapter, srb, (PVOID)&request->status);
	request->pieces[count].length = 1;
	request->pieces[count++].writable = TRUE;
	request->count = count;
	return TRUE;
}

static BOOLEAN build_scsi(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	SRBEX_DATA_SCSI_CDB16 *command = command_of(srb);
	STOR_ADDR_BTL8 *address = (PVOID)((UCHAR *)srb + srb->AddressOffset);
	const UCHAR *cdb;
	ULONG n;

	if (command == NULL) {
		complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
		return FALSE;
	}
	if (address->Path || address->Target || address->Lun) {
		complete(adapter, srb, SRB_STATUS_NO_DEVICE);
		return FALSE;
	}
	cdb = command->Cdb;
	switch (cdb[0]) {
	case 0x28:
		return build_transfer(adapter, srb, BLK_IN, number(cdb + 2, 4), (ULONG)number(cdb + 7, 2));
	case 0x2a:
		return build_transfer(adapter, srb, BLK_OUT, number(cdb + 2, 4), (ULONG)number(cdb + 7, 2));
	case 0x88:
		return build_transfer(adapter, srb, BLK_IN, number(cdb + 2, 8), (ULONG)number(cdb + 10, 4));
	case 0x8a:
		return build_transfer(adapter, srb, BLK_OUT, number(cdb + 2, 8), (ULONG)number(cdb + 10, 4));
	case 0x35:
	case 0x91:
		if (adapter->features & BIT(FEATURE_FLUSH))
			return build_transfer(adapter, srb, BLK_FLUSH, 0, 0);
		nothing(adapter, srb, NULL);
		return FALSE;
	}
	for (n = 0; n < sizeof commands / sizeof *commands; n++) {
		if (commands[n].code == cdb[0]) {
			GUARDED(commands[n].act)(adapter, srb, cdb);
			return FALSE;
		}
	}
	refuse(adapter, srb, 5, 0x20);
	return FALSE;
}

static BOOLEAN HwBuildIo(PVOID extension, STORAGE_REQUEST_BLOCK *srb)
{
	ADAPTER *adapter = extension;

	switch (srb->SrbFunction) {
	case SRB_FUNCTION_EXECUTE_SCSI:
		return build_scsi(adapter, srb);
	case SRB_FUNCTION_FLUSH:
	case SRB_FUNCTION_SHUTDOWN:
	case SRB_FUNCTION_POWER:
	case SRB_FUNCTION_PNP:
		complete(adapter, srb, SRB_STATUS_SUCCESS);
		return FALSE;
	case SRB_FUNCTION_RESET_LOGICAL_UNIT:
	case SRB_FUNCTION_RESET_DEVICE:
		return TRUE;
	}
	complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
	return FALSE;
}

static BOOLEAN HwResetBus(PVOID extension, ULONG path);

static BOOLEAN HwStartIo(PVOID extension, STORAGE_REQUEST_BLOCK *srb)
{
	ADAPTER *adapter = extension;
	REQUEST *request = srb->MiniportContext;
	QUEUE *queue;

	if (srb->SrbFunction != SRB_FUNCTION_EXECUTE_SCSI) {
		HwResetBus(adapter, 0);
		complete(adapter, srb, SRB_STATUS_SUCCESS);
		return TRUE;
	}
	if (!adapter->live) {
		complete(adapter, srb, SRB_STATUS_NO_DEVICE);
		return TRUE;
	}
	if (MAKES(adapter, LOCK_TAKEN_TWICE)) {
		STOR_LOCK_HANDLE lock = { 0 };
		StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
	}
	queue = &adapter->queue[adapter->turn++ % adapter->queues];
	if (!submit(adapter, queue, srb, request->pieces, request->count))
		complete(adapter, srb, SRB_STATUS_BUSY);
	return TRUE;
}

static void finish(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;

	if (request->status == 0) {
		command_of(srb)->ScsiStatus = SCSISTAT_GOOD;
		complete(adapter, srb, SRB_STATUS_SUCCESS);
		return;
	}
	refuse(adapter, srb, request->status == 2 ? 5 : 3, request->status == 2 ? 0x20 : 0x11);
}

/* A queue's requests that are done. The StartIo lock guards the rings: submission runs under it. */
static void HwQueueDpc(STOR_DPC *dpc, PVOID extension, PVOID argument1, PVOID argument2)
{
	ADAPTER *adapter = extension;
	QUEUE *queue = argument1;
	STOR_LOCK_HANDLE lock = { 0 };
	STORAGE_REQUEST_BLOCK *srb;
	ULONG length;

	(void)dpc;
	(void)argument2;
	for (;;) {
		StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
		srb = adapter->live ? take_finished(adapter, queue, &length) : NULL;
		if (srb != NULL || !MAKES(adapter, LOCK_KEPT))
			StorPortNotification(ReleaseSpinLock, adapter, &lock);
		if (srb == NULL)
			return;
		finish(adapter, srb);
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
		while ((srb = take_any(&adapter->queue[n])) != NULL)
			complete(adapter, srb, status);
}

static void HwConfigDpc(STOR_DPC *dpc, PVOID extension, PVOID argument1, PVOID argument2)
{
	ADAPTER *adapter = extension;
	STOR_LOCK_HANDLE lock = { 0 };

	(void)dpc;
	(void)argument1;
	(void)argument2;
	if (device_status(adapter) & STATUS_NEEDS_RESET) {
		DbgPrint("virtio: the device needs a reset\n");
		StorPortNotification(AcquireSpinLock, adapter, StartIoLock, NULL, &lock);
		reset_device(adapter);
		complete_all(adapter, SRB_STATUS_BUS_RESET);
		restart(adapter);
		StorPortNotification(ReleaseSpinLock, adapter, &lock);
		return;
	}
	read_capacity(adapter);
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
	if (MAKES(adapter, DPC_NOT_INITIALISED))
		issue(adapter, &adapter->spare_dpc, NULL);
	if (!adapter->shared && message > 0) {
		if (message <= adapter->queues)
			issue_queue(adapter, (USHORT)(message - 1));
		return TRUE;
	}
	if (adapter->shared)
		for (n = 0; n < adapter->queues; n++)
			issue_queue(adapter, n);
	issue(adapter, &adapter->config_dpc, NULL);
	return TRUE;
}

static BOOLEAN HwInterrupt(PVOID extension)
{
	ADAPTER *adapter = extension;
	ULONG status = read8(adapter, &adapter->isr, 0);
	USHORT n;

	if (!(status & 3))
		return FALSE;
	if (!adapter->ready) {
		adapter->early = TRUE;
		return TRUE;
	}
	if (status & 1)
		for (n = 0; n < adapter->queues; n++)
			issue_queue(adapter, n);
	if (status & 2)
		issue(adapter, &adapter->config_dpc, NULL);
	return TRUE;
}

static BOOLEAN same(const char *a, const char *b, size_t n)
{
	while (n--)
		if (*a++ != *b++)
			return FALSE;
	return *b == 0;
}

/* `mistake=a,b` in the argument string. */
static void read_argument(ADAPTER *adapter, const char *text)
{
	static const char *const names[] = {
#define MISTAKE(name, text) text,
#include "mistakes.h"
#undef MISTAKE
	};
	const char key[] = "mistake=";
	ULONG n;

	if (text == NULL)
		return;
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
	ULONG n;

	(void)context;
	(void)bus;
	(void)reserved;
	read_argument(adapter, argument);
	if (!find_structures(adapter, config)) {
		DbgPrint("virtio: the device's structures are not there\n");
		return refused(adapter);
	}
	adapter->wanted = BIT(FEATURE_FLUSH) | BIT(FEATURE_MQ);
	if (!negotiate(adapter))
		return refused(adapter);
	adapter->queues = 1;
	if (adapter->features & BIT(FEATURE_MQ))
		adapter->queues = (USHORT)read16(adapter, &adapter->config, CONFIG_NUM_QUEUES);
	if (adapter->queues > MOST_QUEUES)
		adapter->queues = MOST_QUEUES;
	n = read16(adapter, &adapter->common, COMMON_NUM_QUEUES);
	if (adapter->queues > n)
		adapter->queues = (USHORT)n;
	if (adapter->queues == 0) {
		DbgPrint("virtio: the device has no queue\n");
		add_status(adapter, STATUS_FAILED);
		return refused(adapter);
	}
	if (!read_capacity(adapter)) {
		DbgPrint("virtio: the configuration does not stop changing\n");
		add_status(adapter, STATUS_FAILED);
		return refused(adapter);
	}
	adapter->ring_bytes = ring_size(MOST_DESCRIPTORS);
	config->MaximumTransferLength = MOST_BREAKS * 4096;
	config->NumberOfPhysicalBreaks = MOST_BREAKS;
	config->AlignmentMask = 3;
	config->NumberOfBuses = 1;
	config->MaximumNumberOfTargets = 1;
	config->MaximumNumberOfLogicalUnits = 1;
	config->CachesData = (adapter->features & BIT(FEATURE_FLUSH)) != 0;
	config->Dma64BitAddresses = SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED;
	config->SynchronizationModel = StorSynchronizeFullDuplex;
	if (adapter->table_control & 0x8000) {
		config->HwMSInterruptRoutine = HwMessageInterrupt;
		config->InterruptSynchronizationMode = InterruptSynchronizePerMessage;
	}
	adapter->rings = StorPortGetUncachedExtension(adapter, config, adapter->queues * adapter->ring_bytes);
	if (adapter->rings == NULL)
		return refused(adapter);
	if (MAKES(adapter, ADDRESS_NOT_MAPPED))
		physical(adapter, NULL, (PVOID)0x10);
	if (MAKES(adapter, LONG_STALL))
		StorPortStallExecution(1000);
	if (MAKES(adapter, OVERRUNS_COMMON_BUFFER))
		adapter->rings[adapter->queues * adapter->ring_bytes] = 1;
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
	if (adapter->table_control & 0x8000)
		while (adapter->messages <= adapter->queues
			&& StorPortExtendedFunction(ExtFunctionGetMessageInterruptInformation, adapter,
				adapter->messages, &information) == 0)
			adapter->messages++;
	adapter->shared = adapter->messages < adapter->queues + 1u;
	if (!go_live(adapter))
		return FALSE;
	if (!adapter->ready)
		StorPortNotification(EnablePassiveInitialization, adapter, HwPassiveInitialize, &enabled);
	return adapter->ready || enabled;
}

/* The port driver holds the StartIo lock. */
static BOOLEAN HwResetBus(PVOID extension, ULONG path)
{
	ADAPTER *adapter = extension;
	BOOLEAN answers = reset_device(adapter);

	(void)path;

	/* Whether it answers or not, what it had is over. */
	if (!MAKES(adapter, RESET_KEEPS_REQUESTS))
		complete_all(adapter, SRB_STATUS_BUS_RESET);
	return answers && restart(adapter);
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
		return ScsiAdapterControlSuccess;
	case ScsiAdapterSurpriseRemoval:
		/* There is no device any more: nothing of it is touched. */
		adapter->live = FALSE;
		complete_all(adapter, SRB_STATUS_NO_DEVICE);
		return ScsiAdapterControlSuccess;
	case ScsiStopAdapter:
		reset_device(adapter);
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

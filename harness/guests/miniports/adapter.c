/* An adapter's life: the port driver's callbacks from DriverEntry to the removal. */
#include "virtio.h"

#ifdef RELEASE
#define INIT __attribute__((section("INIT")))
#else
#define INIT
#endif

/* A device that has just failed may need more than one attempt. */
BOOLEAN restart(ADAPTER *adapter)
{
	ULONG tries;

	for (tries = 0; tries < 3; tries++)
		if (negotiate(adapter) && go_live(adapter))
			return TRUE;
	return FALSE;
}

/* After a reset: whatever the device had is over. */
void complete_all(ADAPTER *adapter, UCHAR status)
{
	STORAGE_REQUEST_BLOCK *srb;
	USHORT n;

	for (n = 0; n < adapter->queues; n++)
		while (n != kind_events && (srb = take_any(&adapter->queue[n])) != NULL)
			complete(adapter, srb, status);
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
	config->SynchronizationModel = MAKES(adapter, HALF_DUPLEX) ? StorSynchronizeHalfDuplex : StorSynchronizeFullDuplex;
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
	prepare_liberties(adapter);
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

/* Each of these waits has an end, and none comes to it before some seconds are over: what is counted is in a register, in
 * the device extension, or the time. */
static void wait_long(ADAPTER *adapter)
{
	ULONGLONG frequency = 1, now = 0, end = 0;
	ULONG n;

	for (n = 0; n < 4000 && device_status(adapter) != 0xff; n++)
		StorPortStallExecution(250);
	for (adapter->waits = 0; adapter->waits < 4000 && device_status(adapter) != 0xff; adapter->waits++)
		StorPortStallExecution(250);
	StorPortExtendedFunction(ExtFunctionQueryPerformanceCounter, adapter, &frequency, &end);
	end += frequency;
	do {
		StorPortExtendedFunction(ExtFunctionQueryPerformanceCounter, adapter, &frequency, &now);
	} while (now < end && device_status(adapter) != 0xff);
	DbgPrint("virtio: it has waited long\n");
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
	/* A register and another, a register and a ring, and a register with pauses in between. */
	while (MAKES(adapter, ENDLESS_POLL_OF_TWO) && read16(adapter, &adapter->common, COMMON_NUM_QUEUES) != 0xffff
		&& device_status(adapter) != 0xff)
		;
	while (MAKES(adapter, ENDLESS_POLL_OF_BOTH) && device_status(adapter) != 0xff && adapter->queue[0].used->index == 0)
		;
	while (MAKES(adapter, ENDLESS_PAUSES) && device_status(adapter) != 0xff)
		StorPortStallExecution(50);
	if (MAKES(adapter, WAITS_LONG))
		wait_long(adapter);
	while (MAKES(adapter, ENDLESS_LOOP))
		__asm__ volatile("");
	if (MAKES(adapter, ENDLESS_POLL_INTERRUPTS_OFF))
		__asm__ volatile("cli");
	while (MAKES(adapter, ENDLESS_POLL_INTERRUPTS_OFF) && read16(adapter, &adapter->common, COMMON_NUM_QUEUES) != 0xffff)
		;
	while (adapter->dump && MAKES(adapter, DUMP_ENDLESS_POLL) && device_status(adapter) != 0xff)
		;
	while (adapter->dump && MAKES(adapter, DUMP_ENDLESS_LOOP))
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
BOOLEAN HwResetBus(PVOID extension, ULONG path)
{
	ADAPTER *adapter = extension;
	BOOLEAN answers;
	ALL_LOCKS locks;

	(void)path;
	/* The documentation wants that. */
	if (adapter->dump)
		return TRUE;
	lock_all(adapter, &locks);
	answers = reset_device(adapter);

	/* Whether it answers or not, what it had is over. */
	if (!MAKES(adapter, RESET_KEEPS_REQUESTS))
		complete_all(adapter, SRB_STATUS_BUS_RESET);
	answers = answers && restart(adapter);
	unlock_all(adapter, &locks);
	return answers;
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
		if (list->MaxControlType > ScsiSetBootConfig)
			list->SupportedTypeList[ScsiSetBootConfig] = TRUE;
		if (list->MaxControlType > ScsiAdapterSurpriseRemoval)
			list->SupportedTypeList[ScsiAdapterSurpriseRemoval] = TRUE;
		if (MAKES(adapter, CONTROL_LIST_OVERRUN))
			list->SupportedTypeList[list->MaxControlType] = TRUE;
		return ScsiAdapterControlSuccess;
	case ScsiAdapterSurpriseRemoval:
		if (MAKES(adapter, TOUCHES_REMOVED))
			device_status(adapter);
		/* As after a reset, and nobody answers. */
		while (MAKES(adapter, POLLS_REMOVED) && device_status(adapter) != 0)
			;
		liberties_of_control(adapter, StartIoLock);
		device_is_gone(adapter);
		return ScsiAdapterControlSuccess;
	case ScsiStopAdapter:
		liberties_of_control(adapter, InterruptLock);
		stop_device(adapter);
		complete_all(adapter, SRB_STATUS_BUS_RESET);
		return ScsiAdapterControlSuccess;
	case ScsiSetBootConfig:
		if (MAKES(adapter, CALLS_ROUTINES))
			DbgPrint("POWER: the boot configuration\n");
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

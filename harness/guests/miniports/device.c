/* A device's life: reset, features, queues and vectors, DRIVER_OK (virtio 1.3, 3.1.1 and 4.1.5.1). */
#include "virtio.h"

/* A reset has to be over after half a second. */
#define RESET_STEP_US 500
#define RESET_STEPS 1000

/* Where a register is that both interfaces have. */
static ULONG at(ADAPTER *adapter, ULONG modern)
{
	if (!adapter->legacy)
		return modern;
	switch (modern) {
	case COMMON_STATUS:
		return LEGACY_STATUS;
	case COMMON_CONFIG_VECTOR:
		return LEGACY_CONFIG_VECTOR;
	case COMMON_QUEUE_SELECT:
		return LEGACY_QUEUE_SELECT;
	case COMMON_QUEUE_SIZE:
		return LEGACY_QUEUE_SIZE;
	}
	return LEGACY_QUEUE_VECTOR;
}

static void write_status(ADAPTER *adapter, ULONG status)
{
	write8(adapter, &adapter->common, at(adapter, COMMON_STATUS), status);
}

void add_status(ADAPTER *adapter, ULONG bits)
{
	adapter->status |= bits;
	write_status(adapter, adapter->status);
}

static void give_up(ADAPTER *adapter)
{
	if (!MAKES(adapter, FAILS_SILENTLY))
		add_status(adapter, STATUS_FAILED);
	if (MAKES(adapter, RETRIES_WITHOUT_RESET) && !adapter->legacy) {
		write32(adapter, &adapter->common, COMMON_DRIVER_FEATURE_SELECT, 1);
		write32(adapter, &adapter->common, COMMON_DRIVER_FEATURE, 1);
	}
}

ULONG device_status(ADAPTER *adapter)
{
	return read8(adapter, &adapter->common, at(adapter, COMMON_STATUS));
}

static void select_queue(ADAPTER *adapter, ULONG n)
{
	write16(adapter, &adapter->common, at(adapter, COMMON_QUEUE_SELECT), n);
}

static ULONG queue_size(ADAPTER *adapter)
{
	return read16(adapter, &adapter->common, at(adapter, COMMON_QUEUE_SIZE));
}

/* By the legacy interface a queue of size 0 is not there, and nothing else says how many there are. */
ULONG count_queues(ADAPTER *adapter, ULONG most)
{
	ULONG n;

	if (!adapter->legacy)
		return read16(adapter, &adapter->common, COMMON_NUM_QUEUES);
	for (n = 0; n < most; n++) {
		select_queue(adapter, n);
		if (queue_size(adapter) == 0)
			break;
	}
	return n;
}

/* By the legacy interface a queue has the size that the device says. */
ULONG ring_bytes(ADAPTER *adapter, ULONG queues)
{
	ULONG n, most = MOST_DESCRIPTORS;

	for (n = 0; adapter->legacy && n < queues; n++) {
		ULONG size;
		select_queue(adapter, n);
		size = queue_size(adapter);
		if (size > most)
			most = size;
	}
	return ring_size(adapter, most);
}

BOOLEAN reset_device(ADAPTER *adapter)
{
	ULONG n;

	adapter->live = FALSE;
	adapter->status = 0;
	write_status(adapter, 0);
	if (MAKES(adapter, NO_RESET_WAIT))
		return TRUE;
	for (n = 0; n < RESET_STEPS; n++) {
		ULONG status = device_status(adapter);
		if (status == 0)
			return TRUE;
		if (status == 0xff)
			break; /* It does not answer at all. */
		StorPortStallExecution(RESET_STEP_US);
	}
	DbgPrint("virtio: the reset does not end\n");
	return FALSE;
}

static BOOLEAN attempt(ADAPTER *adapter);

static ULONGLONG offered(ADAPTER *adapter)
{
	ULONGLONG features = 0;
	ULONG half;

	if (adapter->legacy)
		return read32(adapter, &adapter->common, LEGACY_FEATURES);
	for (half = 0; half < 2; half++) {
		write32(adapter, &adapter->common, COMMON_DEVICE_FEATURE_SELECT, half);
		features |= (ULONGLONG)read32(adapter, &adapter->common, COMMON_DEVICE_FEATURE) << 32 * half;
	}
	return features;
}

/* From a reset to FEATURES_OK. A device that asks for a reset meanwhile (2.1.1) gets one. */
BOOLEAN negotiate(ADAPTER *adapter)
{
	ULONG tries;

	for (tries = 0; tries < 8; tries++) {
		if (!attempt(adapter))
			return FALSE;
		if (adapter->legacy || MAKES(adapter, NO_FEATURES_OK_CHECK) || !(device_status(adapter) & STATUS_NEEDS_RESET))
			return TRUE;
	}
	give_up(adapter);
	return FALSE;
}

static void accept(ADAPTER *adapter, ULONGLONG features)
{
	ULONG half;

	for (half = 0; half < 2; half++) {
		write32(adapter, &adapter->common, COMMON_DRIVER_FEATURE_SELECT, half);
		write32(adapter, &adapter->common, COMMON_DRIVER_FEATURE, (ULONG)(features >> 32 * half));
	}
}

/* Bits that a driver makes a mistake of. */
static ULONGLONG mistaken_features(ADAPTER *adapter)
{
	ULONGLONG features = adapter->features;

	if (MAKES(adapter, ACCEPTS_UNKNOWN_FEATURES))
		features |= adapter->offered & UNKNOWN_FEATURES;
	if (MAKES(adapter, ACCEPTS_SR_IOV))
		features |= adapter->offered & BIT(FEATURE_SR_IOV);
	if (MAKES(adapter, PLATFORM_NOT_ACCEPTED))
		features &= ~BIT(FEATURE_ACCESS_PLATFORM);
	if (MAKES(adapter, VERSION_1_NOT_ACCEPTED))
		features &= ~BIT(FEATURE_VERSION_1);
	if (MAKES(adapter, ACCEPTS_UNOFFERED_FEATURE))
		features |= UNKNOWN_FEATURES & ~adapter->offered;
	return features;
}

static BOOLEAN attempt(ADAPTER *adapter)
{
	if (!reset_device(adapter))
		return FALSE;
	if (!MAKES(adapter, DRIVER_WITHOUT_ACKNOWLEDGE))
		add_status(adapter, STATUS_ACKNOWLEDGE);
	if (MAKES(adapter, FEATURES_BEFORE_DRIVER))
		accept(adapter, BIT(FEATURE_VERSION_1));
	add_status(adapter, STATUS_DRIVER);
	adapter->offered = offered(adapter);
	adapter->features = adapter->offered & (adapter->wanted | BIT(FEATURE_VERSION_1) | BIT(FEATURE_ACCESS_PLATFORM));
	if (adapter->legacy) {
		write32(adapter, &adapter->common, LEGACY_DRIVER_FEATURES, (ULONG)adapter->features);
		if (MAKES(adapter, LEGACY_FEATURES_OK))
			add_status(adapter, STATUS_FEATURES_OK);
		return TRUE;
	}
	if (MAKES(adapter, UNKNOWN_FEATURE_REFUSED) && (adapter->offered & UNKNOWN_FEATURES)) {
		DbgPrint("virtio: a feature is not known\n");
		give_up(adapter);
		return FALSE;
	}
	if (!(adapter->features & BIT(FEATURE_VERSION_1))) {
		DbgPrint("virtio: the device does not offer VERSION_1\n");
		give_up(adapter);
		return FALSE;
	}
	accept(adapter, mistaken_features(adapter));
	if (MAKES(adapter, QUEUES_BEFORE_FEATURES_OK)) {
		select_queue(adapter, 0);
		write32(adapter, &adapter->common, COMMON_QUEUE_DESC, 0);
		write32(adapter, &adapter->common, COMMON_QUEUE_DESC + 4, 0);
	}
	if (MAKES(adapter, EARLY_CONFIG_WRITE) && adapter->config.base != NULL)
		write8(adapter, &adapter->config, CONFIG_WRITEBACK, 1);
	add_status(adapter, STATUS_FEATURES_OK);
	if (MAKES(adapter, LATE_FEATURES))
		accept(adapter, adapter->offered);
	if (MAKES(adapter, NO_FEATURES_OK_CHECK))
		return TRUE;
	if (!(device_status(adapter) & STATUS_FEATURES_OK)) {
		DbgPrint("virtio: the device refuses the features\n");
		give_up(adapter);
		return FALSE;
	}
	return TRUE;
}

static void write64(ADAPTER *adapter, ULONG at, PVOID address)
{
	ULONG length;
	ULONGLONG physical = StorPortGetPhysicalAddress(adapter, NULL, address, &length);

	write32(adapter, &adapter->common, at, (ULONG)physical);
	write32(adapter, &adapter->common, at + 4, (ULONG)(physical >> 32));
}

/* Writes a vector and reads it back: 4.1.5.1.2.2. */
static BOOLEAN set_vector(ADAPTER *adapter, ULONG at, USHORT vector)
{
	write16(adapter, &adapter->common, at, vector);
	if (MAKES(adapter, NO_READ_BACK) || (adapter->legacy && MAKES(adapter, LEGACY_VECTOR_NOT_READ_BACK)))
		return TRUE;
	return read16(adapter, &adapter->common, at) == vector;
}

static USHORT vector_of(ADAPTER *adapter, USHORT queue)
{
	return adapter->shared ? 0 : (USHORT)(queue + 1);
}

static BOOLEAN set_vectors(ADAPTER *adapter)
{
	USHORT n;

	if (!set_vector(adapter, at(adapter, COMMON_CONFIG_VECTOR), 0))
		return FALSE;
	for (n = 0; n < adapter->queues; n++) {
		select_queue(adapter, n);
		if (!set_vector(adapter, at(adapter, COMMON_QUEUE_VECTOR), vector_of(adapter, n)))
			return FALSE;
	}
	return TRUE;
}

static void write_places(ADAPTER *adapter, QUEUE *queue)
{
	PVOID used = (PVOID)queue->used;
	QUEUE *first = MAKES(adapter, SHARES_QUEUE_MEMORY) ? adapter->queue : queue;

	if (MAKES(adapter, SHARES_QUEUE_MEMORY))
		used = (PVOID)first->used;
	if (MAKES(adapter, OVERLAPPING_RINGS))
		used = (PVOID)queue->available;
	write64(adapter, COMMON_QUEUE_DESC, (PVOID)first->descriptors);
	write64(adapter, COMMON_QUEUE_DRIVER, (PVOID)first->available);
	write64(adapter, COMMON_QUEUE_DEVICE, used);
}

static BOOLEAN set_up_queue(ADAPTER *adapter, USHORT n)
{
	QUEUE *queue = &adapter->queue[n];
	ULONG size;

	select_queue(adapter, n);
	size = queue_size(adapter);
	/* By the legacy interface the size is the device's, and the address is written last. */
	if (adapter->legacy) {
		if (size < 4 || ring_size(adapter, size) > adapter->ring_bytes)
			return FALSE;
		prepare_queue(adapter, n, (USHORT)size);
		queue->notify_offset = 0;
		return TRUE;
	}
	/* A queue of size 0 is not there (4.1.4.3); a split queue's size is a power of two (2.7). */
	if (size > MOST_DESCRIPTORS)
		size = MOST_DESCRIPTORS;
	while (size & (size - 1))
		size &= size - 1;
	/* A request takes three descriptors at least. */
	if (size < 4)
		return FALSE;
	prepare_queue(adapter, n, (USHORT)size);
	if (MAKES(adapter, ODD_QUEUE_SIZE))
		write16(adapter, &adapter->common, COMMON_QUEUE_SIZE, size - size / 4);
	write16(adapter, &adapter->common, COMMON_QUEUE_SIZE, size);
	write_places(adapter, queue);
	if (MAKES(adapter, WIDE_QUEUE_ADDRESS))
		*(volatile ULONGLONG *)(adapter->common.base + COMMON_QUEUE_DESC) =
			read32(adapter, &adapter->common, COMMON_QUEUE_DESC);
	queue->notify_offset = (USHORT)read16(adapter, &adapter->common, COMMON_QUEUE_NOTIFY_OFF);
	return queue->notify_offset * adapter->notify_multiplier + 2 <= adapter->notify.length;
}

/* By the legacy interface this is what makes a queue ready. */
static void write_address(ADAPTER *adapter, QUEUE *queue)
{
	ULONG length;
	ULONGLONG physical = StorPortGetPhysicalAddress(adapter, NULL, (PVOID)queue->descriptors, &length);

	write32(adapter, &adapter->common, LEGACY_QUEUE_ADDRESS, (ULONG)(physical / LEGACY_ALIGN));
}

/* Notifications that nothing is there for. */
static void slip_notifications(ADAPTER *adapter)
{
	ULONG first = adapter->queue[0].notify_offset * adapter->notify_multiplier;
	USHORT beyond;

	if (MAKES(adapter, NOTIFIES_WITH_FOUR_BYTES))
		write32(adapter, &adapter->notify, first, 0);
	if (MAKES(adapter, NOTIFIES_WITH_WRONG_VALUE))
		write16(adapter, &adapter->notify, first, 0x100);
	if (MAKES(adapter, NOTIFIES_AT_WRONG_PLACE))
		write16(adapter, &adapter->notify, first, 1);
	if (MAKES(adapter, NOTIFIES_BEYOND_QUEUES)) {
		beyond = (USHORT)read16(adapter, &adapter->common, COMMON_NUM_QUEUES);
		write16(adapter, &adapter->notify, beyond * adapter->notify_multiplier, beyond);
	}
}

void disable_queues(ADAPTER *adapter)
{
	USHORT n;

	for (n = 0; n < adapter->queues; n++) {
		select_queue(adapter, n);
		write16(adapter, &adapter->common, COMMON_QUEUE_ENABLE, 0);
	}
}

/* From FEATURES_OK to DRIVER_OK. A vector that the device refuses means one for everything. */
BOOLEAN go_live(ADAPTER *adapter)
{
	USHORT n;

	for (n = 0; n < adapter->queues; n++) {
		if (!set_up_queue(adapter, n)) {
			DbgPrint("virtio: queue %u can't be used\n", n);
			give_up(adapter);
			return FALSE;
		}
	}
	if (adapter->messages && !MAKES(adapter, QUEUE_VECTOR_AFTER_ENABLE) && !set_vectors(adapter)) {
		adapter->shared = TRUE;
		if (!set_vectors(adapter)) {
			DbgPrint("virtio: the device refuses its vectors\n");
			give_up(adapter);
			return FALSE;
		}
	}
	for (n = 0; n < adapter->queues; n++) {
		select_queue(adapter, n);
		if (adapter->legacy)
			write_address(adapter, &adapter->queue[n]);
		else if (!MAKES(adapter, LATE_ENABLE) || n + 1 < adapter->queues)
			write16(adapter, &adapter->common, COMMON_QUEUE_ENABLE, 1);
		if (MAKES(adapter, ADDRESS_AFTER_ENABLE))
			write32(adapter, &adapter->common, COMMON_QUEUE_DEVICE, read32(adapter, &adapter->common, COMMON_QUEUE_DEVICE));
	}
	if (!adapter->messages && MAKES(adapter, VECTORS_WITHOUT_MSIX))
		set_vector(adapter, COMMON_CONFIG_VECTOR, 0);
	if (MAKES(adapter, WRITES_READ_ONLY_FIELD))
		write16(adapter, &adapter->common, COMMON_NUM_QUEUES, 1);
	if (MAKES(adapter, ACCESS_OUTSIDE_STRUCTURES))
		read32(adapter, &adapter->common, adapter->common.length);
	if (MAKES(adapter, ENABLES_MISSING_QUEUE)) {
		select_queue(adapter, read16(adapter, &adapter->common, COMMON_NUM_QUEUES));
		queue_size(adapter);
		write16(adapter, &adapter->common, COMMON_QUEUE_ENABLE, 1);
	}
	if (adapter->messages && MAKES(adapter, QUEUE_VECTOR_AFTER_ENABLE))
		set_vectors(adapter);
	if (MAKES(adapter, EVENTS_BEFORE_DRIVER_OK))
		kind_offer(adapter);
	if (MAKES(adapter, NOTIFY_BEFORE_DRIVER_OK))
		write16(adapter, &adapter->notify, adapter->queue[0].notify_offset * adapter->notify_multiplier, 0);
	if (MAKES(adapter, CLEARS_STATUS_BIT))
		adapter->status &= ~STATUS_ACKNOWLEDGE;
	add_status(adapter, STATUS_DRIVER_OK);
	adapter->live = TRUE;
	if (MAKES(adapter, LATE_ENABLE)) {
		select_queue(adapter, adapter->queues - 1u);
		write16(adapter, &adapter->common, COMMON_QUEUE_ENABLE, 1);
	}
	slip_notifications(adapter);
	if (!MAKES(adapter, EVENTS_BEFORE_DRIVER_OK))
		kind_offer(adapter);
	return TRUE;
}

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

#define FEATURE_DISCARD 13
#define BLK_DISCARD 11
#define CONFIG_DISCARD_RANGES 40
/* As many as there is room for in a request's head. */
#define MOST_RANGES 4

/* 5.2.6: a request's head; its tail is one byte. */
typedef struct {
	ULONG type;
	ULONG reserved;
	ULONGLONG sector;
} HEADER;

/* 5.2.6: what is discarded, in the place of the request's data. */
typedef struct {
	ULONGLONG sector;
	ULONG sectors;
	ULONG flags;
} RANGE;

#ifdef RELEASE
extern void (*const __guard_check_icall_fptr)(uintptr_t);
#define GUARDED(function) (__guard_check_icall_fptr((uintptr_t)(function)), (function))
#else
#define GUARDED(function) (function)
#endif

static void put32(UCHAR *to, ULONG value)
{
	to[0] = (UCHAR)(value >> 24);
	to[1] = (UCHAR)(value >> 16);
	to[2] = (UCHAR)(value >> 8);
	to[3] = (UCHAR)value;
}

/* By the legacy interface nothing tells of a change meanwhile: it is read until it stays the same. */
static BOOLEAN read_capacity(ADAPTER *adapter)
{
	ULONG before = 0, after = 0, tries = 0;
	ULONGLONG last;

	do {
		last = adapter->capacity;
		if (!adapter->legacy && !MAKES(adapter, GENERATION_NOT_READ))
			before = read8(adapter, &adapter->common, COMMON_GENERATION);
		adapter->capacity = read32(adapter, &adapter->config, CONFIG_CAPACITY);
		adapter->capacity |= (ULONGLONG)read32(adapter, &adapter->config, CONFIG_CAPACITY + 4) << 32;
		if (!adapter->legacy && !MAKES(adapter, GENERATION_NOT_READ))
			after = read8(adapter, &adapter->common, COMMON_GENERATION);
		if (MAKES(adapter, GENERATION_NOT_COMPARED) || (adapter->legacy && MAKES(adapter, CONFIG_READ_ONCE)))
			break;
	} while ((before != after || (adapter->legacy && (tries == 0 || last != adapter->capacity))) && ++tries < 16);
	return tries < 16;
}

static void inquiry(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *cdb)
{
	UCHAR page[64] = { 0 };

	if (cdb[1] & 1) {
		UCHAR pages[] = { 0, 0, 0, adapter->most_ranges ? 3 : 2, 0x00, 0x80, 0xb0 };
		static const UCHAR serial[] = { 0, 0x80, 0, 8, 'M', 'I', 'S', 'F', 'I', 'R', 'E', '1' };
		if (cdb[2] == 0x00)
			answer(adapter, srb, pages, 4 + pages[3]);
		else if (cdb[2] == 0x80)
			answer(adapter, srb, serial, sizeof serial);
		else if (cdb[2] == 0xb0 && adapter->most_ranges) {
			/* SBC: the block limits. */
			page[1] = 0xb0;
			page[3] = sizeof page - 4;
			put32(page + 20, 0xffffffff);
			put32(page + 24, adapter->most_ranges);
			answer(adapter, srb, page, sizeof page);
		} else
			refuse(adapter, srb, 5, 0x24);
		return;
	}
	page[2] = 5;
	page[3] = 2;
	page[4] = 36 - 5;
	page[7] = 2;
	memcpy(page + 8, "MISFIRE VIRTIO DISK     1   ", 28);
	answer(adapter, srb, page, 36);
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

/* FALSE: completed, since there is nothing to do or the place is not on the disk. */
static BOOLEAN is_on_disk(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, ULONGLONG sector, ULONG sectors)
{
	if (sectors == 0) {
		nothing(adapter, srb, NULL);
		return FALSE;
	}
	if (sector >= adapter->capacity || sectors > adapter->capacity - sector) {
		refuse(adapter, srb, 5, 0x21);
		return FALSE;
	}
	return TRUE;
}

/* For mistakes: head and tail of a request in the common buffer, and not in its extension. */
#define APART 32
#define MOST_APART 128
static UCHAR *apart(ADAPTER *adapter)
{
	if (!MAKES(adapter, READS_COMPLETED_EARLY) && !MAKES(adapter, WRITES_COMPLETED_EARLY))
		return NULL;
	return adapter->kept + APART * (adapter->apart++ % MOST_APART);
}

static HEADER *begin(ADAPTER *adapter, REQUEST *request, ULONG type, ULONGLONG sector)
{
	static HEADER elsewhere;
	UCHAR *other = apart(adapter);
	HEADER *header = MAKES(adapter, DMA_ELSEWHERE) ? &elsewhere : (HEADER *)(other ? other : request->head);

	request->status = other ? other + sizeof *header : request->tail;

	header->type = type;
	header->reserved = 0;
	header->sector = sector;
	request->count = 0;
	request->status[0] = 0xff;
	add_piece(adapter, request, header, sizeof *header, FALSE);
	return header;
}

static BOOLEAN build_transfer(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, ULONG type, ULONGLONG sector, ULONG sectors)
{
	REQUEST *request = srb->MiniportContext;

	if (!is_on_disk(adapter, srb, sector, sectors))
		return FALSE;
	begin(adapter, request, type, sector);
	if (srb->DataTransferLength != sectors * SECTOR || !add_data(adapter, request, srb, type == BLK_IN)) {
		complete(adapter, srb, SRB_STATUS_INVALID_REQUEST);
		return FALSE;
	}
	add_piece(adapter, request, request->status, 1, TRUE);
	return TRUE;
}

static BOOLEAN build_flush(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;

	if (!(adapter->features & BIT(FEATURE_FLUSH))) {
		nothing(adapter, srb, NULL);
		return FALSE;
	}
	begin(adapter, request, BLK_FLUSH, 0);
	add_piece(adapter, request, request->status, 1, TRUE);
	return TRUE;
}

/* UNMAP (SBC): each block descriptor is a range. */
static BOOLEAN build_unmap(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;
	const UCHAR *list = srb->DataBuffer;
	RANGE *range = (RANGE *)(request->head + sizeof(HEADER));
	ULONG n, count;

	if (!(adapter->features & BIT(FEATURE_DISCARD))) {
		refuse(adapter, srb, 5, 0x20);
		return FALSE;
	}
	count = list == NULL || srb->DataTransferLength < 24 ? 0 : (ULONG)number(list + 2, 2) / 16;
	if (count == 0 || count > adapter->most_ranges || srb->DataTransferLength < 8 + 16 * count) {
		refuse(adapter, srb, 5, 0x26);
		return FALSE;
	}
	for (n = 0; n < count; n++) {
		range[n].sector = number(list + 8 + 16 * n, 8);
		range[n].sectors = (ULONG)number(list + 16 + 16 * n, 4);
		range[n].flags = 0;
		if (!is_on_disk(adapter, srb, range[n].sector, range[n].sectors))
			return FALSE;
	}
	begin(adapter, request, BLK_DISCARD, 0);
	add_piece(adapter, request, range, count * sizeof *range, FALSE);
	add_piece(adapter, request, request->status, 1, TRUE);
	return TRUE;
}

BOOLEAN kind_build(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	STOR_ADDR_BTL8 *address = (PVOID)((UCHAR *)srb + srb->AddressOffset);
	const UCHAR *cdb = command_of(srb)->Cdb;
	ULONG n;

	if (address->Path || address->Target || address->Lun) {
		complete(adapter, srb, SRB_STATUS_NO_DEVICE);
		return FALSE;
	}
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
		return build_flush(adapter, srb);
	case 0x42:
		return build_unmap(adapter, srb);
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

void kind_finish(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	REQUEST *request = srb->MiniportContext;
	UCHAR status = *(volatile UCHAR *)request->status;

	if (status == 0) {
		command_of(srb)->ScsiStatus = SCSISTAT_GOOD;
		complete(adapter, srb, SRB_STATUS_SUCCESS);
		return;
	}
	refuse(adapter, srb, status == 2 ? 5 : 3, status == 2 ? 0x20 : 0x11);
}

const ULONGLONG kind_features = BIT(FEATURE_FLUSH) | BIT(FEATURE_MQ) | BIT(FEATURE_DISCARD);
const USHORT kind_first = 0;
const USHORT kind_events = NO_QUEUE;
const ULONG kind_memory = APART * MOST_APART;
HW_UNIT_CONTROL *const kind_unit_control = NULL;

BOOLEAN kind_find(ADAPTER *adapter, PORT_CONFIGURATION_INFORMATION *config, ULONG *queues)
{
	*queues = 1;
	if (adapter->features & BIT(FEATURE_MQ))
		*queues = read16(adapter, &adapter->config, CONFIG_NUM_QUEUES);
	adapter->most_ranges = 0;
	if (adapter->features & BIT(FEATURE_DISCARD)) {
		adapter->most_ranges = adapter->config.length < CONFIG_DISCARD_RANGES + 4 ? 1 : read32(adapter, &adapter->config, CONFIG_DISCARD_RANGES);
		if (adapter->most_ranges > MOST_RANGES || adapter->most_ranges == 0)
			adapter->most_ranges = adapter->most_ranges ? MOST_RANGES : 1;
	}
	if (!read_capacity(adapter)) {
		DbgPrint("virtio: the configuration does not stop changing\n");
		return FALSE;
	}
	config->MaximumTransferLength = MOST_BREAKS * 4096;
	config->NumberOfPhysicalBreaks = MOST_BREAKS;
	config->MaximumNumberOfTargets = 1;
	config->MaximumNumberOfLogicalUnits = 1;
	config->CachesData = (adapter->features & BIT(FEATURE_FLUSH)) != 0;
	return TRUE;
}

QUEUE *kind_queue(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	(void)srb;
	return &adapter->queue[adapter->turn++ % adapter->queues];
}

void kind_tune(ADAPTER *adapter)
{
	(void)adapter;
}

BOOLEAN kind_reset(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb)
{
	(void)adapter;
	(void)srb;
	return FALSE;
}

void kind_offer(ADAPTER *adapter)
{
	(void)adapter;
}

BOOLEAN kind_look(ADAPTER *adapter, QUEUE *queue)
{
	(void)adapter;
	(void)queue;
	return FALSE;
}

void kind_changed(ADAPTER *adapter)
{
	read_capacity(adapter);
}

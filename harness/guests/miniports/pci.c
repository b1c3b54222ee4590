/* The device's place in configuration space and its registers. */
#include "virtio.h"

#define PCI_STATUS 0x06
#define PCI_REVISION 0x08
#define PCI_BAR0 0x10
#define PCI_CAPABILITIES 0x34
#define CAPABILITY_VENDOR 0x09
#define CAPABILITY_MSIX 0x11

/* cfg_type, virtio 1.3, 4.1.4 */
enum { TYPE_COMMON = 1, TYPE_NOTIFY, TYPE_ISR, TYPE_DEVICE, TYPE_PCI };

static ULONG word32(const UCHAR *from)
{
	return from[0] | from[1] << 8 | from[2] << 16 | (ULONG)from[3] << 24;
}

/* The access range that a BAR is, mapped; NULL when the port driver gave none that fits. */
static UCHAR *map(ADAPTER *adapter, PORT_CONFIGURATION_INFORMATION *config, const UCHAR *space,
	UCHAR bar, ULONG offset, ULONG length)
{
	ULONG low = word32(space + PCI_BAR0 + 4 * bar);
	PHYSICAL_ADDRESS start = low & ~15u;
	ULONG n;

	if ((low & 7) == 4)
		start |= (PHYSICAL_ADDRESS)word32(space + PCI_BAR0 + 4 * bar + 4) << 32;
	for (n = 0; n < config->NumberOfAccessRanges; n++) {
		ACCESS_RANGE *range = &config->AccessRanges[n];
		if (range->RangeLength == 0 || range->RangeStart != start)
			continue;
		if (offset > range->RangeLength || length > range->RangeLength - offset)
			return NULL;
		return StorPortGetDeviceBase(adapter, config->AdapterInterfaceType, config->SystemIoBusNumber,
			start + offset, length, !range->RangeInMemory);
	}
	return NULL;
}

/* 4.1.4.10: the registers of the legacy interface, in the ports of BAR 0. Those of the device follow; with MSI-X on the
 * vectors lie between. */
static BOOLEAN find_ports(ADAPTER *adapter, PORT_CONFIGURATION_INFORMATION *config, const UCHAR *space)
{
	PHYSICAL_ADDRESS start = word32(space + PCI_BAR0) & ~3u;
	ULONG own = adapter->table_control & 0x8000 ? LEGACY_CONFIG_MSIX : LEGACY_CONFIG, n;
	UCHAR *base;

	if (!(word32(space + PCI_BAR0) & 1))
		return FALSE;
	for (n = 0; n < config->NumberOfAccessRanges; n++) {
		ACCESS_RANGE *range = &config->AccessRanges[n];
		if (range->RangeStart != start || range->RangeInMemory || range->RangeLength <= own)
			continue;
		base = StorPortGetDeviceBase(adapter, config->AdapterInterfaceType, config->SystemIoBusNumber, start,
			range->RangeLength, TRUE);
		if (base == NULL)
			return FALSE;
		adapter->legacy = TRUE;
		adapter->common = (REGION){ base, own, TRUE };
		adapter->notify = (REGION){ base + LEGACY_QUEUE_NOTIFY, 2, TRUE };
		adapter->isr = (REGION){ base + LEGACY_ISR, 1, TRUE };
		adapter->config = (REGION){ base + own, range->RangeLength - own, TRUE };
		adapter->notify_multiplier = 0;
		return TRUE;
	}
	return FALSE;
}

BOOLEAN find_structures(ADAPTER *adapter, PORT_CONFIGURATION_INFORMATION *config)
{
	UCHAR space[256];
	ULONG got, at, steps;

	got = StorPortGetBusData(adapter, PCIConfiguration, config->SystemIoBusNumber, config->SlotNumber,
		space, sizeof space);
	if (got != sizeof space)
		return FALSE;
	/* What was found before is of a device that was stopped since. */
	adapter->common.base = adapter->notify.base = adapter->isr.base = adapter->config.base = NULL;
	adapter->table_control = 0;
	adapter->legacy = FALSE;
	if (MAKES(adapter, EXACT_REVISION) && space[PCI_REVISION] != 1)
		return FALSE;
	at = space[PCI_STATUS] & 0x10 ? space[PCI_CAPABILITIES] & ~3u : 0;
	for (steps = 0; at >= 0x40 && at <= 240 && steps < 48; steps++, at = space[at + 1] & ~3u) {
		if (space[at] == CAPABILITY_MSIX)
			adapter->table_control = word32(space + at) >> 16;
		if (space[at] != CAPABILITY_VENDOR || space[at + 2] < 16)
			continue;
		UCHAR type = space[at + 3], bar = space[at + 4];
		ULONG offset = word32(space + at + 8), length = word32(space + at + 12);
		if ((MAKES(adapter, RESERVED_TYPE_REFUSED) && (type == 0 || type > TYPE_PCI))
			|| (MAKES(adapter, EXACT_CAP_LEN) && space[at + 2] != (type == TYPE_NOTIFY || type == TYPE_PCI ? 20 : 16))
			|| (MAKES(adapter, LARGE_STRUCTURE_REFUSED) && length > 0x10000)
			|| (MAKES(adapter, EXACT_CONFIG_LENGTH) && type == TYPE_DEVICE && length != 256)) {
			DbgPrint("virtio: a capability is not as it was thought to be\n");
			return FALSE;
		}
		REGION *region = type == TYPE_COMMON ? &adapter->common
			: type == TYPE_NOTIFY ? &adapter->notify
			: type == TYPE_ISR ? &adapter->isr
			: type == TYPE_DEVICE ? &adapter->config : NULL;
		/* 4.1.4.1: the first of several that it can use, and nothing of a reserved BAR. */
		if (region == NULL || (region->base != NULL && !MAKES(adapter, LAST_CAPABILITY)) || bar > 5)
			continue;
		region->base = map(adapter, config, space, bar, offset, length);
		region->length = length;
		region->ports = FALSE;
		if (type == TYPE_NOTIFY && at <= 256 - 20)
			adapter->notify_multiplier = word32(space + at + 16);
	}
	if (!MAKES(adapter, LEGACY_INTERFACE) && adapter->common.base && adapter->notify.base && adapter->isr.base)
		return TRUE;
	return find_ports(adapter, config, space);
}

#ifdef INLINE_REGISTERS
/* As a release build has them: the documented macros are plain accesses and port instructions on x64. */
#define ACCESS(type, name, size, r) \
	static inline type get_##type(ADAPTER *adapter, REGION *region, ULONG at) \
	{ \
		type value; \
		(void)adapter; \
		if (!region->ports) \
			return *(volatile type *)(region->base + at); \
		__asm__ volatile("in" size " %w1, %" r "0" : "=a"(value) : "Nd"((USHORT)(uintptr_t)(region->base + at))); \
		return value; \
	} \
	static inline void put_##type(ADAPTER *adapter, REGION *region, ULONG at, type value) \
	{ \
		(void)adapter; \
		if (region->ports) { \
			__asm__ volatile("out" size " %" r "0, %w1" : : "a"(value), "Nd"((USHORT)(uintptr_t)(region->base + at))); \
			return; \
		} \
		*(volatile type *)(region->base + at) = value; \
		barrier(); \
	}
#else
#define ACCESS(type, name, size, r) \
	static inline type get_##type(ADAPTER *adapter, REGION *region, ULONG at) \
	{ \
		type *place = (type *)(region->base + at); \
		return region->ports ? StorPortReadPort##name(adapter, place) : StorPortReadRegister##name(adapter, place); \
	} \
	static inline void put_##type(ADAPTER *adapter, REGION *region, ULONG at, type value) \
	{ \
		type *place = (type *)(region->base + at); \
		if (region->ports) \
			StorPortWritePort##name(adapter, place, value); \
		else \
			StorPortWriteRegister##name(adapter, place, value); \
	}
#endif
ACCESS(UCHAR, Uchar, "b", "b")
ACCESS(USHORT, Ushort, "w", "w")
ACCESS(ULONG, Ulong, "l", "k")

ULONG read8(ADAPTER *adapter, REGION *region, ULONG at)
{
	return get_UCHAR(adapter, region, at);
}

ULONG read16(ADAPTER *adapter, REGION *region, ULONG at)
{
	return get_USHORT(adapter, region, at);
}

ULONG read32(ADAPTER *adapter, REGION *region, ULONG at)
{
	return get_ULONG(adapter, region, at);
}

void write8(ADAPTER *adapter, REGION *region, ULONG at, ULONG value)
{
	put_UCHAR(adapter, region, at, (UCHAR)value);
}

void write16(ADAPTER *adapter, REGION *region, ULONG at, ULONG value)
{
	put_USHORT(adapter, region, at, (USHORT)value);
}

void write32(ADAPTER *adapter, REGION *region, ULONG at, ULONG value)
{
	put_ULONG(adapter, region, at, value);
}

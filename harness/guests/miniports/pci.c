/* The device's place in configuration space and its registers. */
#include "virtio.h"

#define PCI_STATUS 0x06
#define PCI_BAR0 0x10
#define PCI_CAPABILITIES 0x34
#define CAPABILITY_VENDOR 0x09
#define CAPABILITY_MSIX 0x11

/* cfg_type, virtio 1.3, 4.1.4 */
enum { TYPE_COMMON = 1, TYPE_NOTIFY, TYPE_ISR, TYPE_DEVICE };

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

BOOLEAN find_structures(ADAPTER *adapter, PORT_CONFIGURATION_INFORMATION *config)
{
	UCHAR space[256];
	ULONG got, at, steps;

	got = StorPortGetBusData(adapter, PCIConfiguration, config->SystemIoBusNumber, config->SlotNumber,
		space, sizeof space);
	if (got != sizeof space)
		return FALSE;
	if (!(space[PCI_STATUS] & 0x10))
		return FALSE;
	/* What was found before is of a device that was stopped since. */
	adapter->common.base = adapter->notify.base = adapter->isr.base = adapter->config.base = NULL;
	adapter->table_control = 0;
	at = space[PCI_CAPABILITIES] & ~3u;
	for (steps = 0; at >= 0x40 && at <= 240 && steps < 48; steps++, at = space[at + 1] & ~3u) {
		if (space[at] == CAPABILITY_MSIX)
			adapter->table_control = word32(space + at) >> 16;
		if (space[at] != CAPABILITY_VENDOR || space[at + 2] < 16)
			continue;
		UCHAR type = space[at + 3], bar = space[at + 4];
		ULONG offset = word32(space + at + 8), length = word32(space + at + 12);
		REGION *region = type == TYPE_COMMON ? &adapter->common
			: type == TYPE_NOTIFY ? &adapter->notify
			: type == TYPE_ISR ? &adapter->isr
			: type == TYPE_DEVICE ? &adapter->config : NULL;
		/* 4.1.4.1: the first of several that it can use, and nothing of a reserved BAR. */
		if (region == NULL || region->base != NULL || bar > 5)
			continue;
		region->base = map(adapter, config, space, bar, offset, length);
		region->length = length;
		if (type == TYPE_NOTIFY && at <= 256 - 20)
			adapter->notify_multiplier = word32(space + at + 16);
	}
	return adapter->common.base && adapter->notify.base && adapter->isr.base;
}

#ifdef INLINE_REGISTERS
/* As a release build has them: the documented macros are plain accesses on x64. */
#define ACCESS(type, name) \
	static inline type get_##type(ADAPTER *adapter, UCHAR *at) \
	{ \
		(void)adapter; \
		return *(volatile type *)at; \
	} \
	static inline void put_##type(ADAPTER *adapter, UCHAR *at, type value) \
	{ \
		(void)adapter; \
		*(volatile type *)at = value; \
		barrier(); \
	}
#else
#define ACCESS(type, name) \
	static inline type get_##type(ADAPTER *adapter, UCHAR *at) \
	{ \
		return StorPortReadRegister##name(adapter, (type *)at); \
	} \
	static inline void put_##type(ADAPTER *adapter, UCHAR *at, type value) \
	{ \
		StorPortWriteRegister##name(adapter, (type *)at, value); \
	}
#endif
ACCESS(UCHAR, Uchar)
ACCESS(USHORT, Ushort)
ACCESS(ULONG, Ulong)

ULONG read8(ADAPTER *adapter, REGION *region, ULONG at)
{
	return get_UCHAR(adapter, region->base + at);
}

ULONG read16(ADAPTER *adapter, REGION *region, ULONG at)
{
	return get_USHORT(adapter, region->base + at);
}

ULONG read32(ADAPTER *adapter, REGION *region, ULONG at)
{
	return get_ULONG(adapter, region->base + at);
}

void write8(ADAPTER *adapter, REGION *region, ULONG at, ULONG value)
{
	put_UCHAR(adapter, region->base + at, (UCHAR)value);
}

void write16(ADAPTER *adapter, REGION *region, ULONG at, ULONG value)
{
	put_USHORT(adapter, region->base + at, (USHORT)value);
}

void write32(ADAPTER *adapter, REGION *region, ULONG at, ULONG value)
{
	put_ULONG(adapter, region->base + at, value);
}

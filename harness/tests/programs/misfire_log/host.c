/* misfire_log.h on the machine that runs the tests: DbgPrintEx writes to the standard output. What is declared here
 * of the kernel is what the header uses, after Microsoft's documentation of CM_PARTIAL_RESOURCE_DESCRIPTOR. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

typedef uint8_t UCHAR;
typedef uint16_t USHORT;
typedef uint32_t ULONG;
typedef int32_t LONG, NTSTATUS;
typedef uintptr_t KAFFINITY;
typedef union {
	int64_t QuadPart;
} PHYSICAL_ADDRESS;
typedef struct {
	UCHAR Type;
	UCHAR ShareDisposition;
	USHORT Flags;
	union {
		struct {
			PHYSICAL_ADDRESS Start;
			ULONG Length;
		} Memory;
		struct {
			ULONG Level;
			ULONG Vector;
			KAFFINITY Affinity;
		} Interrupt;
		struct {
			union {
				struct {
					USHORT Reserved;
					USHORT MessageCount;
					ULONG Vector;
					KAFFINITY Affinity;
				} Raw;
				struct {
					ULONG Level;
					ULONG Vector;
					KAFFINITY Affinity;
				} Translated;
			};
		} MessageInterrupt;
	} u;
} CM_PARTIAL_RESOURCE_DESCRIPTOR;
typedef struct {
	USHORT Version;
	USHORT Revision;
	ULONG Count;
	CM_PARTIAL_RESOURCE_DESCRIPTOR PartialDescriptors[3];
} CM_PARTIAL_RESOURCE_LIST;
typedef struct {
	CM_PARTIAL_RESOURCE_LIST PartialResourceList;
} CM_FULL_RESOURCE_DESCRIPTOR;
typedef struct {
	ULONG Count;
	CM_FULL_RESOURCE_DESCRIPTOR List[1];
} CM_RESOURCE_LIST;

#define CmResourceTypeInterrupt 2
#define CmResourceTypeMemory 3
#define CM_RESOURCE_INTERRUPT_MESSAGE 2
#define DPFLTR_IHVDRIVER_ID 77
#define DPFLTR_ERROR_LEVEL 0
#define InterlockedIncrement(at) (++*(at))

static ULONG DbgPrintEx(ULONG component, ULONG level, const char *format, ...)
{
	va_list arguments;
	(void)component;
	(void)level;
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	return 0;
}

#include "driver.h"

int main(void)
{
	CM_RESOURCE_LIST raw = {0}, translated = {0};
	CM_PARTIAL_RESOURCE_DESCRIPTOR *r = raw.List[0].PartialResourceList.PartialDescriptors;
	CM_PARTIAL_RESOURCE_DESCRIPTOR *t = translated.List[0].PartialResourceList.PartialDescriptors;
	raw.Count = translated.Count = 1;
	raw.List[0].PartialResourceList.Count = translated.List[0].PartialResourceList.Count = 3;
	r[0].Type = t[0].Type = CmResourceTypeMemory;
	t[0].u.Memory.Start.QuadPart = 0x8fe000000;
	t[0].u.Memory.Length = 0x4000;
	r[1].Type = t[1].Type = CmResourceTypeInterrupt;
	r[1].Flags = t[1].Flags = 3;
	r[1].u.MessageInterrupt.Raw.MessageCount = 16;
	r[1].u.MessageInterrupt.Raw.Vector = 0x63;
	t[1].u.MessageInterrupt.Translated.Level = 6;
	t[1].u.MessageInterrupt.Translated.Vector = 0x63;
	t[1].u.MessageInterrupt.Translated.Affinity = (KAFFINITY)0xffffffff0000000f;
	r[2].Type = t[2].Type = CmResourceTypeInterrupt;
	r[2].u.Interrupt.Level = 17;
	r[2].u.Interrupt.Vector = 17;
	t[2].u.Interrupt.Level = 11;
	t[2].u.Interrupt.Vector = 0xb1;
	EveryCall(&raw, &translated);
	return 0;
}

/*
 * misfire_log.h: what Misfire would like to hear from a Windows driver about its interrupts.
 *
 * One file, no dependencies but the kernel's own headers, WDM and KMDF, C and C++, free builds too. Include it
 * after <ntddk.h>, <wdm.h> or <wdf.h>, and call it where the comments say. It prints through DbgPrintEx, at a
 * level that an unprepared system lets through; a debugger, DebugView or `misfire kd` shows the lines, and
 * `misfire run` compares them with what the device saw. A driver may ship with it: define MISFIRE_LOG_OFF, and
 * every call is nothing.
 *
 *     static MISFIRE_LOG Log;
 *     MisfireLogInit(&Log, "blk");
 *
 * Each device that is to be told apart has a MISFIRE_LOG of its own, with a name of its own: letters, digits,
 * `-`, `_` and `.`. The lines are those that docs/windows.md describes; a line is at most 200 bytes long.
 *
 * Apache-2.0 OR MIT, as Misfire is.
 */
#ifndef MISFIRE_LOG_H
#define MISFIRE_LOG_H

/* The component and the level. Level 0 (DPFLTR_ERROR_LEVEL) is in the mask that Windows begins with. */
#ifndef MISFIRE_LOG_COMPONENT
#define MISFIRE_LOG_COMPONENT DPFLTR_IHVDRIVER_ID
#endif
#ifndef MISFIRE_LOG_LEVEL
#define MISFIRE_LOG_LEVEL DPFLTR_ERROR_LEVEL
#endif

/* Messages that are counted one by one; those with a higher number are counted together. */
#ifndef MISFIRE_LOG_MESSAGES
#define MISFIRE_LOG_MESSAGES 64
#endif

/* A WDK project for KMDF defines KMDF_VERSION_MAJOR; others say so themselves. */
#if defined(KMDF_VERSION_MAJOR) && !defined(MISFIRE_LOG_KMDF)
#define MISFIRE_LOG_KMDF
#endif

typedef struct _MISFIRE_LOG_COUNT {
	volatile LONG Isr;
	volatile LONG Dpc;
} MISFIRE_LOG_COUNT;

typedef struct _MISFIRE_LOG {
	const char *Name;
	/* Message I at I, all with a higher number at the end. */
	MISFIRE_LOG_COUNT Message[MISFIRE_LOG_MESSAGES + 1];
	MISFIRE_LOG_COUNT Line;
	/* Interrupts of the line that were not the device's. */
	volatile LONG Unclaimed;
	/* The last message that came, and the ISR status that was read last. */
	volatile LONG LastMessage;
	volatile LONG LastStatus;
} MISFIRE_LOG;

#ifdef MISFIRE_LOG_OFF
/* Not evaluated, and no parameter is unused. */
#define MISFIRE_LOG_PRINT(...) ((void)sizeof(DbgPrintEx(MISFIRE_LOG_COMPONENT, MISFIRE_LOG_LEVEL, __VA_ARGS__)))
#else
#define MISFIRE_LOG_PRINT(...) ((void)DbgPrintEx(MISFIRE_LOG_COMPONENT, MISFIRE_LOG_LEVEL, __VA_ARGS__))
#endif

/* Every number is printed as a 32-bit one: no length modifier that a kernel of one age lacks is needed. */
#define MISFIRE_LOG_U(value) ((unsigned long)(value))
#define MISFIRE_LOG_HIGH(value) ((unsigned long)(((unsigned long long)(value) >> 32) & 0xffffffffu))
#define MISFIRE_LOG_LOW(value) ((unsigned long)((unsigned long long)(value)&0xffffffffu))

/* Once, before anything else: in DriverEntry, AddDevice or EvtDriverDeviceAdd. */
static __inline void MisfireLogInit(MISFIRE_LOG *log, const char *name)
{
	unsigned i;
	log->Name = name;
	for (i = 0; i <= MISFIRE_LOG_MESSAGES; i++) {
		log->Message[i].Isr = 0;
		log->Message[i].Dpc = 0;
	}
	log->Line.Isr = 0;
	log->Line.Dpc = 0;
	log->Unclaimed = 0;
	log->LastMessage = -1;
	log->LastStatus = 0;
	MISFIRE_LOG_PRINT("MISFIRE-LOG %s init version=1\n", name);
}

/*
 * IRP_MN_START_DEVICE or EvtDevicePrepareHardware, for each resource: its index, its raw descriptor, and its
 * translated one. The number of messages is in the raw descriptor; the level and the vector that the processor
 * sees are in the translated one. MSI has one descriptor for all messages, MSI-X one for each.
 */
static __inline void MisfireLogResource(const MISFIRE_LOG *log, unsigned index,
	const CM_PARTIAL_RESOURCE_DESCRIPTOR *raw, const CM_PARTIAL_RESOURCE_DESCRIPTOR *translated)
{
	if (raw->Type == CmResourceTypeMemory) {
		MISFIRE_LOG_PRINT("MISFIRE-LOG %s resource index=%lu kind=memory start=0x%08lx%08lx length=0x%lx\n", log->Name,
			MISFIRE_LOG_U(index), MISFIRE_LOG_HIGH(translated->u.Memory.Start.QuadPart),
			MISFIRE_LOG_LOW(translated->u.Memory.Start.QuadPart), MISFIRE_LOG_U(translated->u.Memory.Length));
	}
	if (raw->Type != CmResourceTypeInterrupt)
		return;
	if (raw->Flags & CM_RESOURCE_INTERRUPT_MESSAGE) {
		MISFIRE_LOG_PRINT("MISFIRE-LOG %s resource index=%lu kind=message raw count=%lu vector=0x%lx affinity=0x%08lx%08lx flags=0x%lx\n",
			log->Name, MISFIRE_LOG_U(index), MISFIRE_LOG_U(raw->u.MessageInterrupt.Raw.MessageCount),
			MISFIRE_LOG_U(raw->u.MessageInterrupt.Raw.Vector), MISFIRE_LOG_HIGH(raw->u.MessageInterrupt.Raw.Affinity),
			MISFIRE_LOG_LOW(raw->u.MessageInterrupt.Raw.Affinity), MISFIRE_LOG_U(raw->Flags));
		MISFIRE_LOG_PRINT("MISFIRE-LOG %s resource index=%lu kind=message translated level=%lu vector=0x%lx affinity=0x%08lx%08lx flags=0x%lx\n",
			log->Name, MISFIRE_LOG_U(index), MISFIRE_LOG_U(translated->u.MessageInterrupt.Translated.Level),
			MISFIRE_LOG_U(translated->u.MessageInterrupt.Translated.Vector),
			MISFIRE_LOG_HIGH(translated->u.MessageInterrupt.Translated.Affinity),
			MISFIRE_LOG_LOW(translated->u.MessageInterrupt.Translated.Affinity), MISFIRE_LOG_U(translated->Flags));
	} else {
		MISFIRE_LOG_PRINT("MISFIRE-LOG %s resource index=%lu kind=line raw level=%lu vector=0x%lx flags=0x%lx\n", log->Name,
			MISFIRE_LOG_U(index), MISFIRE_LOG_U(raw->u.Interrupt.Level), MISFIRE_LOG_U(raw->u.Interrupt.Vector),
			MISFIRE_LOG_U(raw->Flags));
		MISFIRE_LOG_PRINT("MISFIRE-LOG %s resource index=%lu kind=line translated level=%lu vector=0x%lx affinity=0x%08lx%08lx flags=0x%lx\n",
			log->Name, MISFIRE_LOG_U(index), MISFIRE_LOG_U(translated->u.Interrupt.Level),
			MISFIRE_LOG_U(translated->u.Interrupt.Vector), MISFIRE_LOG_HIGH(translated->u.Interrupt.Affinity),
			MISFIRE_LOG_LOW(translated->u.Interrupt.Affinity), MISFIRE_LOG_U(translated->Flags));
	}
}

/* WDM: both lists of IRP_MN_START_DEVICE. Either may be absent, and then there is nothing to say. */
static __inline void MisfireLogResources(const MISFIRE_LOG *log, const CM_RESOURCE_LIST *raw,
	const CM_RESOURCE_LIST *translated)
{
	unsigned i;
	if (!raw || !translated || raw->Count == 0 || translated->Count == 0)
		return;
	for (i = 0; i < raw->List[0].PartialResourceList.Count && i < translated->List[0].PartialResourceList.Count; i++) {
		MisfireLogResource(log, i, &raw->List[0].PartialResourceList.PartialDescriptors[i],
			&translated->List[0].PartialResourceList.PartialDescriptors[i]);
	}
}

/* After each interrupt is connected: what the system says of it. `number` is the message number, from 0. */
static __inline void MisfireLogInterrupt(const MISFIRE_LOG *log, int messageSignaled, ULONG number, ULONG vector,
	ULONG irql, KAFFINITY affinity)
{
	MISFIRE_LOG_PRINT("MISFIRE-LOG %s interrupt signaled=%lu number=%lu vector=0x%lx irql=%lu affinity=0x%08lx%08lx\n",
		log->Name, MISFIRE_LOG_U(messageSignaled != 0), MISFIRE_LOG_U(number), MISFIRE_LOG_U(vector),
		MISFIRE_LOG_U(irql), MISFIRE_LOG_HIGH(affinity), MISFIRE_LOG_LOW(affinity));
}

/* When connecting fails: the vector of the descriptor, and the status. */
static __inline void MisfireLogConnectFailed(const MISFIRE_LOG *log, ULONG vector, NTSTATUS status)
{
	MISFIRE_LOG_PRINT("MISFIRE-LOG %s connect-failed vector=0x%lx status=0x%08lx\n", log->Name, MISFIRE_LOG_U(vector),
		MISFIRE_LOG_LOW((ULONG)status));
}

/* After config_msix_vector was written: what was written, and what it read as afterwards. */
static __inline void MisfireLogConfigVector(const MISFIRE_LOG *log, USHORT written, USHORT readBack)
{
	MISFIRE_LOG_PRINT("MISFIRE-LOG %s config-vector wrote=%lu read=%lu\n", log->Name, MISFIRE_LOG_U(written),
		MISFIRE_LOG_U(readBack));
}

/* The same of a queue's queue_msix_vector. */
static __inline void MisfireLogQueueVector(const MISFIRE_LOG *log, USHORT queue, USHORT written, USHORT readBack)
{
	MISFIRE_LOG_PRINT("MISFIRE-LOG %s queue-vector queue=%lu wrote=%lu read=%lu\n", log->Name, MISFIRE_LOG_U(queue),
		MISFIRE_LOG_U(written), MISFIRE_LOG_U(readBack));
}

/* When the driver sees DEVICE_NEEDS_RESET, and when a request was not done in time. */
static __inline void MisfireLogNeedsReset(const MISFIRE_LOG *log)
{
	MISFIRE_LOG_PRINT("MISFIRE-LOG %s needs-reset\n", log->Name);
}
static __inline void MisfireLogTimedOut(const MISFIRE_LOG *log, USHORT queue)
{
	MISFIRE_LOG_PRINT("MISFIRE-LOG %s timed-out queue=%lu\n", log->Name, MISFIRE_LOG_U(queue));
}

/* A request was done, and no interrupt had said so: a timer or a poll found it. */
static __inline void MisfireLogLost(const MISFIRE_LOG *log, USHORT queue)
{
	MISFIRE_LOG_PRINT("MISFIRE-LOG %s lost queue=%lu\n", log->Name, MISFIRE_LOG_U(queue));
}

/* Counters. They print nothing, so they may be called at any IRQL, first of all in the ISR. */
static __inline MISFIRE_LOG_COUNT *MisfireLogOf(MISFIRE_LOG *log, ULONG message)
{
	return &log->Message[message < MISFIRE_LOG_MESSAGES ? message : MISFIRE_LOG_MESSAGES];
}
static __inline void MisfireLogIsr(MISFIRE_LOG *log, ULONG message)
{
	InterlockedIncrement(&MisfireLogOf(log, message)->Isr);
	log->LastMessage = (LONG)message;
}
static __inline void MisfireLogDpc(MISFIRE_LOG *log, ULONG message)
{
	InterlockedIncrement(&MisfireLogOf(log, message)->Dpc);
}
/* The line: the ISR status that was read. 0 is an interrupt of somebody else. */
static __inline void MisfireLogLineIsr(MISFIRE_LOG *log, UCHAR isrStatus)
{
	InterlockedIncrement(isrStatus ? &log->Line.Isr : &log->Unclaimed);
	if (isrStatus)
		log->LastStatus = isrStatus;
}
static __inline void MisfireLogLineDpc(MISFIRE_LOG *log)
{
	InterlockedIncrement(&log->Line.Dpc);
}

/*
 * All counters that are not 0, from a timer or when the device stops, at IRQL <= DISPATCH_LEVEL. One that counts
 * nothing where something was to come is what a missing interrupt looks like.
 */
static __inline void MisfireLogCounts(const MISFIRE_LOG *log)
{
	unsigned i;
	for (i = 0; i <= MISFIRE_LOG_MESSAGES; i++) {
		if (log->Message[i].Isr || log->Message[i].Dpc) {
			MISFIRE_LOG_PRINT("MISFIRE-LOG %s count %s=%lu isr=%lu dpc=%lu last=%ld\n", log->Name,
				i < MISFIRE_LOG_MESSAGES ? "message" : "from", MISFIRE_LOG_U(i), MISFIRE_LOG_U(log->Message[i].Isr),
				MISFIRE_LOG_U(log->Message[i].Dpc), (long)log->LastMessage);
		}
	}
	if (log->Line.Isr || log->Line.Dpc || log->Unclaimed) {
		MISFIRE_LOG_PRINT("MISFIRE-LOG %s count line isr=%lu dpc=%lu unclaimed=%lu status=0x%lx\n", log->Name,
			MISFIRE_LOG_U(log->Line.Isr), MISFIRE_LOG_U(log->Line.Dpc), MISFIRE_LOG_U(log->Unclaimed),
			MISFIRE_LOG_U(log->LastStatus));
	}
}

#ifdef MISFIRE_LOG_KMDF
/* EvtDevicePrepareHardware. */
static __inline void MisfireLogWdfResources(const MISFIRE_LOG *log, WDFCMRESLIST raw, WDFCMRESLIST translated)
{
	ULONG i;
	ULONG count = WdfCmResourceListGetCount(translated);
	for (i = 0; i < count; i++) {
		const CM_PARTIAL_RESOURCE_DESCRIPTOR *r = WdfCmResourceListGetDescriptor(raw, i);
		const CM_PARTIAL_RESOURCE_DESCRIPTOR *t = WdfCmResourceListGetDescriptor(translated, i);
		if (r && t)
			MisfireLogResource(log, i, r, t);
	}
}

/* EvtInterruptEnable, or EvtDeviceD0EntryPostInterruptsEnabled, for each interrupt object. */
static __inline void MisfireLogWdfInterrupt(const MISFIRE_LOG *log, WDFINTERRUPT interrupt)
{
	WDF_INTERRUPT_INFO info;
	WDF_INTERRUPT_INFO_INIT(&info);
	WdfInterruptGetInfo(interrupt, &info);
	MisfireLogInterrupt(log, info.MessageSignaled, info.MessageNumber, info.Vector, info.Irql, info.TargetProcessorSet);
}
#endif

#endif

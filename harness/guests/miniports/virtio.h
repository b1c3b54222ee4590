/* What the miniports have in common: the device's registers, its queues, and the adapter. */
#ifndef MISFIRE_VIRTIO_H
#define MISFIRE_VIRTIO_H

#include "ddi.h"

#define MOST_QUEUES 8
#define MOST_DESCRIPTORS 64
#define MOST_OBJECTS 40
#define MOST_SLOTS 64
#define MOST_TAGS 256
/* Pieces of memory in a request: header, data, status. */
#define MOST_BREAKS 16
#define MOST_PIECES (MOST_BREAKS + 3)

/* virtio 1.3, 2.1 */
#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER 2
#define STATUS_DRIVER_OK 4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 64
#define STATUS_FAILED 128

#define NO_VECTOR 0xffff
#define NO_QUEUE 0xffff

/* virtio 1.3, 6 */
#define FEATURE_VERSION_1 32
#define FEATURE_ACCESS_PLATFORM 33
#define FEATURE_SR_IOV 37
/* What no version has given a meaning. */
#define UNKNOWN_FEATURES (BIT(25) | BIT(26) | BIT(30) | BIT(31) | 0x3full << 44)
#define BIT(n) (1ULL << (n))

/* What a driver does wrong, by name: `mistake=` in the argument string. */
enum MISTAKE {
#define MISTAKE(name, text) name,
#include "mistakes.h"
#undef MISTAKE
	MISTAKES
};

typedef struct {
	UCHAR *base; /* NULL: the device has none */
	ULONG length;
	BOOLEAN ports; /* and no memory */
} REGION;

/* 2.7: a split virtqueue */
typedef struct {
	struct {
		ULONGLONG address;
		ULONG length;
		USHORT flags;
		USHORT next;
	} volatile *descriptors;
	struct {
		USHORT flags;
		USHORT index;
		USHORT ring[];
	} volatile *available;
	struct {
		USHORT flags;
		USHORT index;
		struct {
			ULONG id;
			ULONG length;
		} ring[];
	} volatile *used;
	USHORT size;      /* of the ring; no more than MOST_DESCRIPTORS of it are used */
	USHORT free;      /* first free descriptor */
	USHORT free_left;
	USHORT taken;     /* used index up to which requests have been finished */
	USHORT next;      /* available index */
	USHORT notify_offset;
	PVOID requests[MOST_DESCRIPTORS]; /* by the first descriptor */
	ULONGLONG notified;
	STOR_DPC dpc;
} QUEUE;

typedef struct {
	ULONGLONG address;
	ULONG length;
	BOOLEAN writable; /* by the device */
} PIECE;

typedef struct ADAPTER {
	REGION common, notify, isr, config;
	BOOLEAN legacy;      /* the interface of 4.1.4.10 */
	ULONG notify_multiplier;
	ULONG status;        /* what was written to device_status since the reset */
	ULONG table_control; /* the MSI-X capability's control word, 0 without one */
	ULONG messages;      /* granted */
	BOOLEAN shared;      /* one message for everything */
	BOOLEAN ready;       /* the passive part of the start is done: DPCs may be used */
	BOOLEAN live;
	BOOLEAN early;       /* an interrupt came before `ready` */
	BOOLEAN dump;        /* a crash dump is written: no interrupts, no DPCs, one queue for requests */
	BOOLEAN redirects;   /* the port driver says on which message a request is to complete */
	BOOLEAN concurrent;  /* HwStorStartIo runs on several processors at once */
	ULONGLONG offered, features, wanted;
	USHORT queues;       /* in use, of `all_queues` */
	USHORT all_queues;
	USHORT turn;
	UCHAR *rings;        /* the uncached extension */
	ULONG ring_bytes;    /* for each queue */
	UCHAR *kept;         /* behind the rings: what the device has all the time */
	volatile LONG config_changed;
	STOR_DPC config_dpc;
	STOR_DPC spare_dpc;  /* never initialised */
	STOR_DPC many[MOST_OBJECTS]; /* never issued: their locks are used */
	ULONG turns;         /* of their locks */
	ULONGLONG taken;     /* slots, a bit for each */
	volatile ULONG slots[MOST_SLOTS];
	volatile ULONG tags[MOST_TAGS]; /* by those of requests */
	volatile BOOLEAN seen; /* an interrupt */
	STORAGE_REQUEST_BLOCK *waiting; /* for the timer */
	volatile ULONG raced; /* a word that processors share by mistake */
	volatile ULONG waits;
	volatile ULONG interrupts[MOST_QUEUES]; /* neighbours, each under the lock of its message */
	ULONG called;        /* the routines of the port driver have been */
	ULONG met;           /* who holds a lock and waits for another processor, while a mistake is made */
	STOR_LOCK_HANDLE handle; /* of a lock that another processor releases, which is a mistake */
	QUEUE queue[MOST_QUEUES];
	GROUP_AFFINITY targets[MOST_QUEUES];
	UCHAR mistakes[MISTAKES];
	/* The kind's own. */
	ULONGLONG capacity;
	ULONG most_ranges;   /* of a discard */
	ULONG poll_limit;
	ULONG apart;         /* requests whose head and tail are in the common buffer */
} ADAPTER;

#define MAKES(adapter, mistake) ((adapter)->mistakes[mistake])

/* A request's extension, which the device can reach: what it reads first, what it writes last, and the pieces of
 * all that it reaches. */
typedef struct {
	UCHAR head[80];
	UCHAR tail[112];
	UCHAR *status;       /* of a block device: in the tail */
	ULONG count;
	ULONG slot;          /* from 1 on; 0: none */
	PIECE pieces[MOST_PIECES];
} REQUEST;

/* blk.c, scsi.c: what is of one kind of device alone. */
extern const ULONGLONG kind_features; /* beside those that every driver wants */
extern const USHORT kind_first;       /* the first queue for requests */
extern const USHORT kind_events;      /* the queue whose buffers are no requests */
extern const ULONG kind_memory;       /* bytes for buffers that the device has all the time */
/* Reads the configuration and fills `config`; FALSE: the device can't be used. How many queues it has for requests is
 * in `*queues`. */
BOOLEAN kind_find(ADAPTER *adapter, PORT_CONFIGURATION_INFORMATION *config, ULONG *queues);
/* FALSE: the request is completed already. */
BOOLEAN kind_build(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb);
/* Has the device reset a unit, or all; FALSE: it can't be asked for that. */
/* Which queue a request goes to. */
QUEUE *kind_queue(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb);
/* At the end of HwInitialize, with the number of messages known. */
void kind_tune(ADAPTER *adapter);
BOOLEAN kind_reset(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb);
void kind_finish(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb);
/* The queues are ready: the device gets the buffers that it has all the time. */
void kind_offer(ADAPTER *adapter);
/* A queue before the first for requests has something; under the StartIo lock. TRUE: units may have changed. */
BOOLEAN kind_look(ADAPTER *adapter, QUEUE *queue);
void kind_changed(ADAPTER *adapter);
/* NULL: it hears of its units by requests. */
extern HW_UNIT_CONTROL *const kind_unit_control;

/* adapter.c */
BOOLEAN HwResetBus(PVOID extension, ULONG path);
/* A device that has just failed may need more than one attempt. */
BOOLEAN restart(ADAPTER *adapter);
/* After a reset: whatever the device had is over. */
void complete_all(ADAPTER *adapter, UCHAR status);

/* interrupts.c */
void HwQueueDpc(STOR_DPC *dpc, PVOID extension, PVOID argument1, PVOID argument2);
void HwConfigDpc(STOR_DPC *dpc, PVOID extension, PVOID argument1, PVOID argument2);
BOOLEAN HwMessageInterrupt(PVOID extension, ULONG message);
BOOLEAN HwInterrupt(PVOID extension);
void issue(ADAPTER *adapter, STOR_DPC *dpc, PVOID argument);
void issue_queue(ADAPTER *adapter, USHORT n);
/* What guards a ring: the StartIo lock, or where HwStorStartIo is called without, the lock of the queue's message. */
typedef struct {
	STOR_LOCK_HANDLE handle;
	ULONG old;
} QUEUE_LOCK;
void lock_queue(ADAPTER *adapter, QUEUE *queue, QUEUE_LOCK *lock);
void unlock_queue(ADAPTER *adapter, QUEUE *queue, QUEUE_LOCK *lock);
/* With the StartIo lock held: the rings of all queues. */
typedef struct {
	ULONG old[MOST_QUEUES];
} ALL_LOCKS;
void lock_all(ADAPTER *adapter, ALL_LOCKS *locks);
void unlock_all(ADAPTER *adapter, ALL_LOCKS *locks);
/* For mistakes: says that it is here, and waits until another processor is there too: not for ever, since that may have
   nothing to do, but for longer than a busy host keeps it from running. */
enum { IN_START_IO = 1, IN_DPC = 2, RELEASED = 4, TRIED = 8, IN_RACE = 16 };
BOOLEAN meet(ADAPTER *adapter, ULONG own, ULONG other);
/* A mistake: two processors write one word, and nothing says which comes first. */
void race(ADAPTER *adapter);

/* requests.c */
BOOLEAN HwBuildIo(PVOID extension, STORAGE_REQUEST_BLOCK *srb);
BOOLEAN HwStartIo(PVOID extension, STORAGE_REQUEST_BLOCK *srb);
SRBEX_DATA_SCSI_CDB16 *command_of(STORAGE_REQUEST_BLOCK *srb);
void complete(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, UCHAR status);
void refuse(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, UCHAR key, UCHAR code);
void answer(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb, const UCHAR *bytes, ULONG length);
void device_is_gone(ADAPTER *adapter);
ULONGLONG number(const UCHAR *from, ULONG bytes);
ULONGLONG physical(ADAPTER *adapter, volatile void *address);
void add_piece(ADAPTER *adapter, REQUEST *request, volatile void *from, ULONG length, BOOLEAN writable);
BOOLEAN add_data(ADAPTER *adapter, REQUEST *request, STORAGE_REQUEST_BLOCK *srb, BOOLEAN writable);

/* liberties.c */
void prepare_liberties(ADAPTER *adapter);
void liberties_of_start_io(ADAPTER *adapter);
void liberties_of_dpc(ADAPTER *adapter);
void liberties_of_interrupt(ADAPTER *adapter);
void liberties_of_build(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb);
void liberties_of_completion(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb);
void liberties_of_control(ADAPTER *adapter, ULONG kind);
BOOLEAN liberties_of_request(ADAPTER *adapter, STORAGE_REQUEST_BLOCK *srb);

/* calls.c */
void call_registry(ADAPTER *adapter);
void call_routines(ADAPTER *adapter, STOR_DPC *dpc);

/* pci.c */
BOOLEAN find_structures(ADAPTER *adapter, PORT_CONFIGURATION_INFORMATION *config);
ULONG read8(ADAPTER *adapter, REGION *region, ULONG at);
ULONG read16(ADAPTER *adapter, REGION *region, ULONG at);
ULONG read32(ADAPTER *adapter, REGION *region, ULONG at);
void write8(ADAPTER *adapter, REGION *region, ULONG at, ULONG value);
void write16(ADAPTER *adapter, REGION *region, ULONG at, ULONG value);
void write32(ADAPTER *adapter, REGION *region, ULONG at, ULONG value);

/* device.c */
void add_status(ADAPTER *adapter, ULONG bits);
BOOLEAN reset_device(ADAPTER *adapter);
BOOLEAN negotiate(ADAPTER *adapter);
BOOLEAN go_live(ADAPTER *adapter);
/* A mistake. */
void disable_queues(ADAPTER *adapter);
ULONG device_status(ADAPTER *adapter);
/* How many queues the device has, `most` at most. */
ULONG count_queues(ADAPTER *adapter, ULONG most);
/* The memory that the ring of each of the first `queues` takes. */
ULONG ring_bytes(ADAPTER *adapter, ULONG queues);

/* queue.c */
ULONG ring_size(ADAPTER *adapter, ULONG size);
void prepare_queue(ADAPTER *adapter, USHORT index, USHORT size);
BOOLEAN submit(ADAPTER *adapter, QUEUE *queue, PVOID request, const PIECE *pieces, ULONG count);
PVOID take_finished(ADAPTER *adapter, QUEUE *queue, ULONG *length);
PVOID take_any(QUEUE *queue);

/* common configuration, virtio 1.3, 4.1.4.3 */
#define COMMON_DEVICE_FEATURE_SELECT 0x00
#define COMMON_DEVICE_FEATURE 0x04
#define COMMON_DRIVER_FEATURE_SELECT 0x08
#define COMMON_DRIVER_FEATURE 0x0c
#define COMMON_CONFIG_VECTOR 0x10
#define COMMON_NUM_QUEUES 0x12
#define COMMON_STATUS 0x14
#define COMMON_GENERATION 0x15
#define COMMON_QUEUE_SELECT 0x16
#define COMMON_QUEUE_SIZE 0x18
#define COMMON_QUEUE_VECTOR 0x1a
#define COMMON_QUEUE_ENABLE 0x1c
#define COMMON_QUEUE_NOTIFY_OFF 0x1e
#define COMMON_QUEUE_DESC 0x20
#define COMMON_QUEUE_DRIVER 0x28
#define COMMON_QUEUE_DEVICE 0x30

/* legacy interface, 4.1.4.10: offsets in the ports; the vectors are there with MSI-X alone */
#define LEGACY_FEATURES 0x00
#define LEGACY_DRIVER_FEATURES 0x04
#define LEGACY_QUEUE_ADDRESS 0x08
#define LEGACY_QUEUE_SIZE 0x0c
#define LEGACY_QUEUE_SELECT 0x0e
#define LEGACY_QUEUE_NOTIFY 0x10
#define LEGACY_STATUS 0x12
#define LEGACY_ISR 0x13
#define LEGACY_CONFIG_VECTOR 0x14
#define LEGACY_QUEUE_VECTOR 0x16
#define LEGACY_CONFIG 0x14
#define LEGACY_CONFIG_MSIX 0x18
#define LEGACY_ALIGN 4096u /* 2.7.2 */
/* device configuration of block devices, 5.2.4 */
#define CONFIG_WRITEBACK 32

#define barrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);

#endif

/* Split virtqueues: virtio 1.3, 2.7. */
#include "virtio.h"

#define DESCRIPTOR_NEXT 1
#define DESCRIPTOR_WRITE 2

static ULONG available_at(ULONG size)
{
	return 16 * size;
}

static ULONG used_at(ADAPTER *adapter, ULONG size)
{
	ULONG align = adapter->legacy ? LEGACY_ALIGN : 4;

	return (available_at(size) + 6 + 2 * size + align - 1) & ~(align - 1);
}

ULONG ring_size(ADAPTER *adapter, ULONG size)
{
	return (used_at(adapter, size) + 6 + 8 * size + 4095) & ~4095u;
}

void prepare_queue(ADAPTER *adapter, USHORT index, USHORT size)
{
	QUEUE *queue = &adapter->queue[index];
	UCHAR *memory = adapter->rings + index * adapter->ring_bytes;
	USHORT n;

	memset(memory, 0, adapter->ring_bytes);
	queue->descriptors = (PVOID)memory;
	queue->available = (PVOID)(memory + available_at(size));
	queue->used = (PVOID)(memory + used_at(adapter, size));
	if (MAKES(adapter, AVAILABLE_FLAGS_RESERVED))
		queue->available->flags = 2;
	if (MAKES(adapter, USED_FLAGS_NOT_ZEROED))
		queue->used->flags = 1;
	queue->size = size;
	queue->free = 0;
	queue->free_left = size < MOST_DESCRIPTORS ? size : MOST_DESCRIPTORS;
	queue->taken = queue->next = 0;
	for (n = 0; n < queue->free_left; n++) {
		queue->descriptors[n].next = n + 1;
		queue->requests[n] = NULL;
	}
}

/* FALSE: there is no room now. */
BOOLEAN submit(ADAPTER *adapter, QUEUE *queue, PVOID request, const PIECE *pieces, ULONG count)
{
	USHORT first = queue->free, at = first, last = first;
	ULONG n;

	if (count > queue->free_left)
		return FALSE;
	for (n = 0; n < count; n++) {
		last = at;
		queue->descriptors[at].address = pieces[n].address;
		queue->descriptors[at].length = pieces[n].length;
		queue->descriptors[at].flags = (n + 1 < count ? DESCRIPTOR_NEXT : 0)
			| (pieces[n].writable ? DESCRIPTOR_WRITE : 0);
		at = queue->descriptors[at].next;
	}
	(void)last;
	queue->free = at;
	queue->free_left -= (USHORT)count;
	queue->requests[first] = request;
	queue->available->ring[queue->next % queue->size] = first;
	barrier();
	queue->available->index = ++queue->next;
	barrier();
	if (!(queue->used->flags & 1) || MAKES(adapter, ALWAYS_NOTIFIES)) {
		USHORT index = (USHORT)(queue - adapter->queue);
		queue->notified++;
		write16(adapter, &adapter->notify, queue->notify_offset * adapter->notify_multiplier, index);
	}
	return TRUE;
}

static void release(QUEUE *queue, USHORT first)
{
	USHORT at = first, count = 1;

	while ((queue->descriptors[at].flags & DESCRIPTOR_NEXT) && count < queue->size) {
		at = queue->descriptors[at].next;
		count++;
	}
	queue->descriptors[at].next = queue->free;
	queue->free = first;
	queue->free_left += count;
	queue->requests[first] = NULL;
}

/* A request that the device has finished; NULL when there is none. What the device says of others
 * than those that it was given is passed over. */
PVOID take_finished(ADAPTER *adapter, QUEUE *queue, ULONG *length)
{
	(void)adapter;
	while (queue->taken != queue->used->index) {
		barrier();
		ULONG at = queue->taken % queue->size;
		ULONG id = queue->used->ring[at].id;
		*length = queue->used->ring[at].length;
		if ((USHORT)(queue->used->index - queue->taken) > queue->size) {
			DbgPrint("virtio: the used index jumped\n");
			queue->taken = queue->used->index;
			return NULL;
		}
		queue->taken++;
		if (MAKES(adapter, WRITES_USED_RING))
			queue->used->ring[at].id = 0xffffffff;
		if (id >= queue->size || id >= MOST_DESCRIPTORS || queue->requests[id] == NULL) {
			DbgPrint("virtio: used element %u is of no request\n", id);
			continue;
		}
		PVOID request = queue->requests[id];
		release(queue, (USHORT)id);
		return request;
	}
	return NULL;
}

/* A request that is not finished, after a reset; NULL when there is none left. */
PVOID take_any(QUEUE *queue)
{
	USHORT n;

	for (n = 0; n < queue->size && n < MOST_DESCRIPTORS; n++) {
		if (queue->requests[n] != NULL) {
			PVOID request = queue->requests[n];
			queue->requests[n] = NULL;
			return request;
		}
	}
	return NULL;
}

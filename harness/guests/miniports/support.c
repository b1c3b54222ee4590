/* What a compiler takes for granted, the parts of a release build, and the entry of the image. */
#include "virtio.h"

void *memcpy(void *to, const void *from, size_t n)
{
	void *result = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return result;
}

void *memset(void *to, int value, size_t n)
{
	void *result = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
	return result;
}

#ifdef RELEASE
/* The value that a compiler puts into the cookie, and a loader changes: "PE Format", the load
 * configuration directory's SecurityCookie; the value: one source. */
#define DEFAULT_COOKIE 0x00002b992ddfa232ull
uintptr_t __stack_chk_guard = DEFAULT_COOKIE;

#define FAST_FAIL_STACK_COOKIE 2
void __stack_chk_fail(void)
{
	KeBugCheckEx(0xf7 /* DRIVER_OVERRAN_STACK_BUFFER */, __stack_chk_guard, 0, 0, FAST_FAIL_STACK_COOKIE);
}

/* Control flow guard: the call site calls through this pointer, which a loader may leave as it is. */
static void no_check(uintptr_t target)
{
	(void)target;
}
__attribute__((section(".00cfg"))) void (*const __guard_check_icall_fptr)(uintptr_t) = no_check;

/* "PE Format", the load configuration structure for 64 bits, up to the guard's fields. */
__attribute__((used, section(".lcfg"))) const struct {
	ULONG Size, TimeDateStamp;
	USHORT MajorVersion, MinorVersion;
	ULONG GlobalFlagsClear, GlobalFlagsSet, CriticalSectionDefaultTimeout;
	ULONGLONG DeCommitFreeBlockThreshold, DeCommitTotalFreeThreshold, LockPrefixTable,
		MaximumAllocationSize, VirtualMemoryThreshold, ProcessAffinityMask;
	ULONG ProcessHeapFlags;
	USHORT CSDVersion, Reserved;
	ULONGLONG EditList;
	uintptr_t *SecurityCookie;
	ULONGLONG SEHandlerTable, SEHandlerCount;
	const PVOID GuardCFCheckFunctionPointer;
	ULONGLONG GuardCFDispatchFunctionPointer, GuardCFFunctionTable, GuardCFFunctionCount;
	ULONG GuardFlags, Alignment;
} _load_config_used = {
	.Size = 148,
	.SecurityCookie = &__stack_chk_guard,
	.GuardCFCheckFunctionPointer = (PVOID)&__guard_check_icall_fptr,
};
#endif

NTSTATUS DriverEntry(PVOID driver, PVOID path);

/* The entry of the image: the cookie, then the driver's own. */
NTSTATUS ImageEntry(PVOID driver, PVOID path);
#ifdef RELEASE
__attribute__((optimize("no-stack-protector")))
#endif
NTSTATUS ImageEntry(PVOID driver, PVOID path)
{
#ifdef RELEASE
	if (__stack_chk_guard == 0 || __stack_chk_guard == DEFAULT_COOKIE)
		__stack_chk_guard = DEFAULT_COOKIE ^ (uintptr_t)&driver;
#endif
	return DriverEntry(driver, path);
}

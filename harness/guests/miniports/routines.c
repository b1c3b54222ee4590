/* A driver that calls what the kernel exports and looks at what comes back. It drives no device: each routine that
 * answers as it should is named in the log, and the entry then says that it failed. */
#include "ddi.h"

IMPORT ULONG DbgPrintEx(ULONG component, ULONG level, const char *format, ...);
IMPORT ULONG KeQueryMaximumProcessorCountEx(USHORT group);
IMPORT PHYSICAL_ADDRESS MmGetPhysicalAddress(PVOID address);
IMPORT int _vsnprintf(char *buffer, size_t size, const char *format, __builtin_ms_va_list arguments);
IMPORT int memcmp(const void *a, const void *b, size_t n);
IMPORT void *memcpy(void *to, const void *from, size_t n);
IMPORT void *memmove(void *to, const void *from, size_t n);
IMPORT void *memset(void *to, int value, size_t n);
IMPORT int strcmp(const char *a, const char *b);
IMPORT int strncmp(const char *a, const char *b, size_t n);
IMPORT size_t strlen(const char *text);
IMPORT size_t wcslen(const USHORT *text);

IMPORT int _vsnwprintf(USHORT *buffer, size_t size, const USHORT *format, __builtin_ms_va_list arguments);
IMPORT size_t RtlCompareMemory(const void *a, const void *b, size_t n);
IMPORT ULONG KeQueryActiveProcessorCount(ULONGLONG *mask);
IMPORT ULONGLONG KeQueryPerformanceCounter(ULONGLONG *frequency);
IMPORT void KeStallExecutionProcessor(ULONG microseconds);
IMPORT char KeNumberProcessors;
IMPORT void __chkstk(void);
typedef struct {
	USHORT Length, MaximumLength;
	const USHORT *Buffer;
} UNICODE_STRING;
IMPORT void RtlInitUnicodeString(UNICODE_STRING *name, const USHORT *text);
IMPORT PVOID MmGetSystemRoutineAddress(UNICODE_STRING *name);
IMPORT NTSTATUS EtwRegister(const void *id, PVOID routine, PVOID context, ULONGLONG *handle);
IMPORT NTSTATUS EtwUnregister(ULONGLONG handle);
IMPORT NTSTATUS IoWMIRegistrationControl(PVOID device, ULONG action);

static int print_wide(USHORT *buffer, size_t size, const USHORT *format, ...)
{
	__builtin_ms_va_list arguments;
	int length;

	__builtin_ms_va_start(arguments, format);
	length = _vsnwprintf(buffer, size, format, arguments);
	__builtin_ms_va_end(arguments);
	return length;
}

/* Nothing but r10 and r11 may change; rax has the size of a frame. */
static BOOLEAN keeps_registers(void)
{
	ULONGLONG rax = 0x5000, rcx = 1, rdx = 2;
	register ULONGLONG r8 __asm__("r8") = 3;

	__asm__ volatile("call *%4" : "+a"(rax), "+c"(rcx), "+d"(rdx), "+r"(r8) : "r"(__chkstk) : "r10", "r11", "memory");
	return rax == 0x5000 && rcx == 1 && rdx == 2 && r8 == 3;
}

static int print(char *buffer, size_t size, const char *format, ...)
{
	__builtin_ms_va_list arguments;
	int length;

	__builtin_ms_va_start(arguments, format);
	length = _vsnprintf(buffer, size, format, arguments);
	__builtin_ms_va_end(arguments);
	return length;
}

static void check(const char *name, BOOLEAN right)
{
	DbgPrintEx(77, 0, "ROUTINE: %s %s\n", name, right ? "answers" : "is wrong");
}

NTSTATUS ImageEntry(PVOID driver, PVOID path);
NTSTATUS ImageEntry(PVOID driver, PVOID path)
{
	static const USHORT wide[] = { 'a', 0x100, 0 };
	static const USHORT format[] = { '%', 'd', '-', '%', 's', 0 };
	USHORT letters[16];
	UCHAR number[4] = { 9, 9, 9, 9 };
	ULONGLONG mask = 0, frequency = 0, before;
	char text[16];
	UNICODE_STRING name;
	ULONGLONG trace = 9;

	(void)driver;
	(void)path;
	check("memset", memset(text, 'x', 8) == text && text[0] == 'x' && text[7] == 'x');
	check("memcpy", memcpy(text, "abcdefg", 8) == text && text[6] == 'g');
	check("strlen", strlen(text) == 7 && strlen("") == 0);
	check("wcslen", wcslen(wide) == 2);
	check("memcmp", memcmp(text, "abcdefg", 8) == 0 && memcmp("a", "b", 1) < 0 && memcmp("b", "a", 1) > 0);
	memmove(text + 1, text, 5);
	check("memmove", memcmp(text, "aabcdeg", 8) == 0);
	check("_vsnprintf", print(text, sizeof text, "%u-%s", 42, "five") == 7 && memcmp(text, "42-five", 8) == 0);
	check("_vsnprintf, short", print(text, 3, "%u", 12345) == -1 && memcmp(text, "123", 3) == 0);
	check("MmGetPhysicalAddress", MmGetPhysicalAddress(text) != 0 || MmGetPhysicalAddress(driver) != 0);
	check("processors", KeQueryMaximumProcessorCountEx(0) == KeQueryActiveProcessorCountEx(0));
	check("strcmp", strcmp("ab", "ab") == 0 && strcmp("ab", "abc") < 0 && strcmp("b", "ab") > 0);
	check("strncmp", strncmp("abc", "abd", 2) == 0 && strncmp("abc", "abd", 3) < 0);
	check("RtlCompareMemory", RtlCompareMemory("abcd", "abxd", 4) == 2);
	check("_vsnwprintf", print_wide(letters, 16, format, -7, "z") == 4 && letters[0] == '-' && letters[3] == 'z' && letters[4] == 0);
	check("KeGetCurrentProcessorNumberEx", KeGetCurrentProcessorNumberEx(number) == 0 && number[0] == 0 && number[2] == 0);
	check("KeQueryActiveProcessorCount", KeQueryActiveProcessorCount(&mask) == 1 && mask == 1);
	check("KeNumberProcessors", KeNumberProcessors == 1);
	before = KeQueryPerformanceCounter(&frequency);
	KeStallExecutionProcessor(20);
	check("KeQueryPerformanceCounter", frequency != 0 && KeQueryPerformanceCounter(NULL) > before);
	check("__chkstk", keeps_registers());
	RtlInitUnicodeString(&name, wide);
	check("RtlInitUnicodeString", name.Length == 4 && name.MaximumLength == 6 && name.Buffer == wide);
	check("MmGetSystemRoutineAddress", MmGetSystemRoutineAddress(&name) == NULL);
	check("EtwRegister", EtwRegister(number, NULL, NULL, &trace) == 0 && trace == 0 && EtwUnregister(trace) == 0);
	check("IoWMIRegistrationControl", IoWMIRegistrationControl(driver, 1) == 0);
	return (NTSTATUS)0xc0000001;
}

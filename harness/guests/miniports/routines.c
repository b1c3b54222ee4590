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
IMPORT size_t strlen(const char *text);
IMPORT size_t wcslen(const USHORT *text);

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
	char text[16];

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
	return (NTSTATUS)0xc0000001;
}

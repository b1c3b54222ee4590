/* A driver that imports a routine that no model has, and calls it at once. */
#include "ddi.h"

IMPORT ULONG IoNoSuchRoutine(ULONG value);

NTSTATUS ImageEntry(PVOID driver, PVOID path);
NTSTATUS ImageEntry(PVOID driver, PVOID path)
{
	(void)driver;
	(void)path;
	return (NTSTATUS)IoNoSuchRoutine(1);
}

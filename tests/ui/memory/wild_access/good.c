// The step backwards is a signed number: the pointer lands on the first element.
#include <ntddk.h>

static volatile LONG Step = -7;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile UCHAR *Table, *Last;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Table = ExAllocatePoolWithTag(NonPagedPoolNx, 8, 'tseT');
    if (!Table) return STATUS_INSUFFICIENT_RESOURCES;
    Last = Table + 7;
    Last[Step] = 1;
    ExFreePoolWithTag((PVOID)Table, 'tseT');
    return STATUS_SUCCESS;
}

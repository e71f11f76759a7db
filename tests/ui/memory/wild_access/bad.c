// The step backwards is an unsigned number: the pointer lands 4 GiB behind the table.
#include <ntddk.h>

static volatile ULONG Step = (ULONG)-7;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile UCHAR *Table, *Last;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Table = ExAllocatePoolWithTag(NonPagedPoolNx, 8, 'tseT');
    if (!Table) return STATUS_INSUFFICIENT_RESOURCES;
    Last = Table + 7;
    Last[Step] = 1; //~ memory::wild_access
    ExFreePoolWithTag((PVOID)Table, 'tseT');
    return STATUS_SUCCESS;
}

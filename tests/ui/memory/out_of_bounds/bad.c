// The loop writes one element behind the table.
#include <ntddk.h>

#define COUNT 8

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG *Table;
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Table = ExAllocatePoolWithTag(NonPagedPoolNx, COUNT * sizeof(ULONG), 'tseT');
    if (!Table) return STATUS_INSUFFICIENT_RESOURCES;
    for (i = 0; i <= COUNT; i++) {
        Table[i] = i; //~ memory::out_of_bounds
    }
    ExFreePoolWithTag((PVOID)Table, 'tseT');
    return STATUS_SUCCESS;
}

// The address behind the last element ends the loop; nothing is read there.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG *Table, *At, *End;
    ULONG Sum = 0;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Table = ExAllocatePoolWithTag(NonPagedPoolNx, 8 * sizeof(ULONG), 'tseT');
    if (!Table) return STATUS_INSUFFICIENT_RESOURCES;
    End = Table + 8;
    for (At = Table; At != End; At++) *At = 1;
    while (At-- != Table) Sum += *At;
    DbgPrint("%p to %p\n", Table, End);
    ExFreePoolWithTag((PVOID)Table, 'tseT');
    return Sum == 8 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

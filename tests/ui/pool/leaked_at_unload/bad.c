// DriverEntry allocates a block that Unload does not free.
#include <ntddk.h>

static PVOID Block;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    DbgPrint("%p is forgotten\n", Block);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT'); //~ pool::leaked_at_unload
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}

// Unload frees the block that DriverEntry allocated.
#include <ntddk.h>

static PVOID Block;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    ExFreePoolWithTag(Block, 'tseT');
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}

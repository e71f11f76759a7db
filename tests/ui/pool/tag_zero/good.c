// The block gets a name.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    ExFreePool(Block);
    return STATUS_SUCCESS;
}

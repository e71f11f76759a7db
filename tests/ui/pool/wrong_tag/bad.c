// The tag's characters are in another order at the free.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT'); //~ NOTE: allocated
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    ExFreePoolWithTag(Block, 'Test'); //~ pool::wrong_tag
    return STATUS_SUCCESS;
}

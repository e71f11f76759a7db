// Only the free says 0.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED, 64, 'T');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    ExFreePoolWithTag(Block, 0);
    return STATUS_SUCCESS;
}

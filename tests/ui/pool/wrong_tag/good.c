// The tag at the free is the tag of the allocation.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    ExFreePoolWithTag(Block, 'tseT');
    return STATUS_SUCCESS;
}

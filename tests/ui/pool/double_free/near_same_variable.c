// One variable holds a block after the other, of one size, each freed with its own call.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT');
    if (Block) ExFreePoolWithTag(Block, 'tseT');
    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT');
    if (Block) ExFreePool(Block);
    Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, 'tseT');
    if (Block) ExFreePoolWithTag(Block, 'tseT');
    return STATUS_SUCCESS;
}

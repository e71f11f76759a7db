// A block from ExAllocatePool, which has no tag parameter, is freed by ExFreePool.
#include <ntddk.h>

#undef ExAllocatePool
#undef ExFreePool
NTKERNELAPI PVOID NTAPI ExAllocatePool(POOL_TYPE Type, SIZE_T Bytes);
NTKERNELAPI VOID NTAPI ExFreePool(PVOID Block);

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePool(NonPagedPool, 64);
    if (Block) ExFreePool(Block);
    Block = ExAllocatePool(PagedPool, 64);
    if (Block) ExFreePoolWithTag(Block, 0);
    return STATUS_SUCCESS;
}

// ExAllocatePool has no tag parameter; the register where a tag would be holds 0.
#include <ntddk.h>

#undef ExAllocatePool
NTKERNELAPI PVOID NTAPI ExAllocatePool(POOL_TYPE Type, SIZE_T Bytes);
typedef PVOID (*PALLOCATE)(POOL_TYPE Type, SIZE_T Bytes, ULONG Nothing);

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ((PALLOCATE)(ULONG_PTR)ExAllocatePool)(PagedPool, 64, 0);
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    ExFreePool(Block);
    return STATUS_SUCCESS;
}

// The free passes 0, or no tag at all: both match any tag.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(PagedPool, 64, 'tseT');
    if (Block) ExFreePoolWithTag(Block, 0);
    Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, 'tseT');
    if (Block) ExFreePool(Block);
    Block = ExAllocatePoolWithQuotaTag(
        (POOL_TYPE)(NonPagedPoolNx | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE), 64, 'tseT');
    if (Block) ExFreePool(Block);
    return STATUS_SUCCESS;
}

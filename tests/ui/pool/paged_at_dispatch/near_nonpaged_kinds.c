// Every kind of non-paged pool is allocated and freed at DISPATCH_LEVEL.
#include <ntddk.h>

static const POOL_TYPE Types[] = {NonPagedPool, NonPagedPoolNx, NonPagedPoolCacheAligned};

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;
    PVOID Block;
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    OldIrql = KeRaiseIrqlToDpcLevel();
    for (i = 0; i < ARRAYSIZE(Types); i++) {
        Block = ExAllocatePoolWithTag(Types[i], 64, 'tseT');
        if (Block) ExFreePoolWithTag(Block, 'tseT');
    }
    Block = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_CACHE_ALIGNED, 64, 'tseT');
    if (Block) ExFreePool(Block);
    Block = ExAllocatePoolZero(NonPagedPoolNx, 64, 'tseT');
    if (Block) ExFreePool(Block);
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}

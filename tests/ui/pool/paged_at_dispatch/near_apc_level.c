// Paged pool at APC_LEVEL: inside a fast mutex, and after raising by hand.
#include <ntddk.h>

static FAST_MUTEX Mutex;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG *Block;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
    Block = ExAllocatePoolWithTag(PagedPool, 64, 'tseT');
    if (Block) Block[0] = 1;
    ExReleaseFastMutex(&Mutex);
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    if (Block) ExFreePoolWithTag((PVOID)Block, 'tseT');
    Block = ExAllocatePool2(POOL_FLAG_PAGED, 64, 'tseT');
    if (Block) ExFreePoolWithTag((PVOID)Block, 'tseT');
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}

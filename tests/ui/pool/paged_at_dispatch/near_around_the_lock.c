// Paged pool is allocated before the lock and freed after it; inside, only the pointer moves.
#include <ntddk.h>

static KSPIN_LOCK Lock;
static PVOID Current;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block, Old;
    KIRQL OldIrql;
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeSpinLock(&Lock);
    for (i = 0; i < 3; i++) {
        Block = ExAllocatePoolWithTag(PagedPool, 64, 'tseT');
        KeAcquireSpinLock(&Lock, &OldIrql);
        Old = Current;
        Current = i < 2 ? Block : NULL;
        KeReleaseSpinLock(&Lock, OldIrql);
        if (Old) ExFreePoolWithTag(Old, 'tseT');
        if (i == 2 && Block) ExFreePoolWithTag(Block, 'tseT');
    }
    return STATUS_SUCCESS;
}

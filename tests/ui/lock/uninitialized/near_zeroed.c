// Spin locks in zeroed memory are free; others of their kind are initialised by hand.
#include <ntddk.h>

static KSPIN_LOCK Lock;
static EX_SPIN_LOCK Shared;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PKSPIN_LOCK Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 2 * sizeof(*Block), 'kcoL');
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Block == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    KeAcquireSpinLock(&Lock, &OldIrql);
    KeReleaseSpinLock(&Lock, OldIrql);
    OldIrql = ExAcquireSpinLockExclusive(&Shared);
    ExReleaseSpinLockExclusive(&Shared, OldIrql);
    KeAcquireSpinLock(&Block[1], &OldIrql);
    KeReleaseSpinLock(&Block[1], OldIrql);
    ExFreePoolWithTag(Block, 'kcoL');
    return STATUS_SUCCESS;
}

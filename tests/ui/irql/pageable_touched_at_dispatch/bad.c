// A counter in paged pool is changed inside a spin lock.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG *Count;
    KSPIN_LOCK Lock;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeSpinLock(&Lock);
    Count = ExAllocatePoolWithTag(PagedPool, sizeof(*Count), 'tseT');
    if (!Count) return STATUS_INSUFFICIENT_RESOURCES;
    KeAcquireSpinLock(&Lock, &OldIrql); //~ NOTE: raised
    *Count = 1; //~ irql::pageable_touched_at_dispatch
    KeReleaseSpinLock(&Lock, OldIrql);
    ExFreePoolWithTag((PVOID)Count, 'tseT');
    return STATUS_SUCCESS;
}

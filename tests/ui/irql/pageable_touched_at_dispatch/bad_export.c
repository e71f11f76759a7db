// A kernel routine copies into paged pool inside a spin lock.
#include <ntddk.h>

static volatile SIZE_T Length = 100;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KSPIN_LOCK Lock;
    KIRQL OldIrql;
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeSpinLock(&Lock);
    Block = ExAllocatePool2(POOL_FLAG_PAGED, Length, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    KeAcquireSpinLock(&Lock, &OldIrql);
    RtlFillMemory(Block, Length, 0x5A); //~ irql::pageable_touched_at_dispatch
    KeReleaseSpinLock(&Lock, OldIrql);
    ExFreePoolWithTag(Block, 'tseT');
    return STATUS_SUCCESS;
}

// Paged pool is allocated inside a spin lock, at DISPATCH_LEVEL.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KSPIN_LOCK Lock;
    KIRQL OldIrql;
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &OldIrql); //~ NOTE: raised
    Block = ExAllocatePoolWithTag(PagedPool, 64, 'tseT'); //~ pool::paged_at_dispatch
    KeReleaseSpinLock(&Lock, OldIrql);
    if (Block) ExFreePoolWithTag(Block, 'tseT');
    return STATUS_SUCCESS;
}

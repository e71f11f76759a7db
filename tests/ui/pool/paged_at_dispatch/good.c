// Non-paged pool is allocated inside a spin lock, at DISPATCH_LEVEL.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KSPIN_LOCK Lock;
    KIRQL OldIrql;
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &OldIrql);
    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT');
    KeReleaseSpinLock(&Lock, OldIrql);
    if (Block) ExFreePoolWithTag(Block, 'tseT');
    return STATUS_SUCCESS;
}

// A counter in non-paged pool is changed inside a spin lock.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG *Count;
    KSPIN_LOCK Lock;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeSpinLock(&Lock);
    Count = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Count), 'tseT');
    if (!Count) return STATUS_INSUFFICIENT_RESOURCES;
    KeAcquireSpinLock(&Lock, &OldIrql);
    *Count = 1;
    KeReleaseSpinLock(&Lock, OldIrql);
    ExFreePoolWithTag((PVOID)Count, 'tseT');
    return STATUS_SUCCESS;
}

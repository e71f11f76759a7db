// The spin lock in a fresh block is acquired as it is.
#include <ntddk.h>


NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PKSPIN_LOCK Lock = ExAllocatePoolWithTag(NonPagedPool, sizeof(*Lock), 'kcoL');
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Lock == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    KeAcquireSpinLock(Lock, &OldIrql); //~ lock::uninitialized
    KeReleaseSpinLock(Lock, OldIrql);
    ExFreePoolWithTag(Lock, 'kcoL');
    return STATUS_SUCCESS;
}

// A spin lock is released twice at DISPATCH_LEVEL.
#include <ntddk.h>

static KSPIN_LOCK Lock;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    OldIrql = KeRaiseIrqlToDpcLevel();
    KeAcquireSpinLockAtDpcLevel(&Lock);
    KeReleaseSpinLockFromDpcLevel(&Lock);
    KeReleaseSpinLockFromDpcLevel(&Lock); //~ lock::released_not_held
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}

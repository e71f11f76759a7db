// The level was raised by hand and is lowered with the lock, or by hand after it.
#include <ntddk.h>

static KSPIN_LOCK Lock;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql, Inner;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    OldIrql = KeRaiseIrqlToDpcLevel();
    KeAcquireSpinLockAtDpcLevel(&Lock);
    KeReleaseSpinLock(&Lock, OldIrql);
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    KeAcquireSpinLock(&Lock, &Inner);
    KeReleaseSpinLock(&Lock, Inner);
    KeLowerIrql(OldIrql);
    KeAcquireSpinLock(&Lock, &OldIrql);
    KeReleaseSpinLockFromDpcLevel(&Lock);
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}

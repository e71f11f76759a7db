// The outer lock is released first; the level falls with the inner one.
#include <ntddk.h>

static KSPIN_LOCK Outer, Inner;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL First, Second;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Outer);
    KeInitializeSpinLock(&Inner);
    KeAcquireSpinLock(&Outer, &First);
    KeAcquireSpinLock(&Inner, &Second);
    KeReleaseSpinLock(&Outer, Second);
    KeReleaseSpinLock(&Inner, First);
    KeAcquireSpinLock(&Outer, &First);
    KeAcquireSpinLockAtDpcLevel(&Inner);
    KeReleaseSpinLockFromDpcLevel(&Outer);
    KeReleaseSpinLock(&Inner, First);
    return STATUS_SUCCESS;
}

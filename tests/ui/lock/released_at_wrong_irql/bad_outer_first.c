// The outer lock is released first, with the level that belongs to the last one.
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
    KeReleaseSpinLock(&Outer, First); //~ lock::released_at_wrong_irql
    KeRaiseIrql(DISPATCH_LEVEL, &First);
    KeReleaseSpinLock(&Inner, First);
    return STATUS_SUCCESS;
}

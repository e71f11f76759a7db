// Raised to APC_LEVEL, then by two locks, and taken back in order; never visible outside.
#include <ntddk.h>

static KSPIN_LOCK Outer, Inner;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL First, Second, Third, Same;
    KLOCK_QUEUE_HANDLE Queue;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeSpinLock(&Outer);
    KeInitializeSpinLock(&Inner);
    KeRaiseIrql(PASSIVE_LEVEL, &Same);
    KeRaiseIrql(APC_LEVEL, &First);
    KeAcquireSpinLock(&Outer, &Second);
    KeAcquireInStackQueuedSpinLock(&Inner, &Queue);
    Third = KeRaiseIrqlToDpcLevel();
    KeLowerIrql(Third);
    KeReleaseInStackQueuedSpinLock(&Queue);
    KeReleaseSpinLock(&Outer, Second);
    if (KeGetCurrentIrql() == APC_LEVEL) KeLowerIrql(First);
    KeLowerIrql(Same);
    return STATUS_SUCCESS;
}

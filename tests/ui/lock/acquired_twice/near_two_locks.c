// Two locks of one kind, one inside the other.
#include "ui_driver.h"

static KSPIN_LOCK Locks[2];
static FAST_MUTEX Mutexes[2];

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLock(&Locks[0], &OldIrql);
    KeAcquireSpinLockAtDpcLevel(&Locks[1]);
    KeReleaseSpinLockFromDpcLevel(&Locks[1]);
    KeReleaseSpinLock(&Locks[0], OldIrql);
    ExAcquireFastMutex(&Mutexes[0]);
    ExAcquireFastMutex(&Mutexes[1]);
    ExReleaseFastMutex(&Mutexes[1]);
    ExReleaseFastMutex(&Mutexes[0]);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Locks[0]);
    KeInitializeSpinLock(&Locks[1]);
    ExInitializeFastMutex(&Mutexes[0]);
    ExInitializeFastMutex(&Mutexes[1]);
    return UiStart(Driver, DeviceControl);
}

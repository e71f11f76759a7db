// A lock acquired with a queue handle is released as a plain spin lock.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static ULONG Requests;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KLOCK_QUEUE_HANDLE Queue;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireInStackQueuedSpinLock(&Lock, &Queue); //~ NOTE: acquired
    Requests++;
    KeReleaseSpinLock(&Lock, Queue.OldIrql); //~ lock::released_in_other_form
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    return UiStart(Driver, DeviceControl);
}

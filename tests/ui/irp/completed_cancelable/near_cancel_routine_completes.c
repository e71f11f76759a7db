// The cancel routine completes the request: the I/O manager took it off before it called it.
#include "ui_driver.h"

static PIRP volatile Waiting;

static VOID Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    InterlockedCompareExchangePointer((PVOID volatile *)&Waiting, NULL, Irp);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    IoAcquireCancelSpinLock(&OldIrql);
    if (Waiting != NULL || Irp->Cancel) {
        NTSTATUS Status = Irp->Cancel ? STATUS_CANCELLED : STATUS_DEVICE_BUSY;

        IoReleaseCancelSpinLock(OldIrql);
        return UiComplete(Irp, Status, 0);
    }
    IoMarkIrpPending(Irp);
    Waiting = Irp;
    IoSetCancelRoutine(Irp, Cancel);
    IoReleaseCancelSpinLock(OldIrql);
    return STATUS_PENDING;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}

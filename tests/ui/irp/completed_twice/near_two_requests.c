// A request completes the one that waits, then itself: two calls, two IRPs.
// Whoever takes the waiting IRP out of the slot, a request or its cancel routine, completes it.
#include "ui_driver.h"

static PIRP Waiting;

static VOID Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    InterlockedCompareExchangePointer((PVOID *)&Waiting, NULL, Irp);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL Irql;
    PIRP Old;

    UNREFERENCED_PARAMETER(Device);
    IoAcquireCancelSpinLock(&Irql);
    Old = Waiting;
    Waiting = NULL;
    if (Old) {
        IoSetCancelRoutine(Old, NULL);
    } else if (!Irp->Cancel) {
        IoMarkIrpPending(Irp);
        IoSetCancelRoutine(Irp, Cancel);
        Waiting = Irp;
        IoReleaseCancelSpinLock(Irql);
        return STATUS_PENDING;
    }
    IoReleaseCancelSpinLock(Irql);
    if (Old) UiComplete(Old, STATUS_SUCCESS, 0);
    return UiComplete(Irp, Old ? STATUS_SUCCESS : STATUS_CANCELLED, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}

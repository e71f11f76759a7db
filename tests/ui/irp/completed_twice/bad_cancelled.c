// The cancel routine completes the request, but leaves it in the slot that cleanup empties.
//@args: --strategy friendly
#include "ui_driver.h"

static PIRP Waiting;
static volatile LONG IsCancelled;

static VOID Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    InterlockedExchange(&IsCancelled, 1);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    if (Waiting && !IsCancelled) IoSetCancelRoutine(Waiting, NULL);
    if (Waiting) IoCompleteRequest(Waiting, IO_NO_INCREMENT); //~ irp::completed_twice
    Waiting = NULL;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    if (Waiting) return UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
    Waiting = Irp;
    IoMarkIrpPending(Irp);
    IoSetCancelRoutine(Irp, Cancel);
    return STATUS_PENDING;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    return UiStart(Driver, DeviceControl);
}

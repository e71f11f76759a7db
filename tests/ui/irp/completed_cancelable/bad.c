// The request is completed as if it had never been cancelable.
// Cancelled at the right moment it does worse; here nobody cancels.
//@args: --strategy friendly
#include "ui_driver.h"

static volatile LONG Cancelled;

static VOID Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    InterlockedExchange(&Cancelled, 1);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    NTSTATUS Status = STATUS_SUCCESS;

    UNREFERENCED_PARAMETER(Device);
    InterlockedExchange(&Cancelled, 0);
    IoSetCancelRoutine(Irp, Cancel);
    if (Cancelled || Irp->Cancel) Status = STATUS_CANCELLED;
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT); //~ irp::completed_cancelable
    return Status;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}

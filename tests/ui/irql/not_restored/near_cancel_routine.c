// A cancel routine returns at another IRQL than that of its call: it releases the cancel spin lock.
#include "ui_driver.h"

static VOID Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    IoAcquireCancelSpinLock(&OldIrql);
    if (Irp->Cancel) {
        IoReleaseCancelSpinLock(OldIrql);
        return UiComplete(Irp, STATUS_CANCELLED, 0);
    }
    IoMarkIrpPending(Irp);
    IoSetCancelRoutine(Irp, Cancel);
    IoReleaseCancelSpinLock(OldIrql);
    return STATUS_PENDING;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}

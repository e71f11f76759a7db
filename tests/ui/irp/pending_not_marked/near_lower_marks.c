// The upper device returns what IoCallDriver returned; the lower one has marked its own location.
#include "ui_driver.h"

static PDEVICE_OBJECT Lower;

static VOID Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL Irql;

    if (Device == Lower) {
        IoAcquireCancelSpinLock(&Irql);
        if (Irp->Cancel) {
            IoReleaseCancelSpinLock(Irql);
            return UiComplete(Irp, STATUS_CANCELLED, 0);
        }
        IoMarkIrpPending(Irp);
        IoSetCancelRoutine(Irp, Cancel);
        IoReleaseCancelSpinLock(Irql);
        return STATUS_PENDING;
    }
    IoCopyCurrentIrpStackLocationToNext(Irp);
    return IoCallDriver(Lower, Irp);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoDeleteDevice(Lower);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DeviceObject->StackSize = 2;
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Lower);
    if (!NT_SUCCESS(Status)) UiUnload(Driver);
    Driver->DriverUnload = Unload;
    return Status;
}

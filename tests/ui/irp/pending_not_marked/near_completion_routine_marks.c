// The completion routine of the upper device passes the mark of the lower one on.
#include "ui_driver.h"

static PDEVICE_OBJECT Lower;

static NTSTATUS Propagate(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    if (Irp->PendingReturned) IoMarkIrpPending(Irp);
    return STATUS_CONTINUE_COMPLETION;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    if (Device == Lower) {
        IoMarkIrpPending(Irp);
        UiComplete(Irp, STATUS_SUCCESS, 0);
        return STATUS_PENDING;
    }
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Propagate, NULL, TRUE, TRUE, TRUE);
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

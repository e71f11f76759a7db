// The lower device completes with an error; the upper one returns what IoCallDriver returned.
#include "ui_driver.h"

static PDEVICE_OBJECT Lower;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    if (Device == Lower) return UiComplete(Irp, STATUS_NO_SUCH_DEVICE, 0);
    IoSkipCurrentIrpStackLocation(Irp);
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

// A create request has no output buffer; its Information says what was done.
#include "ui_driver.h"

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_SUCCESS, FILE_OPENED);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    return Status;
}

// The routine marks the IRP pending, completes it with an error itself and returns STATUS_PENDING.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    IoMarkIrpPending(Irp);
    UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    return STATUS_PENDING;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}

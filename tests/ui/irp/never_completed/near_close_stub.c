// Close, cleanup and shutdown have dispatch routines too, and all of them complete.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->MajorFunction[IRP_MJ_CLEANUP] = UiCreateClose;
    Driver->MajorFunction[IRP_MJ_SHUTDOWN] = UiCreateClose;
    return UiStart(Driver, DeviceControl);
}

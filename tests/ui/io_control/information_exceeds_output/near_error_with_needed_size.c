// A request that fails tells the size that it needs; nothing is copied for an error.
#include "ui_driver.h"

static const CHAR Text[] = "sixteen and more";

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(Text)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, sizeof(Text));
    }
    RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, Text, sizeof(Text));
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(Text));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}

// The caller says on or off; the driver chooses the port and what it writes.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (*(PULONG)Irp->AssociatedIrp.SystemBuffer) {
        __outbyte(0x61, 3);
    } else {
        __outbyte(0x61, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}

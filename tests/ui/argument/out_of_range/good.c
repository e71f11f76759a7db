// The driver sets the priority that its caller asks for, if it is one.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PLONG Priority = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.InputBufferLength < sizeof(LONG)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    if (*Priority < 1 || *Priority > HIGH_PRIORITY) {
        return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }
    KeSetPriorityThread(KeGetCurrentThread(), *Priority);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}

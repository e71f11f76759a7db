// Any number is accepted, and brought into the range before it is used.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    KPRIORITY Priority;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.InputBufferLength < sizeof(LONG)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    Priority = *(PLONG)Irp->AssociatedIrp.SystemBuffer;
    if (Priority > HIGH_PRIORITY) Priority = HIGH_PRIORITY;
    if (Priority <= LOW_PRIORITY) Priority = LOW_PRIORITY + 1;
    KeSetPriorityThread(KeGetCurrentThread(), Priority);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
